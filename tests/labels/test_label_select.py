from collections import Counter
from itertools import combinations

import pytest

from hrlaif.labels import select
from hrlaif.types import Finish, Outcome, Response, Verification

SEEDS = [f"seed/{k}" for k in range(20)]


def drawn(texts: list[str]) -> list[Response]:
    return [Response(f"p/{k}", "p", text, "policy", k, Finish.STOP) for k, text in enumerate(texts)]


def checked(outcomes: str) -> tuple[list[Response], dict[str, Verification]]:
    """Responses that are c(orrect), w(rong) or u(nreadable), with their verifications."""
    kinds = {"c": Outcome.CORRECT, "w": Outcome.WRONG, "u": Outcome.UNREADABLE}
    responses = drawn([f"{outcome} {k}" for k, outcome in enumerate(outcomes)])
    return responses, {one.id: Verification(one.id, kinds[one.text[0]], None, "rule") for one in responses}


def uses(pairs: list[select.ResponsePair], responses: list[Response]) -> list[int]:
    counted = Counter(one.id for pair in pairs for one in pair)
    return [counted[response.id] for response in responses]


def parts(pairs: list[select.ResponsePair], responses: list[Response]) -> int:
    """Into how many unconnected groups the pairs leave the responses."""
    group = {response.id: response.id for response in responses}
    for one, other in pairs:
        old, new = group[one.id], group[other.id]
        group = {name: new if where == old else where for name, where in group.items()}
    return len(set(group.values()))


# --- responses that can be compared -----------------------------------------------------------------------------------


def test_of_equal_texts_the_first_is_used_and_empty_ones_never() -> None:
    responses = drawn(["four", " four\n", "", "five", " \n", "four"])
    assert sorted(one.id for one in select.usable(responses)) == ["p/0", "p/3"]
    failed = Response("p/9", "p", "", "policy", 0, Finish.FAILED)
    assert select.usable([failed]) == []


# --- pairs for a judge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(2, 9))
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_every_response_is_used_about_equally_often_under_any_limit(n: int, seed: str) -> None:
    responses = drawn([f"text {k}" for k in range(n)])
    for limit in range(1, n * (n - 1) // 2 + 1):
        pairs = select.spread(responses, limit, seed=seed)
        assert len(pairs) == limit
        assert len({frozenset((one.id, other.id)) for one, other in pairs}) == limit
        used = uses(pairs, responses)
        # One apart while responses come up for the first and the second time, and never more than two.
        assert max(used) - min(used) <= (1 if limit <= n else 2)


@pytest.mark.parametrize("n", range(2, 9))
def test_n_minus_1_pairs_connect_n_responses(n: int) -> None:
    responses = drawn([f"text {k}" for k in range(n)])
    for seed in SEEDS[:5]:
        assert parts(select.spread(responses, n - 1, seed=seed), responses) == 1


def test_a_limit_beyond_all_pairs_gives_each_pair_once() -> None:
    responses = drawn(["a", "b", "c", "d"])
    pairs = select.spread(responses, 99, seed="s")
    assert {frozenset((one.id, other.id)) for one, other in pairs} == {
        frozenset(two) for two in combinations(["p/0", "p/1", "p/2", "p/3"], 2)
    }


def test_pairs_depend_on_the_seed_and_on_nothing_else() -> None:
    responses = drawn([f"text {k}" for k in range(6)])
    assert select.spread(responses, 4, seed="s") == select.spread(responses, 4, seed="s")
    assert len({tuple(select.spread(responses, 1, seed=seed)) for seed in SEEDS}) > 5


def test_either_response_of_a_pair_may_come_first() -> None:
    responses = drawn(["a", "b"])
    first = Counter(select.spread(responses, 1, seed=seed)[0][0].id for seed in SEEDS)
    assert min(first["p/0"], first["p/1"]) >= 4


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "a"], ["a", ""]])
def test_fewer_than_two_different_responses_make_no_pair(texts: list[str]) -> None:
    assert select.spread(drawn(texts), 3, seed="s") == []


# --- pairs that the verifier decides ----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcomes", ["cw", "ccw", "cww", "ccwww", "cccww", "ccccww", "cccwww", "cuwuw"])
def test_correct_meets_wrong_and_each_side_is_used_equally_often_under_any_limit(outcomes: str) -> None:
    responses, known = checked(outcomes)
    cells = outcomes.count("c") * outcomes.count("w")
    for limit in range(1, cells + 2):
        pairs = select.decided(responses, known, limit, seed="s")
        assert len(pairs) == min(limit, cells)
        assert len({frozenset((one.id, other.id)) for one, other in pairs}) == len(pairs)
        assert all({one.text[0], other.text[0]} == {"c", "w"} for one, other in pairs)
        for kind in "cw":
            used = uses(pairs, [one for one in responses if one.text.startswith(kind)])
            assert max(used) - min(used) <= 1


@pytest.mark.parametrize("outcomes", ["", "c", "cc", "ww", "uuu", "cu", "wu"])
def test_without_both_sides_nothing_is_decided(outcomes: str) -> None:
    responses, known = checked(outcomes)
    assert select.decided(responses, known, 3, seed="s") == []


def test_the_correct_one_is_not_always_shown_on_the_same_side() -> None:
    responses, known = checked("cw")
    first = Counter(select.decided(responses, known, 1, seed=seed)[0][0].text[0] for seed in SEEDS)
    assert min(first["c"], first["w"]) >= 4


def test_reasoning_is_compared_between_correct_responses_only() -> None:
    responses, known = checked("cwcuc")
    pairs = select.both_correct(responses, known, 9, seed="s")
    assert len(pairs) == 3
    assert all(one.text[0] == other.text[0] == "c" for one, other in pairs)


def test_a_response_without_a_verification_is_neither_correct_nor_wrong() -> None:
    responses, known = checked("ccw")
    del known["p/0"]
    assert len(select.decided(responses, known, 9, seed="s")) == 1
    assert select.both_correct(responses, known, 9, seed="s") == []


@pytest.mark.parametrize("n", [2, 4, 7])
def test_fewer_pairs_are_the_first_of_more_so_that_a_smaller_budget_asks_nothing_else(n: int) -> None:
    responses = drawn([f"text {k}" for k in range(n)])
    every = select.spread(responses, None, seed="s")
    assert len(every) == n * (n - 1) // 2
    for limit in range(len(every)):
        assert select.spread(responses, limit, seed="s") == every[:limit]
