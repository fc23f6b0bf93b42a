"""How good the verifiers are on labelled rows: what `hrlaif calibrate verifier FILE` prints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hrlaif.artifacts import read_records
from hrlaif.errors import DataError
from hrlaif.types import Finish, Message, Outcome, Prompt, Response, Task, Verification
from hrlaif.verifiers.dispatch import verify_many

_TASKS = {"math": Task.MATH, "mcq": Task.CHOICE, "short": Task.SHORT, "equiv": Task.MATH}
_NOT_GIVEN = "(not given)"


@dataclass(frozen=True, slots=True)
class LabelledResponse:
    """One row: a response, and whether its final answer is the reference (`equiv` rows: a bare answer)."""

    id: str
    task: Literal["math", "mcq", "short", "equiv"]
    reference: str
    response: str
    is_correct: bool
    question: str | None = None
    choices: tuple[str, ...] | None = None
    extracted_answer: str | None = _NOT_GIVEN
    finish: Finish = Finish.STOP

    def item(self) -> tuple[Prompt, Response]:
        """The row as a verifier takes it."""
        question = Message("user", self.question or "")
        prompt = Prompt(
            self.id, (question,), self.task, _TASKS[self.task], reference=self.reference, choices=self.choices or ()
        )
        return prompt, Response(self.id, self.id, self.response, model="", seed=0, finish=self.finish)


def calibrate(path: Path, *, workers: int | None = None) -> dict[str, Any]:
    """Accuracy of the verifiers on the labelled responses of a JSON Lines file (or .zst).

    A response counts as called correct only if its outcome is CORRECT, so UNREADABLE is an error on a correct one.

        {"id": "1", "task": "math", "question": "2 + 2?", "choices": null, "reference": "4", "response": "It is 4.",
         "is_correct": true}

    Returns:
        `rows`, `accuracy`, `precision` (of CORRECT), `recall`, `unreadable` (rows), `extracted_accuracy` (the letter
        found equals the row's `extracted_answer`; None where no row has one), `by_task` (the first five keys for each
        task), `seconds`. A rate over no rows is None.

    Raises:
        DataError: A row is not of this form (file and line), or the file has none.
    """
    start = time.monotonic()
    rows = list(read_records(path, LabelledResponse))
    if not rows:
        raise DataError(f"{path}: no rows. Give a JSON Lines file with labelled responses.")
    results = list(verify_many((row.item() for row in rows), workers=workers))
    extracted = [
        result.found == row.extracted_answer
        for row, result in zip(rows, results, strict=True)
        if row.extracted_answer != _NOT_GIVEN
    ]
    summary = _summary(rows, results)
    summary["extracted_accuracy"] = _rate(sum(extracted), len(extracted))
    summary["by_task"] = {
        task: _summary(*zip(*[pair for pair in zip(rows, results, strict=True) if pair[0].task == task], strict=True))
        for task in sorted({row.task for row in rows})
    }
    summary["seconds"] = round(time.monotonic() - start, 3)
    return summary


def _summary(rows: Sequence[LabelledResponse], results: Sequence[Verification]) -> dict[str, Any]:
    called = [result.outcome is Outcome.CORRECT for result in results]
    right = sum(call and row.is_correct for call, row in zip(called, rows, strict=True))
    return {
        "rows": len(rows),
        "accuracy": _rate(sum(call == row.is_correct for call, row in zip(called, rows, strict=True)), len(rows)),
        "precision": _rate(right, sum(called)),
        "recall": _rate(right, sum(row.is_correct for row in rows)),
        "unreadable": sum(result.outcome is Outcome.UNREADABLE for result in results),
    }


def _rate(successes: int, count: int) -> float | None:
    return successes / count if count else None
