"""A run-wide budget of judge calls, dealt out evenly: how many comparisons a prompt gets depends on its place alone.

So groups are read once, a restart deals alike, and both arms compare the same pairs of an open prompt.
"""

from __future__ import annotations

import random

from hrlaif.config import LabelsSection
from hrlaif.errors import DataError

CALLS_PER_VOTE = 2
"""A judge is asked about a pair in both orders."""


def comparisons(index: int, total: int | None, section: LabelsSection, *, judges: int = 1, seed: int) -> int:
    """How many pairs of prompt `index` (of `total`, from 0) the judge may compare, if `judges` of them vote on each.

    Without a budget `pairs_per_prompt`. With one every prompt gets one comparison before any gets a second: each gets
    the whole part of budget / prompts, and the rest goes to prompts drawn at random, one in each stretch of the file,
    so that an order by language or category that repeats itself is not followed.

    Raises:
        DataError: There is a budget, but it was not said how many prompts there are.
    """
    if not section.max_calls:
        return section.pairs_per_prompt
    if total is None:
        raise DataError("labels.max_calls is dealt out over all prompts, so `total` must say how many there are.")
    if index >= total:
        return 0
    each, rest = divmod(section.max_calls // (CALLS_PER_VOTE * judges), total)
    return min(section.pairs_per_prompt, each + _is_drawn(index, total, rest, seed))


def _is_drawn(index: int, total: int, count: int, seed: int) -> bool:
    """True for exactly `count` of `total` places, one in each of `count` stretches of about equal length."""
    if count == 0:
        return False
    if 2 * count > total:
        # Stretches of one place leave no choice; those that are left out can be spread instead.
        return not _is_drawn(index, total, total - count, seed)
    stretch = ((index + 1) * count - 1) // total
    start, end = stretch * total // count, (stretch + 1) * total // count
    return index == random.Random(f"{seed}/budget/{stretch}").randrange(start, end)
