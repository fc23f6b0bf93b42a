"""A text that a public tool carries, on its way to becoming a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One text of a tool's member `file`; `left_out` says why it cannot be a seed, `origin` where the tool has it from.

    `hazard` (S1 to S14) is what the tool itself says of the text in its own terms, None where it says nothing or more
    than one thing.
    """

    file: str
    text: str
    hazard: str | None = None
    origin: str = ""
    left_out: str = ""


def hazard_of(terms: Iterable[object], meaning: Mapping[str, str]) -> str | None:
    """The one hazard that a tool's terms name; None where they name none or several."""
    named = {meaning[term] for term in map(str, terms) if term in meaning}
    return named.pop() if len(named) == 1 else None
