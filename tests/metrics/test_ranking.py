import math
import random

import pytest

from hrlaif.metrics import bradley_terry, preferred

Comparison = tuple[int, int, float]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_one_comparison_under_a_weak_prior_keeps_its_probability() -> None:
    strengths = bradley_terry([(0, 1, 0.8)], 2, prior_sd=1e4)
    assert preferred(strengths, 0, 1) == pytest.approx(0.8, abs=1e-6)
    # log(0.8 / 0.2) = log 4 between the two, half of it on each side of 0.
    assert strengths == pytest.approx([math.log(4) / 2, -math.log(4) / 2], abs=1e-5)


def test_the_prior_pulls_to_where_the_slopes_balance() -> None:
    # By symmetry s = (x, -x), and the slope p - sigmoid(2 x) = x / prior_sd^2 vanishes: for x = 0.5 and prior_sd = 1,
    # p = 0.5 + sigmoid(1) = 1.231 is too much; for prior_sd = 2, p = 0.125 + 0.731059 = 0.856059.
    strengths = bradley_terry([(0, 1, 0.125 + sigmoid(1))], 2, prior_sd=2)
    assert strengths == pytest.approx([0.5, -0.5])


def test_along_a_chain_log_odds_add_up_to_those_of_the_pair_that_was_not_compared() -> None:
    strengths = bradley_terry([(0, 1, 0.8), (1, 2, 0.6)], 3, prior_sd=1e4)
    # log 4 + log 1.5 = log 6, so 6/7.
    assert preferred(strengths, 0, 2) == pytest.approx(6 / 7, abs=1e-6)


def test_a_contradiction_goes_round_in_equal_strengths() -> None:
    assert bradley_terry([(0, 1, 0.9), (1, 2, 0.9), (2, 0, 0.9)], 3) == pytest.approx([0, 0, 0], abs=1e-9)


def test_the_same_pair_twice_is_its_mean() -> None:
    once = bradley_terry([(0, 1, 0.7)] * 2, 2)
    assert bradley_terry([(0, 1, 0.9), (1, 0, 0.5)], 2) == pytest.approx(once)


def test_unbeaten_and_uncompared_items_stay_finite_and_the_strengths_sum_to_0() -> None:
    strengths = bradley_terry([(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0)], 5, prior_sd=3)
    assert strengths[0] > strengths[1] > strengths[2]
    assert strengths[3:] == pytest.approx([0, 0], abs=1e-9)
    assert sum(strengths) == pytest.approx(0, abs=1e-9)
    assert max(map(abs, strengths)) < 6


def test_nothing_compared_is_no_strength_at_all() -> None:
    assert bradley_terry([], 3) == [0, 0, 0]
    assert bradley_terry([], 0) == []


@pytest.mark.parametrize(
    ("n", "count", "prior_sd"), [(2, 1, 3.0), (4, 3, 0.5), (4, 6, 3.0), (8, 40, 3.0), (16, 24, 9.0)]
)
def test_the_strengths_are_those_that_a_general_optimiser_finds(n: int, count: int, prior_sd: float) -> None:
    numpy, optimize = pytest.importorskip("numpy"), pytest.importorskip("scipy.optimize")
    draw = random.Random(f"{n}/{count}")
    comparisons: list[Comparison] = [
        (*draw.sample(range(n), 2), draw.choice([0.0, 1.0, draw.random()])) for _ in range(count)
    ]

    def loss(s: list[float]) -> float:
        total = sum(x * x for x in s) / (2 * prior_sd**2)
        for i, j, p in comparisons:
            d = s[i] - s[j]
            total += p * numpy.logaddexp(0, -d) + (1 - p) * numpy.logaddexp(0, d)
        return float(total)

    found = optimize.minimize(loss, numpy.zeros(n), method="BFGS", options={"gtol": 1e-8})
    assert bradley_terry(comparisons, n, prior_sd=prior_sd) == pytest.approx(list(found.x), abs=1e-4)
