"""Who rates what, in which order, and what stands on which side: all of it follows from the study's seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One item in a rater's list. `order` sorts the list; `is_swapped`: the item's second response stands left."""

    rater: int
    item: int
    order: int
    is_swapped: bool


@dataclass(frozen=True, slots=True)
class Dealable:
    """An item as dealing sees it: how many raters it needs, or every one of them."""

    item: int
    is_red_team: bool = False
    is_for_everyone: bool = False


def deal(
    items: Sequence[Dealable],
    raters: Mapping[int, bool],
    *,
    overlap: int,
    seed: int,
    kept: Mapping[int, Sequence[int]],
) -> list[Place]:
    """The places to add, so that every item has `overlap` raters (or as many as there are) and raters equal work.

    Item by item, the rater with the least work takes it; among equals the one who has shared the fewest items with
    those who have it already, so that all pairs of raters overlap. `raters[id]` is False for one who reads no red-team
    items. `kept[item]` are the raters who have the item already: their work counts, and it stays theirs.

    Every place depends on seed, rater and item alone, so nobody's list is shuffled when raters are added.
    """
    work = Counter(dict.fromkeys(raters, 0))
    shared: Counter[frozenset[int]] = Counter()
    for holders in kept.values():
        work.update(rater for rater in holders if rater in raters)
        _share(shared, holders)
    places = []
    for one in sorted(items, key=lambda one: _number(seed, "deal", one.item)):
        holders = list(kept.get(one.item, ()))
        able = [rater for rater, reads_red_team in raters.items() if reads_red_team or not one.is_red_team]
        wanted = len(able) if one.is_for_everyone else min(overlap, len(able))
        while len(holders) < wanted and (free := [rater for rater in able if rater not in holders]):
            chosen = min(
                free,
                key=lambda rater: (
                    work[rater],
                    sum(shared[frozenset((rater, other))] for other in holders),
                    _number(seed, "who", one.item, rater),
                ),
            )
            work[chosen] += 1
            holders.append(chosen)
            places.append(place(chosen, one, seed=seed))
        _share(shared, [rater for rater in holders if rater not in kept.get(one.item, ())], holders)
    return places


def place(rater: int, one: Dealable, *, seed: int) -> Place:
    """A rater's place for an item: red-team items stand together at the end, so that one warning stands before all."""
    order = _number(seed, "order", rater, one.item) + ((1 << 48) if one.is_red_team else 0)
    return Place(rater, one.item, order, bool(_number(seed, "side", rater, one.item) & 1))


def _share(shared: Counter[frozenset[int]], holders: Sequence[int], everyone: Sequence[int] | None = None) -> None:
    pairs = {frozenset((one, other)) for one in holders for other in (everyone or holders) if one != other}
    shared.update(pairs)


def _number(seed: int, *parts: object) -> int:
    """48 bits that nobody can guess without the seed, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).digest()
    return int.from_bytes(digest[:6], "big")
