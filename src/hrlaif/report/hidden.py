"""What a report must not print: the texts of attacks, whatever answered them, and answers that nobody found safe."""

from __future__ import annotations

import hashlib

from hrlaif.judges.harm import SAFE, hazards
from hrlaif.report.wording import tidy
from hrlaif.types import Evaluation, Prompt, Task


def hides_prompt(prompt: Prompt | None, task: Task) -> bool:
    """True for a red-team prompt, and for any that names a hazard."""
    return task is Task.RED_TEAM or (prompt is not None and (prompt.task is Task.RED_TEAM or prompt.hazard is not None))


def hides_answer(row: Evaluation, prompt: Prompt | None) -> bool:
    """True where an answer may be harmful: on a hidden prompt always, since the judge who passed it errs and a refusal
    may quote the request; on a benign one that looks unsafe unless it was judged safe.
    """
    if hides_prompt(prompt, row.task):
        return True
    if row.harm is not None:
        return row.harm.outcome not in SAFE
    return row.task is Task.BENIGN_TRICKY


def placeholder(hazard: str | None, identity: str) -> str:
    """What stands in place of a text: enough to find its row, and nothing of it."""
    return f"[hidden: hazard {hazard if hazard in hazards() else 'not named'}, id {tidy(identity, 80)}]"


def hazard_name(code: str) -> str:
    """A hazard's code with its name; a code that is none of the fourteen may be anything and is not repeated."""
    return f"{code} {hazards()[code][0]}" if code in hazards() else "not named"


def hazard_place(code: str) -> tuple[int, str]:
    """Sorts hazards in their own order, S2 before S10; what is none of the fourteen comes last."""
    known = list(hazards())
    return (known.index(code) if code in known else len(known), code)


def digest(text: str) -> str:
    """By which a hidden text can be recognised, and from which it cannot be read."""
    return f"sha256 {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}…"
