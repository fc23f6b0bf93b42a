"""What ranking is worth: labels from comparisons of a simulated judge, raw or through Bradley-Terry, at equal calls.

python bench/ranking.py [--quick] [--calls 1440] [--trials 40] [--json FILE]

No model is asked. Responses have 32 hidden features, and how good one is, is a fixed mixture of them. The judge sees
that through noise: a taste for single responses, a mistake on each pair that no order mends, a bias for the first
place, and a mood of each call. Two judges: a weak one, right 60 % of the time when asked once and with the same verdict
in both orders 57 % of the time, and a good one, 80 % and 85 %. Each answers with probabilities or with letters alone.

Every way to label spends the same calls: half as many prompts where a prompt gets twice as many comparisons. Shown are
the labels of each prompt, how often they are right (a tie counts half), their log-loss, and how often a linear reward
model is right that was trained on them: on the probabilities of those that are no tie (as `hrlaif` does), on those of
all, and on the verdicts of those that are no tie.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from hrlaif.judges.compare import verdict_of
from hrlaif.labels import select
from hrlaif.metrics import bradley_terry, preferred
from hrlaif.types import Finish, Response, Verdict

FEATURES = 32
TEST_PAIRS = 4000
TIE_MARGIN = 0.05
SHAPES = ((4, 3), (4, 4), (4, 6), (8, 3), (8, 12), (16, 24))
Pairs = list[tuple[int, int]]
Labels = dict[tuple[int, int], float]


@dataclass(frozen=True)
class SimulatedJudge:
    """In log-odds: what one unit of quality is worth to it, its mistakes, its bias; the mood of a call is 1."""

    name: str
    sharpness: float
    mistakes: float
    first_place: float


JUDGES = (SimulatedJudge("weak", 0.2698, 0.5350, 0.3006), SimulatedJudge("good", 2.066, 1.826, 0.4437))


@dataclass(frozen=True)
class World:
    """Prompts with K responses. `asked_PKK` is the judge's P(i is better than j) with i shown first."""

    features_PKF: Any
    quality_PK: Any
    asked_PKK: Any
    weights_F: Any

    def compare(self, prompt: int, i: int, j: int) -> float:
        """Both orders of a pair, averaged as the labels stage does."""
        return float((self.asked_PKK[prompt, i, j] + 1 - self.asked_PKK[prompt, j, i]) / 2)


def world(draw: Any, judge: SimulatedJudge, prompts: int, k: int, *, letters: bool) -> World:
    weights_F = draw.normal(size=FEATURES)
    weights_F /= np.linalg.norm(weights_F)
    features_PKF = draw.normal(size=(prompts, k, FEATURES))
    quality_PK = features_PKF @ weights_F
    # Half of the variance of its mistakes is taste (a response it likes, whatever stands beside it), half is the pair.
    seen_PK = judge.sharpness * quality_PK + draw.normal(size=(prompts, k)) * judge.mistakes / 2
    upper = np.triu(draw.normal(size=(prompts, k, k)), 1) * judge.mistakes / 2**0.5
    logits = seen_PK[:, :, None] - seen_PK[:, None, :] + upper - upper.transpose(0, 2, 1)
    asked = expit(logits + judge.first_place + draw.normal(size=logits.shape))
    return World(features_PKF, quality_PK, (asked > 0.5).astype(float) if letters else asked, weights_F)


# --- ways to label the responses of one prompt with n comparisons -----------------------------------------------------


def random_raw(found: World, prompt: int, n: int, draw: Any) -> Labels:
    pairs = list(combinations(range(found.quality_PK.shape[1]), 2))
    return {pairs[at]: found.compare(prompt, *pairs[at]) for at in draw.permutation(len(pairs))[:n]}


def circle_raw(found: World, prompt: int, n: int, draw: Any) -> Labels:
    return {pair: found.compare(prompt, *pair) for pair in circle(found.quality_PK.shape[1], n, draw)}


def circle_ranked(found: World, prompt: int, n: int, draw: Any) -> Labels:
    asked = circle_raw(found, prompt, n, draw)
    strengths = fitted(asked, found.quality_PK.shape[1])
    return {pair: preferred(strengths, *pair) for pair in asked}


def circle_ranked_all(found: World, prompt: int, n: int, draw: Any) -> Labels:
    return every_pair(circle_raw(found, prompt, n, draw), found.quality_PK.shape[1])


def adaptive_ranked_all(found: World, prompt: int, n: int, draw: Any) -> Labels:
    """Half on the circle, then in rounds the pairs whose answer would tell most about the ranking."""
    k = found.quality_PK.shape[1]
    asked = circle_raw(found, prompt, max(1, n // 2), draw)
    while len(asked) < n:
        strengths = fitted(asked, k)
        information = np.eye(k) / 9
        for i, j in asked:
            p = preferred(strengths, i, j)
            information[np.ix_((i, j), (i, j))] += p * (1 - p) * np.array([[1, -1], [-1, 1]])
        covariance = np.linalg.inv(information)

        def gain(pair: tuple[int, int], strengths: Any = strengths, covariance: Any = covariance) -> float:
            i, j = pair
            p = preferred(strengths, i, j)
            return float(p * (1 - p) * (covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]))

        left = [pair for pair in combinations(range(k), 2) if pair not in asked and pair[::-1] not in asked]
        for pair in sorted(left, key=gain, reverse=True)[: min(max(1, k // 4), n - len(asked))]:
            asked[pair] = found.compare(prompt, *pair)
    return every_pair(asked, k)


def circle(k: int, n: int, draw: Any) -> Pairs:
    """The schedule of the labels stage."""
    responses = [Response(str(i), "", str(i), "", 0, Finish.STOP) for i in range(k)]
    pairs = select.spread(responses, n, seed=str(draw.integers(1 << 60)))
    return [(int(first.id), int(second.id)) for first, second in pairs]


def fitted(asked: Labels, k: int) -> list[float]:
    return bradley_terry([(*pair, p) for pair, p in asked.items()], k)


def every_pair(asked: Labels, k: int) -> Labels:
    strengths = fitted(asked, k)
    return {pair: preferred(strengths, *pair) for pair in combinations(range(k), 2)}


WAYS: dict[str, Callable[[World, int, int, Any], Labels]] = {
    "random, raw": random_raw,
    "circle, raw": circle_raw,
    "circle, ranked": circle_ranked,
    "circle, ranked, all pairs": circle_ranked_all,
    "adaptive, ranked, all pairs": adaptive_ranked_all,
}


# --- what the labels are worth ----------------------------------------------------------------------------------------


def trial(seed: int, judge: SimulatedJudge, k: int, n: int, *, calls: int, letters: bool) -> dict[str, list[float]]:
    """One draw of prompts, labelled in every way: labels a prompt, right, log-loss, three reward models."""
    prompts = calls // (2 * n)
    found = world(np.random.default_rng(seed), judge, prompts, k, letters=letters)
    measured = {}
    for name, way in WAYS.items():
        draw = np.random.default_rng(seed)
        made = [(prompt, *pair, p) for prompt in range(prompts) for pair, p in way(found, prompt, n, draw).items()]
        rows, first, second, p_N = (np.array(column) for column in zip(*made, strict=True))
        is_better = found.quality_PK[rows, first] > found.quality_PK[rows, second]
        is_tie = np.array([verdict_of(p, tie_margin=TIE_MARGIN) is Verdict.TIE for p in p_N])
        right = np.where(is_tie, 0.5, (p_N > 0.5) == is_better).mean()
        clipped = np.clip(np.where(is_better, p_N, 1 - p_N), 0.01, 1)
        differences_NF = found.features_PKF[rows, first] - found.features_PKF[rows, second]
        decided_NF, verdicts_N = differences_NF[~is_tie], (p_N[~is_tie] > 0.5).astype(float)
        trained_on = ((decided_NF, p_N[~is_tie]), (differences_NF, p_N), (decided_NF, verdicts_N))
        rewards = [reward_accuracy(*data, found.weights_F, seed) for data in trained_on]
        measured[name] = [len(made) / prompts, right, -np.log(clipped).mean(), *rewards]
    return measured


def reward_accuracy(differences_NF: Any, p_N: Any, weights_F: Any, seed: int) -> float:
    """How often a linear reward model, fitted to these labels, prefers the better of two new responses."""

    def loss(weights: Any) -> tuple[float, Any]:
        d_N = differences_NF @ weights
        slope = differences_NF.T @ (expit(d_N) - p_N) / len(p_N) + 1e-3 * weights
        return float((np.logaddexp(0, d_N) - p_N * d_N).mean() + 5e-4 * weights @ weights), slope

    learned_F = minimize(loss, np.zeros(FEATURES), jac=True, method="L-BFGS-B").x
    new_NF = np.random.default_rng([seed, 1]).normal(size=(TEST_PAIRS, FEATURES))
    return float((((new_NF @ learned_F) > 0) == ((new_NF @ weights_F) > 0)).mean())


def check(judge: SimulatedJudge) -> dict[str, float]:
    """How good a judge is by the numbers that describe it, on many pairs."""
    found = world(np.random.default_rng(0), judge, 100_000, 2, letters=True)
    forward, backward = found.asked_PKK[:, 0, 1], 1 - found.asked_PKK[:, 1, 0]
    is_better = found.quality_PK[:, 0] > found.quality_PK[:, 1]
    return {
        "right once": float((forward == is_better).mean()),
        "same verdict in both orders": float((forward == backward).mean()),
        "first place chosen": float(forward.mean()),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    print(
        "| judge | replies | K | comparisons | way | labels | right | log-loss | reward model | ties kept | verdicts |"
    )
    print("|---" * 11 + "|")
    for row in rows:
        cells = [row["judge"], row["replies"], row["k"], row["n"], row["way"], f"{row['mean'][0]:g}"]
        print("| " + " | ".join(map(str, [*cells, *(f"{value:.3f}" for value in row["mean"][1:])])) + " |")
    print("standard errors at most", [f"{max(row['error'][at] for row in rows):.3f}" for at in range(1, 6)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1440)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="few trials")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    trials = 3 if options.quick else options.trials
    for judge in JUDGES:
        print(judge.name, {name: round(value, 3) for name, value in check(judge).items()})
    rows = []
    for judge in JUDGES:
        for letters in (False, True):
            for k, n in SHAPES:
                done = [trial(seed, judge, k, n, calls=options.calls, letters=letters) for seed in range(trials)]
                for way in WAYS:
                    values = np.array([one[way] for one in done])
                    row = {"judge": judge.name, "replies": "letters" if letters else "probabilities", "k": k, "n": n}
                    error = values.std(axis=0) / trials**0.5
                    rows.append({**row, "way": way, "mean": values.mean(axis=0).tolist(), "error": error.tolist()})
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
