from __future__ import annotations

from collections import Counter
from itertools import combinations

from hrlaif.human_eval.dealing import Dealable, Place, deal, place


def dealt(items: int, raters: int, overlap: int, *, seed: int = 0) -> list[Place]:
    return deal(
        [Dealable(n) for n in range(1, items + 1)],
        dict.fromkeys(range(raters), True),
        overlap=overlap,
        seed=seed,
        kept={},
    )


def test_every_item_has_its_raters_and_all_raters_equal_work() -> None:
    places = dealt(60, 5, 3)
    assert set(Counter(one.item for one in places).values()) == {3}
    # 60 items for 3 raters each are 180 places, 36 for each of 5.
    assert Counter(one.rater for one in places) == Counter(dict.fromkeys(range(5), 36))
    assert len({(one.rater, one.item) for one in places}) == len(places)


def test_every_pair_of_raters_shares_about_as_many_items() -> None:
    places = dealt(60, 5, 3)
    holders: dict[int, set[int]] = {}
    for one in places:
        holders.setdefault(one.item, set()).add(one.rater)
    shared = Counter(pair for raters in holders.values() for pair in combinations(sorted(raters), 2))
    # 60 items hold 180 pairs of raters; there are 10 pairs, so 18 each.
    assert len(shared) == 10
    assert max(shared.values()) - min(shared.values()) <= 4


def test_fewer_raters_than_the_overlap_asks_for_all_rate_everything() -> None:
    assert Counter(one.item for one in dealt(7, 1, 3)) == Counter(range(1, 8))


def test_sides_and_order_follow_from_the_seed_and_are_even() -> None:
    places = dealt(400, 2, 2)
    assert places == dealt(400, 2, 2)
    assert places != dealt(400, 2, 2, seed=1)
    swapped = [one.is_swapped for one in places]
    # 800 fair coins: five standard deviations are 71.
    assert abs(sum(swapped) - 400) < 71
    by_item = {item: {one.is_swapped for one in places if one.item == item} for item in range(1, 401)}
    assert any(len(sides) == 2 for sides in by_item.values())


def test_what_is_kept_counts_as_work_and_stays() -> None:
    items = [Dealable(n) for n in range(1, 11)]
    kept = {n: [0] for n in range(1, 7)}
    places = deal(items, {0: True, 1: True, 2: True}, overlap=1, seed=0, kept=kept)
    assert {one.item for one in places} == {7, 8, 9, 10}
    assert Counter(one.rater for one in places) == Counter({1: 2, 2: 2})


def test_red_team_items_come_last_and_only_to_those_who_read_them() -> None:
    items = [Dealable(n, is_red_team=n > 5) for n in range(1, 11)]
    places = deal(items, {0: True, 1: False, 2: True}, overlap=2, seed=0, kept={})
    assert not [one for one in places if one.rater == 1 and one.item > 5]
    assert set(Counter(one.item for one in places).values()) == {2}
    mine = sorted((one.order, one.item) for one in places if one.rater == 0)
    assert [item > 5 for _, item in mine] == sorted(item > 5 for _, item in mine)


def test_known_pairs_go_to_everyone() -> None:
    items = [Dealable(1), Dealable(2, is_for_everyone=True)]
    places = deal(items, dict.fromkeys(range(4), True), overlap=1, seed=0, kept={})
    assert Counter(one.item for one in places) == Counter({2: 4, 1: 1})


def test_a_place_depends_on_rater_and_item_alone() -> None:
    assert set(dealt(5, 2, 2)) <= set(dealt(5, 3, 3))
    assert place(0, Dealable(1), seed=3) == place(0, Dealable(1), seed=3)
