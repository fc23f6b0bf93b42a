"""Tests of the measures on held-out pairs, with numbers worked out by hand."""

from __future__ import annotations

import pytest

from hrlaif.nn.chat import Conversation
from hrlaif.reward.data import TokenPair
from hrlaif.reward.measure import correlation, measure
from hrlaif.types import Basis, Pair


def item(category: str, basis: Basis, chosen_tokens: int, rejected_tokens: int) -> TokenPair:
    pair = Pair(f"{category}{chosen_tokens}", (), "", "", 0.9, basis, category)
    return TokenPair(pair, Conversation((1,), (2,) * chosen_tokens), Conversation((1,), (2,) * rejected_tokens))


ITEMS = [
    item("math", Basis.VERIFIER, 2, 5),
    item("math", Basis.VERIFIER, 3, 5),
    item("chat", Basis.JUDGE, 6, 5),
    item("chat", Basis.JUDGE, 4, 4),
]


def test_accuracy_in_all_by_category_and_by_basis_with_counts() -> None:
    # Right, wrong, right, equal (half).
    found = measure(ITEMS, [1.0, 0.0, 2.0, 3.0], [0.0, 1.0, 1.0, 3.0])
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (0.625, 4)
    assert found["accuracy"]["low"] < 0.625 < found["accuracy"]["high"]
    assert {name: (row["value"], row["n"]) for name, row in found["by_category"].items()} == {
        "chat": (0.75, 2),
        "math": (0.5, 2),
    }
    assert {name: row["value"] for name, row in found["by_basis"].items()} == {"judge": 0.75, "verifier": 0.5}
    assert found["pairs"] == 4
    assert (found["mean_score_chosen"], found["mean_score_rejected"]) == (1.5, 1.25)


def test_length_baselines_stand_beside_it() -> None:
    # Chosen is shorter, shorter, longer, equal.
    found = measure(ITEMS, [0.0] * 4, [0.0] * 4)
    assert found["baselines"]["shorter wins"]["value"] == 0.625
    assert found["baselines"]["longer wins"]["value"] == 0.375


def test_length_correlation_is_that_of_scores_and_tokens() -> None:
    lengths_as_scores = measure(ITEMS, [2.0, 3.0, 6.0, 4.0], [5.0, 5.0, 5.0, 4.0])
    assert lengths_as_scores["length_correlation"] == pytest.approx(1.0)
    assert measure(ITEMS, [0.0] * 4, [0.0] * 4)["length_correlation"] is None
    # Deviations (-1, 0, 1) and (1, -2, 1): 0 over 2 * sqrt(3); and (-1, 0, 1) with (-1, 1, 0): 1 over 2.
    assert correlation([0, 1, 2], [2, -1, 2]) == pytest.approx(0.0)
    assert correlation([0, 1, 2], [0, 2, 1]) == pytest.approx(0.5)


def test_nothing_held_out_is_nothing_measured() -> None:
    assert measure([], [], []) == {}
