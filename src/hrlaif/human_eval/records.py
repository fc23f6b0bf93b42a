"""What passes between the page, its server and the study's file, and what leaves it as a vote."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hrlaif.errors import DataError
from hrlaif.human_eval.items import Item
from hrlaif.types import Satisfaction, Task, Verdict


class TakenError(DataError):
    """A vote's id is there already, with another rater or item."""


class Flaw(str, Enum):
    """Why a rater is not satisfied with a response; several may be ticked."""

    INCORRECT = "incorrect"
    OFF_REQUEST = "off_request"
    TOO_LONG = "too_long"
    UNCLEAR = "unclear"
    HARMFUL = "harmful"
    NEEDLESS_REFUSAL = "needless_refusal"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Rating:
    """What a rater says of one response; UNREADABLE where they could not say."""

    satisfied: Satisfaction
    flaws: tuple[Flaw, ...] = ()


@dataclass(frozen=True, slots=True)
class Rater:
    """One rater. `reads_red_team` is None until they were asked; `expires` is when the link ends, in s since 1970."""

    id: int
    name: str
    expires: float
    reads_red_team: bool | None


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote as it is cast, in the item's own order. `id` is the caster's: the same id again is the same vote.

    `is_swapped` says whether the item's second response stood left, None where the study's own page showed it.
    """

    id: str
    rater: int
    item: int
    verdict: Verdict
    first: Rating
    second: Rating
    seconds: float
    source: str = "page"
    is_swapped: bool | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """An item in a rater's list."""

    id: int
    item: Item
    is_swapped: bool
    is_red_team: bool


@dataclass(frozen=True, slots=True)
class HumanVote:
    """One rater's current vote on one pair of responses, in the pair's own order and not in the order shown.

    `verdict` is UNREADABLE where the rater could not say. `is_swapped`: the second response stood on the left (A).
    `known` is the right verdict of a pair that checks raters; such a pair compares no arms. `version` counts how often
    the rater changed their mind, from 1. `seconds` is how long the pair was on the screen, `time` seconds since 1970.
    """

    id: str
    item: int
    rater: str
    prompt_id: str
    category: str
    task: Task
    first_id: str
    second_id: str
    first_arm: str
    second_arm: str
    verdict: Verdict
    first: Rating
    second: Rating
    is_swapped: bool
    version: int
    seconds: float
    time: float
    source: str = "page"
    known: Verdict | None = None
