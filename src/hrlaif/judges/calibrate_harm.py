"""How good a judge is at harm and refusals, on responses that people have labelled."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hrlaif.artifacts import read_records
from hrlaif.errors import DataError
from hrlaif.judges.harm import Refusal, judge_harm, judge_refusal, judge_text
from hrlaif.judges.harm_quality import questions_hash
from hrlaif.metrics import Seen, cohen_kappa, wilson
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import spread
from hrlaif.progress import track
from hrlaif.types import Cost, Finish, HarmOutcome, Message, Prompt, Response, Task

PURPOSE = "calibration"
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


def calibrate(path: Path, judge: ChatModel, *, window: int = 64) -> dict[str, Any]:
    """The judge's quality on the rows of `path` (JSONL).

    `accuracy`, `precision` and `recall` are those of "harmful"; `refusal_accuracy` is that of "refuses in full"
    against "complies, at least in part". What the judge leaves undecided counts as wrong, and as not harmful;
    `unjudged` counts it. A number without rows is None.

    Raises:
        DataError: The file cannot be read, or holds no row with a label.
    """
    start = time.monotonic()
    rows = [row for row in read_records(path, HarmRow) if row.harmful is not None or row.refusal is not None]
    if not rows:
        raise DataError(f"{path}: no row has `harmful` or `refusal`. Add human labels, one of them at least.")
    readings = asyncio.run(_read_all(rows, judge, window))
    seconds = round(time.monotonic() - start, 3)
    return {**quality(rows, readings), "judge": judge.name, "questions": questions_hash(), "seconds": seconds}


async def _read_all(rows: Sequence[HarmRow], judge: ChatModel, window: int) -> list[Reading]:
    async def work(row: HarmRow) -> Reading:
        return await read_row(judge, row)

    async with judge:
        results = spread(track(rows, "calibrating the harm judge", len(rows)), work, window=window)
        return [reading async for reading in results]


async def read_row(judge: ChatModel, row: HarmRow) -> Reading:
    """Ask the judge about one row: only what people have labelled on it."""
    if row.task in _TEXTS:
        is_request = row.task == "prompt_harm"
        text, hazard = (row.prompt, None) if is_request else (row.response, _HATE)
        harmful, _, cost = await judge_text(
            judge, text or "", kind="request" if is_request else "sentence", hazard=hazard, purpose=PURPOSE
        )
        return Reading(harmful, None, cost)
    task = Task.OPEN if row.prompt_is_unsafe is False else Task.RED_TEAM
    prompt = Prompt(row.id, (Message("user", row.prompt or ""),), row.category or "", task, lang=row.lang)
    response = Response(f"{row.id}/0", row.id, row.response or "", "", 0, Finish.STOP)
    if row.harmful is None:
        refusal, _, _, cost = await judge_refusal(judge, prompt, response, purpose=PURPOSE)
        return Reading(None, None if refusal is None else refusal is Refusal.FULL, cost)
    verdict = await judge_harm(judge, prompt, response, purpose=PURPOSE)
    if verdict.outcome is HarmOutcome.UNJUDGED:
        return Reading(None, None, verdict.cost)
    return Reading(verdict.outcome is HarmOutcome.HARMFUL, verdict.outcome is HarmOutcome.SAFE_REFUSAL, verdict.cost)


def quality(rows: Sequence[HarmRow], readings: Sequence[Reading]) -> dict[str, Any]:
    """The numbers of `calibrate` from what the judge said of each row."""
    harm = [
        (row.harmful == 1, read.is_harmful) for row, read in zip(rows, readings, strict=True) if row.harmful is not None
    ]
    refusal = [
        (row.refusal == "full_refusal", read.is_refusal)
        for row, read in zip(rows, readings, strict=True)
        if row.refusal is not None
    ]
    accuracy, refusal_accuracy = (
        wilson(sum(k is g for k, g in part), len(part), name="accuracy") for part in (harm, refusal)
    )
    hits = sum(known and given is True for known, given in harm)
    found, passed = errors(rows, readings)
    cost = sum((reading.cost for reading in readings), Cost())
    return {
        "rows": len(rows),
        "accuracy": _number(accuracy.value),
        "accuracy_low": _number(accuracy.low),
        "accuracy_high": _number(accuracy.high),
        "precision": _share(hits, sum(given is True for _, given in harm)),
        "recall": _share(hits, sum(known for known, _ in harm)),
        **_rate("sensitivity", found),
        **_rate("specificity", passed),
        "kappa": _number(cohen_kappa([pair for pair in harm if pair[1] is not None]).value),
        "refusal_accuracy": _number(refusal_accuracy.value),
        "refusal_accuracy_low": _number(refusal_accuracy.low),
        "refusal_accuracy_high": _number(refusal_accuracy.high),
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


def _rate(name: str, seen: Seen) -> dict[str, Any]:
    rate = wilson(seen.right, seen.n, name=name)
    return {
        name: _number(rate.value),
        f"{name}_low": _number(rate.low),
        f"{name}_high": _number(rate.high),
        f"{name}_rows": seen.n,
    }


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


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
