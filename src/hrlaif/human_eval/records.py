"""What passes between the page, its server and the study's file."""

from __future__ import annotations

from dataclasses import dataclass

from hrlaif.errors import DataError
from hrlaif.human_eval.items import Item
from hrlaif.types import Rating, Verdict


class TakenError(DataError):
    """A vote's id is there already, with another rater or item."""


@dataclass(frozen=True, slots=True)
class Rater:
    """One rater. `reads_red_team` is None until they were asked; `expires` is when the link ends, in s since 1970."""

    id: int
    name: str
    expires: float
    reads_red_team: bool | None


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote as it is cast, in the item's own order. `id` is the caster's: the same id again is the same vote."""

    id: str
    rater: int
    item: int
    verdict: Verdict
    first: Rating
    second: Rating
    seconds: float
    source: str = "page"


@dataclass(frozen=True, slots=True)
class Shown:
    """An item in a rater's list."""

    id: int
    item: Item
    is_swapped: bool
    is_red_team: bool
