"""How often the 95 % intervals of `metrics` hold the truth, in simulations where it is known.

python bench/intervals.py [--quick] [--trials 2000] [--only TEXT] [--json FILE]

No model is asked. Each line draws data of one kind again and again, as an evaluation would find it, and counts how
often the interval that `hrlaif` reports holds the value that the data were drawn from; single shares are counted
exactly. Promised is 93 to 97 of 100 for each kind, as a mean over its cases; `low` and `high` are its worst and best
case. Cases where an interval is known to be too wide are of a kind of their own, and promise 95 at least.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from claims import Claim, report
from hrlaif.judges.calibrate import judge_agreement
from hrlaif.metrics import (
    DIFFERENCE,
    SHARE,
    Seen,
    bootstrap_mean,
    cohen_kappa,
    corrected_share,
    krippendorff_alpha,
    length_controlled_win_ratio,
    mean_over_runs,
    paired_shares,
    wilson,
    win_ratio,
)
from hrlaif.types import Metric, Verdict

Trial = Callable[[random.Random], tuple[Metric, float]]
WIN, TIE, LOSS = Verdict.FIRST, Verdict.TIE, Verdict.SECOND
LOW, HIGH = 0.93, 0.97


@dataclass(frozen=True)
class Case:
    """One kind of interval on one kind of data. `trial` gives an interval and the truth, `exact` the coverage."""

    kind: str
    data: str
    trial: Trial | None = None
    exact: Callable[[], float] | None = None
    is_safe: bool = False


def holds(metric: Metric, truth: float) -> bool:
    return metric.low - 1e-12 <= truth <= metric.high + 1e-12


def shares() -> Iterable[Case]:
    """Wilson, exactly, as the mean over true shares of a range: for one share it jumps with every count."""
    for n in (20, 50, 200, 1000):
        for low, high in ((0.02, 0.1), (0.1, 0.5), (0.5, 0.98)):

            def exact(n: int = n, low: float = low, high: float = high) -> float:
                bounds = [wilson(k, n, name="x") for k in range(n + 1)]
                grid = [low + (high - low) * (i + 0.5) / 40 for i in range(40)]
                return fmean(
                    math.fsum(_binomial(n, k, p) for k, found in enumerate(bounds) if holds(found, p)) for p in grid
                )

            yield Case("share (Wilson)", f"n {n}, true share {low:g} to {high:g}", exact=exact)


def _binomial(n: int, k: int, p: float) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(p) + (n - k) * math.log(1 - p))


def differences() -> Iterable[Case]:
    for n in (30, 100, 400):
        for b, c in ((0.1, 0.1), (0.3, 0.1), (0.05, 0.15)):

            def trial(draw: random.Random, n: int = n, b: float = b, c: float = c) -> tuple[Metric, float]:
                kinds = [(True, False), (False, True), (True, True)]
                return paired_shares(draw.choices(kinds, (b, c, 1 - b - c), k=n), name="x"), b - c

            yield Case("paired difference of shares (Wald+2)", f"n {n}, only one of the two {b:g}, {c:g}", trial)


def win_ratios() -> Iterable[Case]:
    for n in (30, 100, 400):
        for win, tie in ((0.5, 0.2), (0.7, 0.1), (0.3, 0.6)):

            def trial(draw: random.Random, n: int = n, win: float = win, tie: float = tie) -> tuple[Metric, float]:
                return win_ratio(draw.choices([WIN, TIE, LOSS], (win, tie, 1 - win - tie), k=n)), win + tie / 2

            yield Case("win ratio", f"n {n}, wins {win:g}, ties {tie:g}", trial)


def length_controlled() -> Iterable[Case]:
    for n in (40, 100, 400):
        for tied, longer in ((0.0, 20.0), (0.4, 20.0), (0.0, 60.0)):

            def trial(
                draw: random.Random, n: int = n, tied: float = tied, longer: float = longer
            ) -> tuple[Metric, float]:
                lengths = [draw.gauss(longer, 40) for _ in range(n)]
                scale = math.sqrt(fmean(d * d for d in lengths))
                wins = [(1 - tied) / (1 + math.exp(-0.4 - math.tanh(d / scale))) for d in lengths]
                verdicts = [draw.choices([WIN, TIE, LOSS], (win, tied, 1 - tied - win))[0] for win in wins]
                truth = tied / 2 + (1 - tied) / (1 + math.exp(-0.4))
                return length_controlled_win_ratio(verdicts, lengths), truth

            yield Case("win ratio at equal length", f"n {n}, ties {tied:g}, longer by {longer:g} of 40", trial)


def means() -> Iterable[Case]:
    """Lengths are lognormal; scores normal; differences of lengths have two heavy tails."""
    kinds: dict[str, tuple[Callable[[random.Random], float], float]] = {
        "normal": (lambda draw: draw.gauss(0, 1), 0.0),
        "lognormal 0.5": (lambda draw: draw.lognormvariate(0, 0.5), math.exp(0.125)),
        "lognormal 1": (lambda draw: draw.lognormvariate(0, 1), math.exp(0.5)),
        "difference of lognormals": (lambda draw: draw.lognormvariate(0, 1) - draw.lognormvariate(0, 1), 0.0),
    }
    for n in (5, 10, 30, 100, 600):
        for name, (value, truth) in kinds.items():

            def trial(
                draw: random.Random,
                n: int = n,
                value: Callable[[random.Random], float] = value,
                truth: float = truth,
            ) -> tuple[Metric, float]:
                found = bootstrap_mean([value(draw) for _ in range(n)], name="x", seed=draw.getrandbits(32))
                return found, truth

            is_heavy = name == "lognormal 1"
            yield Case("mean (bootstrap)" + (", very skewed" if is_heavy else ""), f"n {n}, {name}", trial)


def clustered() -> Iterable[Case]:
    """Several values of one prompt, which share most of what they are; clusters of unlike sizes too."""
    for clusters in (6, 20, 60):
        for sizes in ((3,), (1, 2, 6)):

            def trial(
                draw: random.Random, clusters: int = clusters, sizes: Sequence[int] = sizes
            ) -> tuple[Metric, float]:
                values: list[float] = []
                keys: list[int] = []
                for key in range(clusters):
                    shared, size = draw.gauss(0, 1), draw.choice(sizes)
                    values += [shared + draw.gauss(0, 0.5) for _ in range(size)]
                    keys += [key] * size
                return bootstrap_mean(values, name="x", seed=draw.getrandbits(32), clusters=keys), 0.0

            yield Case("mean by prompt (cluster bootstrap)", f"{clusters} prompts, sizes {sizes}", trial)


def over_runs() -> Iterable[Case]:
    """Shares of runs with other seeds on the same prompts: a prompt has a chance of its own, and so has a run."""
    for runs in (3, 5):
        for prompts in (50, 200):
            for spread in (0.0, 0.03, 0.1):

                def trial(
                    draw: random.Random, runs: int = runs, prompts: int = prompts, spread: float = spread
                ) -> tuple[Metric, float]:
                    hard = [draw.betavariate(1.2, 0.8) * 0.6 + 0.2 for _ in range(prompts)]
                    shifts = [draw.gauss(0, spread) for _ in range(runs)]
                    rows = [[float(draw.random() < p + shift) for p in hard] for shift in shifts]
                    return mean_over_runs(rows, name="x", scale=SHARE), 0.6 * 0.6 + 0.2

                yield Case(
                    "mean over runs", f"{runs} runs, {prompts} prompts, sd of runs {spread:g}", trial, is_safe=True
                )
    for spread in (0.03, 0.1):

        def difference(draw: random.Random, spread: float = spread) -> tuple[Metric, float]:
            hard = [draw.betavariate(1.2, 0.8) * 0.6 + 0.2 for _ in range(100)]
            start = [float(draw.random() < p) for p in hard]
            rows = [
                [float(draw.random() < p + 0.05 + shift) - one for p, one in zip(hard, start, strict=True)]
                for shift in (draw.gauss(0, spread) for _ in range(4))
            ]
            return mean_over_runs(rows, name="x", scale=DIFFERENCE), 0.05

        data = f"4 runs, 100 prompts, minus one start, sd of runs {spread:g}"
        yield Case("mean over runs", data, difference, is_safe=True)


def corrected() -> Iterable[Case]:
    for true in (0.05, 0.2, 0.6):
        for se, sp in ((0.8, 0.95), (0.65, 0.8)):
            for n, labelled in ((200, 100), (1000, 400)):

                def trial(
                    draw: random.Random,
                    true: float = true,
                    se: float = se,
                    sp: float = sp,
                    n: int = n,
                    labelled: int = labelled,
                ) -> tuple[Metric, float]:
                    def counted(share: float, rows: int) -> int:
                        return sum(draw.random() < share for _ in range(rows))

                    return (
                        corrected_share(
                            counted(true * se + (1 - true) * (1 - sp), n),
                            n,
                            sensitivity=Seen(counted(se, labelled), labelled),
                            specificity=Seen(counted(sp, labelled), labelled),
                            name="x",
                        ),
                        true,
                    )

                data = f"true {true:g}, sensitivity {se:g}, specificity {sp:g}, n {n}, labelled {labelled} of each"
                yield Case("corrected share (Rogan-Gladen)", data, trial)


def raters() -> Iterable[Case]:
    """Two raters on each of n things: kappa, alpha; and what is counted with half points or shares of votes."""
    for n in (40, 150):

        def pairs(draw: random.Random, n: int) -> list[tuple[str, str]]:
            found = []
            for _ in range(n):
                one = draw.choices("abc", (5, 3, 2))[0]
                found.append((one, one if draw.random() < 0.5 else draw.choices("abc", (5, 3, 2))[0]))
            return found

        def kappa(draw: random.Random, n: int = n) -> tuple[Metric, float]:
            return cohen_kappa(pairs(draw, n)), 0.5

        def alpha(draw: random.Random, n: int = n) -> tuple[Metric, float]:
            return krippendorff_alpha(pairs(draw, n), seed=draw.getrandbits(32), resamples=500), 0.5

        def votes(draw: random.Random, n: int = n) -> tuple[Metric, float]:
            said = [fmean(draw.random() < p for _ in "ab") for p in (draw.betavariate(2, 1) for _ in range(n))]
            return wilson(sum(said), n, name="x"), 2 / 3

        def half(draw: random.Random, n: int = n) -> tuple[Metric, float]:
            known = draw.choices([WIN, LOSS], k=n)
            given = [draw.choices([one, TIE, WIN if one is LOSS else LOSS], (6, 2, 2))[0] for one in known]
            return judge_agreement(zip(known, given, strict=True)), 0.7

        yield Case("Cohen's kappa", f"n {n}, 3 values, kappa 0.5", kappa)
        yield Case("Krippendorff's alpha", f"n {n}, 3 values, alpha 0.5", alpha)
        yield Case("shares of votes, half points (Wilson)", f"n {n}, two votes each", votes, is_safe=True)
        yield Case("shares of votes, half points (Wilson)", f"n {n}, a fifth ties", half, is_safe=True)


KINDS = (shares, differences, win_ratios, length_controlled, means, clustered, over_runs, corrected, raters)


def coverage(case: Case, trials: int) -> float:
    if case.exact is not None:
        return case.exact()
    assert case.trial is not None
    draw = random.Random(case.kind + case.data)
    return fmean(holds(*case.trial(draw)) for _ in range(trials))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="200 trials")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    trials = 200 if options.quick else options.trials
    found: dict[str, list[float]] = {}
    safe: set[str] = set()
    for kind in KINDS:
        for case in kind():
            if options.only in case.kind:
                share = coverage(case, trials)
                print(f"{case.kind:<45} {case.data:<75} {share:.3f}", flush=True)
                found.setdefault(case.kind, []).append(share)
                safe |= {case.kind} if case.is_safe else set()
    noise = 0.5 * math.sqrt(0.05 * 0.95 / trials)
    claims = []
    for name, values in found.items():
        value = fmean(values)
        bounds = (0.95 - noise, 1.0) if name in safe else (LOW, HIGH)
        target = ">= 0.95" if name in safe else f"{LOW}..{HIGH}"
        claims.append(Claim(name, value, min(values), max(values), "share", target, bounds[0] <= value <= bounds[1]))
    report(claims, options.json)


if __name__ == "__main__":
    main()
