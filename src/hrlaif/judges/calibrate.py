"""How good a judge is on pairs whose better response is known: measured before money is spent on labels."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrlaif.artifacts import Journal, fingerprint
from hrlaif.judges.compare import Vote, combine, compare, orders, pooled, votes_of
from hrlaif.judges.panel import Panel, panel_of
from hrlaif.metrics import bootstrap_mean, cohen_kappa, flip_rate, wilson
from hrlaif.metrics.calibration import logit, platt_slope
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import spread
from hrlaif.progress import Progress
from hrlaif.types import (
    Basis,
    CalibrationPair,
    Cost,
    Evidence,
    Finish,
    Label,
    Message,
    Metric,
    Prompt,
    Response,
    Task,
    Verdict,
)

PURPOSE = "calibration"
_VERDICTS = {"A": Verdict.FIRST, "B": Verdict.SECOND, "tie": Verdict.TIE}


def calibrate(
    pairs: Sequence[CalibrationPair], judge: ChatModel | Panel, *, out: Path, tie_margin: float = 0.0, window: int = 256
) -> dict[str, Any]:
    """Compare every pair in both orders, write one Label per pair to `out`, and return the judge's quality.

    `agreement` counts a TIE of the judge on a pair that people did not tie as half right, as a coin would be, and
    an unreadable one as wrong; `p_first` is the mean probability of the response shown first: 0.5 has no position
    bias; `flip_rate` is the share of pairs whose two orders name different responses; `slope` is what the judge's
    log-odds have to be multiplied by (`slope`). Each has its 95 % interval as `..._low` and `..._high`. A panel is
    measured as one judge, and each member by itself under `by_judge`.
    """
    start = time.monotonic()
    panel = panel_of(judge)
    settings = [one.settings for one in panel.judges]
    key = fingerprint("calibration", settings, tie_margin, [repr(pair) for pair in pairs])
    with Journal(out, fingerprint=key) as journal:
        asyncio.run(_label_all(pairs, panel, journal, tie_margin, window))
        labels = [label for item in journal.done(Label) for label in item]
        journal.finish(judge=panel.name)
    found = quality(pairs, labels)
    if len(panel.judges) > 1:
        each = {one.name: _of_judge(labels, one.name, tie_margin) for one in panel.judges}
        by_judge = {name: quality(pairs, own) for name, own in each.items()}
        found["by_judge"] = {
            name: {key: value for key, value in own.items() if key not in ("pairs", "longer_is_better", "by_category")}
            for name, own in by_judge.items()
        }
    return {**found, "judge": panel.name, "seconds": round(time.monotonic() - start, 3)}


async def _label_all(
    pairs: Sequence[CalibrationPair], panel: Panel, journal: Journal, tie_margin: float, window: int
) -> None:
    async def work(pair: CalibrationPair) -> Label:
        return await _label(panel, pair, tie_margin)

    with Progress("calibrating the judge", len(pairs), done=journal.items) as progress:
        async with panel:
            async for label in spread(pairs[journal.items :], work, window=window):
                journal.append([label])
                progress.advance()


async def _label(panel: Panel, pair: CalibrationPair, tie_margin: float) -> Label:
    prompt = Prompt(pair.id, (Message("user", pair.prompt),), pair.category, Task.OPEN, lang=pair.lang)
    first, second = (
        Response(f"{pair.id}/{side}", pair.id, text, "", 0, Finish.STOP)
        for side, text in (("a", pair.response_a), ("b", pair.response_b))
    )
    comparison = await compare(panel, prompt, first, second, tie_margin=tie_margin, purpose=PURPOSE)
    evidence = Evidence(judgements=comparison.judgements)
    return Label(pair.id, first.id, second.id, comparison.p_first, comparison.verdict, Basis.JUDGE, evidence)


def _of_judge(labels: Sequence[Label], judge: str, tie_margin: float) -> list[Label]:
    """The labels that one member of a panel would have given alone."""
    own = []
    for label in labels:
        calls = tuple(one for one in label.evidence.judgements if one.judge == judge)
        alone = combine([Vote(*calls)], tie_margin=tie_margin)
        evidence = replace(label.evidence, judgements=calls)
        own.append(replace(label, p_first=alone.p_first, verdict=alone.verdict, evidence=evidence))
    return own


def quality(pairs: Sequence[CalibrationPair], labels: Sequence[Label]) -> dict[str, Any]:
    """The numbers of `calibrate` from its labels, one per pair in the same order."""
    known = [_VERDICTS[pair.label] for pair in pairs]
    given = [label.verdict for label in labels]
    rows = list(zip(known, given, strict=True))
    rate, kappa = judge_agreement(rows), cohen_kappa(rows)
    asked = [pooled(votes_of(label)) for label in labels]
    cost = sum((judgement.cost for label in labels for judgement in label.evidence.judgements), Cost())
    by_category = {
        category: judge_agreement(row for pair, row in zip(pairs, rows, strict=True) if pair.category == category)
        for category in sorted({pair.category for pair in pairs})
    }
    return {
        "pairs": len(pairs),
        "calls": cost.calls,
        **_bounded(rate),
        **_bounded(kappa),
        **_bounded(flip_rate(orders(vote) for vote in asked)),
        **_bounded(_shown_first(asked)),
        **_bounded(slope(pairs, labels)),
        **_bounded(_longer_share(pairs, given, name="longer_chosen")),
        "longer_is_better": _number(_longer_share(pairs, known, name="longer_is_better").value),
        "unreadable": given.count(Verdict.UNREADABLE),
        "tokens": cost.prompt_tokens + cost.completion_tokens,
        "usd": cost.usd,
        "by_category": {
            category: {"agreement": part.value, "low": part.low, "high": part.high, "pairs": part.n}
            for category, part in by_category.items()
        },
    }


def slope(pairs: Sequence[CalibrationPair], labels: Sequence[Label]) -> Metric:
    """How far the judge's probabilities can be taken at their word (`metrics.calibration.platt_slope`).

    Both orders of a pair leave no first one, so nothing is lost without an intercept. Ties and unreadable labels are
    left out.
    """
    return platt_slope(
        [
            logit(label.p_first) * (1 if pair.label == "A" else -1)
            for pair, label in zip(pairs, labels, strict=True)
            if pair.label != "tie" and label.verdict is not Verdict.UNREADABLE
        ]
    )


def judge_agreement(rows: Iterable[tuple[Verdict, Verdict]]) -> Metric:
    """Share of (known, given) verdicts that agree, with its interval.

    A tie on one side only is half right, as a coin would be, so that a judge gains nothing by never tying; an
    unreadable verdict is wrong.
    """
    points = [
        1.0 if known is given else 0.5 * (Verdict.TIE in (known, given) and given is not Verdict.UNREADABLE)
        for known, given in rows
    ]
    return wilson(sum(points), len(points), name="agreement")


def _shown_first(asked: Sequence[Vote]) -> Metric:
    """The mean P(shown first) over all readable calls; the two on one pair are drawn together for the interval."""
    calls = [call for vote in asked for call in vote if call.verdict is not Verdict.UNREADABLE]
    values = [call.p_first for call in calls]
    found = bootstrap_mean(values, name="p_first", seed=0, clusters=[call.prompt_id for call in calls])
    # Two calls on a single pair have a mean too, though nothing says how far off it may be.
    return replace(found, value=math.fsum(values) / len(values)) if values else found


def _longer_share(pairs: Sequence[CalibrationPair], verdicts: Sequence[Verdict], *, name: str) -> Metric:
    """Among pairs of different length with a clear verdict, how often it is for the longer response."""
    longer = [
        (verdict is Verdict.FIRST) == (len(pair.response_a) > len(pair.response_b))
        for pair, verdict in zip(pairs, verdicts, strict=True)
        if verdict in (Verdict.FIRST, Verdict.SECOND) and len(pair.response_a) != len(pair.response_b)
    ]
    return wilson(sum(longer), len(longer), name=name)


def _bounded(metric: Metric) -> dict[str, float | None]:
    """A metric as the keys NAME, NAME_low and NAME_high; None for what could not be measured."""
    name = metric.name
    return {
        name: _number(metric.value),
        f"{name}_low": _number(metric.low),
        f"{name}_high": _number(metric.high),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
