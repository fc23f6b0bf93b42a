"""Tests of rank correlation, with numbers worked out by hand and against scipy."""

from __future__ import annotations

import math
import random

import pytest
import scipy.stats

from hrlaif.metrics import spearman


def test_only_the_order_counts() -> None:
    found = spearman([1, 2, 3, 4, 5], [1, 10, 100, 1000, 10000], name="r")
    assert found.value == pytest.approx(1.0)
    assert spearman([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], name="r").value == pytest.approx(-1.0)


def test_equal_values_share_their_ranks() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: deviations (-1.5, 0, 0, 1.5) and (-1.5, -0.5, 0.5, 1.5).
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4], name="r").value == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_it_is_scipys() -> None:
    draw = random.Random(0)
    one = [draw.randrange(8) for _ in range(60)]
    other = [value + draw.randrange(6) for value in one]
    assert spearman(one, other, name="r").value == pytest.approx(scipy.stats.spearmanr(one, other).statistic)


def test_the_interval_holds_the_true_value_19_times_in_20_and_narrows_with_the_rows() -> None:
    draw, held, narrow = random.Random(1), 0, 0.0
    # Ranks of normal values with correlation 0.5 correlate with 6 / pi * asin(0.5 / 2).
    true = 6 / math.pi * math.asin(0.25)
    for _ in range(400):
        one = [draw.gauss(0, 1) for _ in range(60)]
        found = spearman(one, [0.5 * x + math.sqrt(0.75) * draw.gauss(0, 1) for x in one], name="r")
        held += found.low <= true <= found.high
        narrow = found.high - found.low
    assert 0.92 <= held / 400 <= 0.98
    assert narrow < 0.5


def test_rows_that_are_not_independent_count_less() -> None:
    one, other = [1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4, 3, 6, 5, 8, 7]
    all_of_them, half = spearman(one, other, name="r"), spearman(one, other, name="r", n=4)
    assert (half.value, half.n) == (all_of_them.value, 4)
    assert half.low < all_of_them.low


def test_without_spread_or_with_too_few_rows_there_is_no_number() -> None:
    assert math.isnan(spearman([1, 1, 1, 1], [1, 2, 3, 4], name="r").value)
    assert math.isnan(spearman([1, 2, 3], [1, 2, 3], name="r").value)
    assert math.isnan(spearman([], [], name="r").value)
