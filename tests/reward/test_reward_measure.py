"""Tests of the measures on held-out pairs, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from hrlaif.nn.chat import Conversation
from hrlaif.reward.data import TokenPair
from hrlaif.reward.measure import measure
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


def test_length_correlation_over_all_responses_and_within_pairs() -> None:
    # Scores are the lengths themselves.
    found = measure(ITEMS, [2.0, 3.0, 6.0, 4.0], [5.0, 5.0, 5.0, 4.0])["length_correlation"]
    assert {name: (row["value"], row["n"]) for name, row in found.items()} == {
        "overall": (pytest.approx(1.0), 4),
        "within pairs": (pytest.approx(1.0), 4),
    }
    # Longer by -3, -2, 1, 0 and leads of -1, 1, 2, 0; both ways round the ranks of the lengths are (of 8)
    # 1, 2, 6, 4.5, 8, 7, 3, 4.5 and those of the leads 2.5, 6.5, 8, 4.5, 6.5, 2.5, 1, 4.5. Around the mean of 4.5:
    # (-3.5, -2.5, 1.5, 0) with (-2, 2, 3.5, 0), twice: 2 * 7.25 / sqrt(2 * 20.75 * 2 * 20.25).
    found = measure(ITEMS, [0.0, 2.0, 3.0, 0.0], [1.0, 1.0, 1.0, 0.0])["length_correlation"]
    assert found["within pairs"]["value"] == pytest.approx(7.25 / (20.75 * 20.25) ** 0.5)


def test_which_side_was_chosen_does_not_change_the_correlation_within_pairs() -> None:
    turned = [TokenPair(one.pair, one.rejected, one.chosen) if place % 2 else one for place, one in enumerate(ITEMS)]
    chosen, rejected = [0.0, 2.0, 3.0, 0.0], [1.0, 1.0, 1.0, 0.5]
    turned_chosen = [rejected[place] if place % 2 else chosen[place] for place in range(4)]
    turned_rejected = [chosen[place] if place % 2 else rejected[place] for place in range(4)]
    one = measure(ITEMS, chosen, rejected)["length_correlation"]
    assert measure(turned, turned_chosen, turned_rejected)["length_correlation"] == one


def test_equal_scores_have_no_correlation() -> None:
    assert measure(ITEMS, [0.0] * 4, [0.0] * 4)["length_correlation"] == {}


def test_calibration_reads_the_scores_as_probabilities_and_holds_them_to_the_soft_labels() -> None:
    # sigmoid(log 4) = 0.8 where all labels are 0.9; Brier: 0.9 * 0.04 + 0.1 * 0.64.
    found = measure(ITEMS, [math.log(4)] * 4, [0.0] * 4)["calibration"]
    assert found["log_loss"] == pytest.approx(0.9 * math.log(1 / 0.8) + 0.1 * math.log(1 / 0.2))
    assert found["brier"] == pytest.approx(0.1)
    assert found["label_brier"] == pytest.approx(0.9 * 0.01 + 0.1 * 0.81)
    assert found["expected_error"] == pytest.approx(0.1)
    (only,) = found["curve"]
    assert (only["predicted"], only["observed"]["value"]) == (pytest.approx(0.8), pytest.approx(0.9))


def test_nothing_held_out_is_nothing_measured() -> None:
    assert measure([], [], []) == {}
