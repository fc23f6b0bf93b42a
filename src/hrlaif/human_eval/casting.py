"""What the page sends as a vote, read strictly: left and right become the pair's own first and second."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from hrlaif.human_eval.records import Ballot, Flaw, Rating
from hrlaif.types import Satisfaction, Verdict

_ID = re.compile(r"[0-9a-zA-Z-]{16,64}")
_CHOICES = {"left": Verdict.FIRST, "right": Verdict.SECOND, "tie": Verdict.TIE, "skip": Verdict.UNREADABLE}
_LONGEST_S = 86_400.0


def read_ballot(sent: Mapping[str, Any], *, rater: int, is_swapped: bool) -> Ballot:
    """The vote in the order of the pair.

    Raises:
        ValueError: It is not of the form that the page sends; the message names the field.
    """
    vote_id, choice, seconds = sent.get("id"), sent.get("choice"), sent.get("seconds", 0)
    if not isinstance(vote_id, str) or not _ID.fullmatch(vote_id):
        raise ValueError("'id' has to be 16 to 64 letters, digits or dashes")
    if not isinstance(choice, str) or choice not in _CHOICES:
        raise ValueError(f"'choice' has to be one of {', '.join(_CHOICES)}")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise ValueError("'seconds' has to be a number")
    verdict = _CHOICES[choice]
    ratings = [_rating(sent, side, is_skip=verdict is Verdict.UNREADABLE) for side in ("left", "right")]
    if is_swapped:
        verdict = verdict.mirrored
        ratings.reverse()
    return Ballot(
        vote_id, rater, sent["item"], verdict, ratings[0], ratings[1], min(max(0.0, float(seconds)), _LONGEST_S)
    )


def _rating(sent: Mapping[str, Any], side: str, *, is_skip: bool) -> Rating:
    if is_skip:
        return Rating(Satisfaction.UNREADABLE)
    given = sent.get(side)
    if not isinstance(given, Mapping) or not isinstance(given.get("satisfied"), bool):
        raise ValueError(f"'{side}.satisfied' has to be true or false")
    flaws = given.get("flaws", [])
    known = {flaw.value for flaw in Flaw}
    if not isinstance(flaws, list) or not all(isinstance(flaw, str) and flaw in known for flaw in flaws):
        raise ValueError(f"'{side}.flaws' has to be a list of {', '.join(sorted(known))}")
    if given["satisfied"]:
        return Rating(Satisfaction.YES)
    return Rating(Satisfaction.NO, tuple(flaw for flaw in Flaw if flaw.value in flaws))


def shown_vote(vote: tuple[Verdict, Rating, Rating], *, is_swapped: bool) -> dict[str, Any]:
    """A vote as the page shows it: the reverse of `read_ballot`."""
    verdict, *ratings = vote
    if is_swapped:
        verdict = verdict.mirrored
        ratings.reverse()
    left, right = (
        {"satisfied": one.satisfied is Satisfaction.YES, "flaws": [flaw.value for flaw in one.flaws]}
        if one.satisfied is not Satisfaction.UNREADABLE
        else None
        for one in ratings
    )
    choice = next(name for name, value in _CHOICES.items() if value is verdict)
    return {"choice": choice, "left": left, "right": right}
