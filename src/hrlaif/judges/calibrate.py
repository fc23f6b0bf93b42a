"""How good a judge is on pairs whose better response is known: measured before money is spent on labels."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hrlaif.artifacts import Journal, fingerprint
from hrlaif.judges.compare import compare
from hrlaif.metrics import cohen_kappa, flip_rate, wilson
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import ordered
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
    pairs: Sequence[CalibrationPair], judge: ChatModel, *, out: Path, tie_margin: float = 0.0, window: int = 256
) -> dict[str, Any]:
    """Compare every pair in both orders, write one Label per pair to `out`, and return the judge's quality.

    `agreement` counts a TIE of the judge on a pair that people did not tie as half right, as a coin would be, and
    an unreadable one as wrong; `p_first` is the mean probability of the response shown first: 0.5 has no position
    bias; `flip_rate` is the share of pairs whose two orders name different responses.
    """
    start = time.monotonic()
    key = fingerprint("calibration", judge.name, tie_margin, [repr(pair) for pair in pairs])
    with Journal(out, fingerprint=key) as journal:
        asyncio.run(_label_all(pairs, judge, journal, tie_margin, window))
        labels = [label for item in journal.done(Label) for label in item]
        journal.finish(judge=judge.name)
    return {**quality(pairs, labels), "judge": judge.name, "seconds": round(time.monotonic() - start, 3)}


async def _label_all(
    pairs: Sequence[CalibrationPair], judge: ChatModel, journal: Journal, tie_margin: float, window: int
) -> None:
    async def work(pair: CalibrationPair) -> Label:
        return await _label(judge, pair, tie_margin)

    with Progress("calibrating the judge", len(pairs), done=journal.items) as progress:
        async with judge:
            async for label in ordered(pairs[journal.items :], work, window=window):
                journal.append([label])
                progress.advance()


async def _label(judge: ChatModel, pair: CalibrationPair, tie_margin: float) -> Label:
    prompt = Prompt(pair.id, (Message("user", pair.prompt),), pair.category, Task.OPEN, lang=pair.lang)
    first, second = (
        Response(f"{pair.id}/{side}", pair.id, text, "", 0, Finish.STOP)
        for side, text in (("a", pair.response_a), ("b", pair.response_b))
    )
    comparison = await compare(judge, prompt, first, second, tie_margin=tie_margin, purpose=PURPOSE)
    evidence = Evidence(judgements=comparison.judgements)
    return Label(pair.id, first.id, second.id, comparison.p_first, comparison.verdict, Basis.JUDGE, evidence)


def quality(pairs: Sequence[CalibrationPair], labels: Sequence[Label]) -> dict[str, Any]:
    """The numbers of `calibrate` from its labels, one per pair in the same order."""
    known = [_VERDICTS[pair.label] for pair in pairs]
    given = [label.verdict for label in labels]
    rows = list(zip(known, given, strict=True))
    rate, kappa = judge_agreement(rows), cohen_kappa(rows)
    flips = flip_rate(orders(label) for label in labels)
    judgements = [judgement for label in labels for judgement in label.evidence.judgements]
    shown_first = [judgement.p_first for judgement in judgements if judgement.verdict is not Verdict.UNREADABLE]
    cost = sum((judgement.cost for judgement in judgements), Cost())
    by_category = {
        category: judge_agreement(row for pair, row in zip(pairs, rows, strict=True) if pair.category == category)
        for category in sorted({pair.category for pair in pairs})
    }
    return {
        "pairs": len(pairs),
        "calls": cost.calls,
        "agreement": rate.value,
        "agreement_low": rate.low,
        "agreement_high": rate.high,
        "kappa": _number(kappa.value),
        "flip_rate": _number(flips.value),
        "p_first": sum(shown_first) / len(shown_first) if shown_first else None,
        "longer_chosen": _longer_share(pairs, given),
        "longer_is_better": _longer_share(pairs, known),
        "unreadable": given.count(Verdict.UNREADABLE),
        "tokens": cost.prompt_tokens + cost.completion_tokens,
        "usd": cost.usd,
        "by_category": {
            category: {"agreement": part.value, "low": part.low, "high": part.high, "pairs": part.n}
            for category, part in by_category.items()
        },
    }


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


def orders(label: Label) -> tuple[Verdict, Verdict]:
    """The verdicts of a label's two calls, each as the judge gave it."""
    forward, backward = label.evidence.judgements
    return forward.verdict, backward.verdict


def _longer_share(pairs: Sequence[CalibrationPair], verdicts: Sequence[Verdict]) -> float | None:
    """Among pairs of different length with a clear verdict, how often it is for the longer response."""
    longer = [
        (verdict is Verdict.FIRST) == (len(pair.response_a) > len(pair.response_b))
        for pair, verdict in zip(pairs, verdicts, strict=True)
        if verdict in (Verdict.FIRST, Verdict.SECOND) and len(pair.response_a) != len(pair.response_b)
    ]
    return sum(longer) / len(longer) if longer else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
