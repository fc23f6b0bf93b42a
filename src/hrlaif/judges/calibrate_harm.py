"""How good a judge is at harm and refusals, on responses that people have labelled, and where to cut its scores."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hrlaif.artifacts import read_records
from hrlaif.errors import DataError
from hrlaif.judges.harm import (
    NO_CUTS,
    Refusal,
    harm_score,
    judge_harm,
    judge_refusal,
    judge_text,
    surface_outcome,
)
from hrlaif.judges.harm_cuts import FOLDS, HarmCuts, Scored, fitted_cut, fold_of
from hrlaif.judges.harm_quality import CUT_REFUSAL, CUTS_HARM, questions_hash
from hrlaif.metrics import Seen, cohen_kappa, wilson
from hrlaif.models.base import ChatModel, ChatReply, ChatRequest
from hrlaif.models.flow import ordered
from hrlaif.progress import track
from hrlaif.types import Cost, Finish, HarmOutcome, Message, Metric, Prompt, Response, Task

PURPOSE = "calibration"
LEAST_ROWS = 20  # of each class, without which a score gets no cut of its own
_HATE = "S10"
_TEXTS = ("prompt_harm", "sentence_toxicity")  # judged by themselves, not as a response to a request


@dataclass(frozen=True, slots=True)
class HarmRow:
    """One labelled row, e.g. `{"id": "r1", "task": "response_harm", "prompt": "...", "response": "...", "harmful": 1}`.

    `harmful` and `refusal` are None where people did not judge them.
    """

    id: str
    task: Literal["response_refusal", "response_harm", "response_jailbroken", "prompt_harm", "sentence_toxicity"]
    prompt: str | None = None
    response: str | None = None
    harmful: Literal[0, 1] | None = None
    refusal: Literal["full_compliance", "full_refusal", "partial_refusal"] | None = None
    prompt_is_unsafe: bool | None = None
    category: str | None = None
    lang: str = "en"


class Reading(NamedTuple):
    """What the judge says of one row: None where it could not say, or was not asked."""

    is_harmful: bool | None
    is_refusal: bool | None
    cost: Cost


class Scores(NamedTuple):
    """What a judge's answers on one response weigh (log-odds, nats), by wording for harm; None: unreadable or unasked.

    `is_refusal` is its own word on a full refusal, as it is without a cut.
    """

    refused: float | None
    is_refusal: bool
    harm: tuple[float | None, ...]
    cost: Cost


def calibrate(path: Path, judge: ChatModel, *, window: int = 64) -> dict[str, Any]:
    """The judge's quality on the rows of `path` (JSONL), see `calibrate_rows`.

    Raises:
        DataError: The file cannot be read, or holds no row with a label.
    """
    rows = [row for row in read_records(path, HarmRow) if row.harmful is not None or row.refusal is not None]
    if not rows:
        raise DataError(f"{path}: no row has `harmful` or `refusal`. Add human labels, one of them at least.")
    return asyncio.run(calibrate_rows(rows, judge, window=window))


async def calibrate_rows(rows: Sequence[HarmRow], judge: ChatModel, *, window: int = 64) -> dict[str, Any]:
    """The judge's quality on labelled rows, and the cuts of its scores that do best on them.

    `accuracy`, `precision` and `recall` are those of "harmful"; `refusal_accuracy` is that of "refuses in full"
    against "complies, at least in part". What the judge leaves undecided counts as wrong, and as not harmful;
    `unjudged` counts it. Each share has its interval and its count (`..._low`, `..._high`, `..._rows`); a number
    without rows is None.

    `cut_...` are fitted where there are enough rows of both classes, else they are what holds without a file. The
    numbers are then held out: each row is cut by what the rows of other prompts taught (`FOLDS` parts). Those of the
    judge's own word, without cuts, are `..._uncut`.
    """
    start = time.monotonic()
    cuts_refusal = _are_enough(row.refusal == "full_refusal" for row in rows if row.refusal is not None)
    cuts_harm = _are_enough(row.harmful == 1 for row in rows if _is_attack(row))
    # What the cuts change is asked again, and nobody pays for the same question twice.
    memo = _Memo(judge)

    async def work(row: HarmRow) -> tuple[Reading, Scores]:
        return await read_row(memo, row), await score_row(memo, row, asks_harm=cuts_harm)

    async with memo:
        asked = ordered(track(rows, "calibrating the harm judge", len(rows)), work, window=window)
        uncut, scores = zip(*[item async for item in asked], strict=True)
        scored = list(zip(rows, scores, strict=True))
        cuts = cuts_of(scored, refusal=cuts_refusal, harm=cuts_harm)
        by_fold = [
            cuts_of([one for one in scored if _fold(one[0]) != fold], refusal=cuts_refusal, harm=cuts_harm)
            for fold in range(FOLDS)
        ]

        async def held_out(row: HarmRow) -> Reading:
            return await read_row(memo, row, cuts=by_fold[_fold(row)])

        cut = [reading async for reading in ordered(rows, held_out, window=window)]
    readings = [
        last._replace(cost=first.cost + score.cost + last.cost)
        for first, score, last in zip(uncut, scores, cut, strict=True)
    ]
    found = quality(rows, readings)
    before = quality(rows, uncut)
    rates = ("accuracy", "refusal_accuracy", "sensitivity", "specificity", "unjudged")
    return {
        **found,
        **{f"{rate}_uncut": before[rate] for rate in rates},
        CUT_REFUSAL: cuts.refusal,
        **dict(zip(CUTS_HARM, cuts.harm, strict=True)),
        "judge": judge.name,
        "questions": questions_hash(),
        "seconds": round(time.monotonic() - start, 3),
    }


def _are_enough(classes: Iterable[bool]) -> bool:
    counts = Counter(classes)
    return min(counts[True], counts[False]) >= LEAST_ROWS


def _is_attack(row: HarmRow) -> bool:
    """Whether the cuts on harm hold for a row: a labelled response to what is not known as a safe request."""
    return row.harmful is not None and row.task not in _TEXTS and row.prompt_is_unsafe is not False


def _fold(row: HarmRow) -> int:
    return fold_of(row.prompt or "")


def cuts_of(scored: Sequence[tuple[HarmRow, Scores]], *, refusal: bool, harm: bool) -> HarmCuts:
    """The cuts that these rows teach, of the kinds that are wanted: refusal first, then harm among what it leaves."""
    known = [
        Scored(row.refusal == "full_refusal", score.refused)
        for row, score in scored
        if row.refusal is not None and score.refused is not None
    ]
    cut = fitted_cut(known) if refusal else None
    if not harm:
        return HarmCuts(cut)
    attacks = [
        (row.harmful == 1, score, score.is_refusal if cut is None else _exceeds(score.refused, cut))
        for row, score in scored
        if _is_attack(row)
    ]
    by_wording = (
        fitted_cut(
            [
                Scored(is_harmful, -math.inf if is_full else score.harm[wording] or 0.0)
                for is_harmful, score, is_full in attacks
                if is_full or score.harm[wording] is not None
            ]
        )
        for wording in range(len(NO_CUTS.harm))
    )
    return HarmCuts(cut, tuple(one or 0.0 for one in by_wording))


def _exceeds(score: float | None, cut: float) -> bool:
    return score is not None and score > cut


class _Memo:
    """A judge that answers a question that it was asked before from memory, at no cost."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._replies: dict[object, ChatReply] = {}

    @property
    def name(self) -> str:
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        key = (request.messages, request.max_tokens, request.top_logprobs)
        if key in self._replies:
            return dataclasses.replace(self._replies[key], cost=Cost())
        self._replies[key] = await self._model.chat(request)
        return self._replies[key]

    async def __aenter__(self) -> _Memo:
        await self._model.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._model.__aexit__(*error)


def _posed(row: HarmRow) -> tuple[Prompt, Response]:
    task = Task.OPEN if row.prompt_is_unsafe is False else Task.RED_TEAM
    prompt = Prompt(row.id, (Message("user", row.prompt or ""),), row.category or "", task, lang=row.lang)
    return prompt, Response(f"{row.id}/0", row.id, row.response or "", "", 0, Finish.STOP)


async def score_row(judge: ChatModel, row: HarmRow, *, asks_harm: bool) -> Scores:
    """What the judge's answers on a row weigh; those on harm only where they are wanted and people labelled harm."""
    if row.task in _TEXTS:
        return Scores(None, False, (None,) * len(NO_CUTS.harm), Cost())
    prompt, response = _posed(row)
    declines = await judge_refusal(judge, prompt, response, purpose=PURPOSE)
    harm: list[float | None] = [None] * len(NO_CUTS.harm)
    cost = declines.cost
    if asks_harm and _is_attack(row) and declines.refusal is not None and not surface_outcome(response):
        for place in range(len(harm)):
            harm[place], choice = await harm_score(
                judge, prompt, response, declines, wording=place + 1, purpose=PURPOSE
            )
            cost += choice.cost
    refused = None if declines.refusal is None else declines.refused
    return Scores(refused, declines.refusal is Refusal.FULL, tuple(harm), cost)


async def read_row(judge: ChatModel, row: HarmRow, *, cuts: HarmCuts = NO_CUTS) -> Reading:
    """Ask the judge about one row: only what people have labelled on it."""
    if row.task in _TEXTS:
        is_request = row.task == "prompt_harm"
        text, hazard = (row.prompt, None) if is_request else (row.response, _HATE)
        harmful, _, cost = await judge_text(
            judge, text or "", kind="request" if is_request else "sentence", hazard=hazard, purpose=PURPOSE
        )
        return Reading(harmful, None, cost)
    prompt, response = _posed(row)
    if row.harmful is None:
        declines = await judge_refusal(judge, prompt, response, purpose=PURPOSE, cuts=cuts)
        is_refusal = None if declines.refusal is None else declines.refusal is Refusal.FULL
        return Reading(None, is_refusal, declines.cost)
    verdict = await judge_harm(judge, prompt, response, purpose=PURPOSE, cuts=cuts)
    if verdict.outcome is HarmOutcome.UNJUDGED:
        return Reading(None, None, verdict.cost)
    return Reading(verdict.outcome is HarmOutcome.HARMFUL, verdict.outcome is HarmOutcome.SAFE_REFUSAL, verdict.cost)


def quality(rows: Sequence[HarmRow], readings: Sequence[Reading]) -> dict[str, Any]:
    """The rates of `calibrate_rows` from what the judge said of each row."""
    harm = [
        (row.harmful == 1, read.is_harmful) for row, read in zip(rows, readings, strict=True) if row.harmful is not None
    ]
    refusal = [
        (row.refusal == "full_refusal", read.is_refusal)
        for row, read in zip(rows, readings, strict=True)
        if row.refusal is not None
    ]
    hits = sum(known and given is True for known, given in harm)
    found, passed = errors(rows, readings)
    shares = {
        "accuracy": Seen(sum(known is given for known, given in harm), len(harm)),
        "precision": Seen(hits, sum(given is True for _, given in harm)),
        "recall": Seen(hits, sum(known for known, _ in harm)),
        "sensitivity": found,
        "specificity": passed,
        "refusal_accuracy": Seen(sum(known is given for known, given in refusal), len(refusal)),
    }
    metrics = [
        *(wilson(seen.right, seen.n, name=name) for name, seen in shares.items()),
        cohen_kappa([pair for pair in harm if pair[1] is not None]),
    ]
    cost = sum((reading.cost for reading in readings), Cost())
    return {
        "rows": len(rows),
        **{key: value for metric in metrics for key, value in _bounded(metric).items()},
        "unjudged": sum(given is None for _, given in (*harm, *refusal)),
        "calls": cost.calls,
        "tokens": cost.prompt_tokens + cost.completion_tokens,
        "by_category": {name: _category(rows, readings, name) for name in sorted({row.category or "" for row in rows})},
    }


def errors(rows: Sequence[HarmRow], readings: Sequence[Reading]) -> tuple[Seen, Seen]:
    """Sensitivity and specificity of "harmful", on labelled responses that the judge could decide on.

    Only responses count: those of a run are judged by the same questions, and the undecided are in no rate there.
    """
    seen = [
        (row.harmful == 1, read.is_harmful)
        for row, read in zip(rows, readings, strict=True)
        if row.harmful is not None and row.task not in _TEXTS and read.is_harmful is not None
    ]
    harmful, harmless = (
        [given is known for known, given in seen if known is is_harmful] for is_harmful in (True, False)
    )
    return Seen(sum(harmful), len(harmful)), Seen(sum(harmless), len(harmless))


def _bounded(metric: Metric) -> dict[str, Any]:
    """A metric under its own name, with its interval and how many rows it rests on; None where it has no number."""
    value, low, high = (None if math.isnan(one) else one for one in (metric.value, metric.low, metric.high))
    return {metric.name: value, f"{metric.name}_low": low, f"{metric.name}_high": high, f"{metric.name}_rows": metric.n}


def _category(rows: Sequence[HarmRow], readings: Sequence[Reading], name: str) -> dict[str, Any]:
    part = [(row, read) for row, read in zip(rows, readings, strict=True) if (row.category or "") == name]
    harm = [(row.harmful == 1) is read.is_harmful for row, read in part if row.harmful is not None]
    refusal = [(row.refusal == "full_refusal") is read.is_refusal for row, read in part if row.refusal is not None]
    return {
        "rows": len(part),
        "accuracy": _share(sum(harm), len(harm)),
        "refusal_accuracy": _share(sum(refusal), len(refusal)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
