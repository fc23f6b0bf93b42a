import math
import random

import pytest

from hrlaif.metrics import agreement, cohen_kappa, flip_rate, krippendorff_alpha
from hrlaif.types import Verdict

FIRST, SECOND, TIE, UNREADABLE = Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.UNREADABLE


def test_kappa_of_the_textbook_table_by_hand() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: seen 0.7, chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4.
    rows = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    kappa = cohen_kappa(rows)
    assert kappa.value == pytest.approx(0.4)
    seen = agreement(rows)
    assert (seen.value, seen.n) == (0.7, 50)
    assert kappa.low == pytest.approx(2 * seen.low - 1)
    assert kappa.high == pytest.approx(2 * seen.high - 1)


def test_kappa_is_zero_for_independent_raters_and_has_no_number_for_constant_ones() -> None:
    independent = [(a, b) for a in "yn" for b in "yyyn"]
    assert cohen_kappa(independent).value == pytest.approx(0.0)
    assert math.isnan(cohen_kappa([("y", "y")] * 5).value)
    assert math.isnan(cohen_kappa([]).value)


def test_raters_with_no_value_in_common_are_below_chance_or_at_it() -> None:
    assert cohen_kappa([("y", "n"), ("n", "y")]).value == pytest.approx(-1.0)
    assert cohen_kappa([("y", "n"), ("y", "n")]).value == pytest.approx(0.0)


def test_a_flip_is_a_verdict_that_does_not_move_with_its_response() -> None:
    orders = [
        (FIRST, SECOND),  # the same response both times
        (FIRST, FIRST),  # the same place both times
        (SECOND, SECOND),
        (TIE, TIE),
        (TIE, FIRST),
        (UNREADABLE, FIRST),  # not counted
        (SECOND, UNREADABLE),
    ]
    rate = flip_rate(orders)
    assert (rate.value, rate.n) == (3 / 5, 5)


def test_kappa_covers_the_true_kappa_about_95_times_of_100() -> None:
    # The second rater repeats the first with probability 0.6, else draws anew: kappa = 0.6 for any shares.
    draw = random.Random(11)
    covered = 0
    for _ in range(600):
        rows = []
        for _ in range(80):
            one = draw.choices("abc", (5, 3, 2))[0]
            rows.append((one, one if draw.random() < 0.6 else draw.choices("abc", (5, 3, 2))[0]))
        kappa = cohen_kappa(rows)
        covered += kappa.low <= 0.6 <= kappa.high
    assert 0.92 * 600 <= covered <= 0.98 * 600


def units(*raters: str) -> list[list[str]]:
    """One row of ratings per rater, "." where there is none, as the things they rated."""
    return [[value for value in unit if value != "."] for unit in zip(*(row.split() for row in raters), strict=True)]


def test_alpha_of_the_published_examples() -> None:
    # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): part A, two raters and two values: 0.095.
    two = krippendorff_alpha(units("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"))
    assert two.value == pytest.approx(0.095, abs=5e-4)
    # Part C, four raters, five values, missing ratings, one thing that a single rater saw: 0.743.
    four = krippendorff_alpha(
        units(
            "1 2 3 3 2 1 4 1 2 . . .",
            "1 2 3 3 2 2 4 1 2 5 . 3",
            ". 3 3 3 2 3 4 2 2 5 1 .",
            "1 2 3 3 2 4 4 1 2 5 1 .",
        )
    )
    assert four.value == pytest.approx(0.743, abs=5e-4)
    assert four.n == 11
    assert four.low < 0.743 < four.high


def test_alpha_is_one_for_raters_who_agree_and_has_no_number_where_nothing_varies() -> None:
    assert krippendorff_alpha([("a", "a"), ("b", "b"), ("a", "a")]).value == 1.0
    # Two raters who never agree on two values: seen 1, expected 2 * 2 * 2 / (4 * 3) = 2/3, alpha 1 - 3/2.
    assert krippendorff_alpha([("a", "b"), ("b", "a")]).value == pytest.approx(-0.5)
    assert math.isnan(krippendorff_alpha([("a", "a"), ("a", "a")]).value)
    assert math.isnan(krippendorff_alpha([("a", "b"), ("a",)]).value)
    assert math.isnan(krippendorff_alpha([]).value)
