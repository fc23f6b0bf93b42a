import math
import random

import pytest

from hrlaif.metrics import agreement, cohen_kappa, flip_rate
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
