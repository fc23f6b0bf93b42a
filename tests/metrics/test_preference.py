import math
import random

import numpy as np
import pytest
from scipy.optimize import minimize

from hrlaif.metrics import length_controlled_win_ratio, win_ratio
from hrlaif.types import Verdict

WIN, LOSS, TIE, UNREADABLE = Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.UNREADABLE


def test_ties_are_half_a_win_and_unreadable_rows_are_not_counted() -> None:
    ratio = win_ratio([WIN] * 5 + [TIE] * 4 + [LOSS] * 1 + [UNREADABLE] * 7)
    assert (ratio.value, ratio.n) == (pytest.approx(0.7), 10)
    # Wins minus losses 4 of 10: centre 4/12, reach 1.959964 sqrt(7 - 16/12) / 12 = 0.388804; halved, from 0.5.
    assert ratio.low == pytest.approx(0.5 + (4 / 12 - 0.388804) / 2, abs=1e-6)
    assert ratio.high == pytest.approx(0.5 + (4 / 12 + 0.388804) / 2, abs=1e-6)


def test_all_ties_are_no_preference_with_a_width_and_no_verdicts_no_number() -> None:
    even = win_ratio([TIE] * 20)
    assert even.low < even.value == 0.5 < even.high
    assert math.isnan(win_ratio([UNREADABLE]).value)


def test_ties_make_the_ratio_more_certain_than_the_same_ratio_from_wins_and_losses() -> None:
    tied, split = win_ratio([TIE] * 50), win_ratio([WIN, LOSS] * 25)
    assert tied.high - tied.low < 0.25 * (split.high - split.low)


def _loss(parameters: np.ndarray, targets: np.ndarray, x: np.ndarray) -> float:
    z = parameters[0] + parameters[1] * x
    return float(np.sum(np.logaddexp(0, z) - targets * z) + 0.01 * parameters[1] ** 2 / 2)


@pytest.mark.parametrize("seed", range(6))
def test_the_fit_is_the_minimum_that_scipy_finds(seed: int) -> None:
    draw = random.Random(seed)
    verdicts = draw.choices([WIN, LOSS, TIE], (6, 3, 2), k=60)
    lengths = [draw.gauss(30 if verdict is WIN else -10, 40) for verdict in verdicts]
    scale = math.sqrt(sum(d * d for d in lengths) / 60)
    x = np.tanh(np.array([*lengths, 0.0]) / scale)
    targets = np.array([{WIN: 1.0, LOSS: 0.0, TIE: 0.5}[verdict] for verdict in verdicts] + [0.5])
    best = minimize(_loss, np.zeros(2), args=(targets, x), tol=1e-12).x
    p = 1 / (1 + np.exp(-best[0] - best[1] * x))
    design = np.stack([np.ones_like(x), x], axis=1)
    weights = p * (1 - p)
    covariance = np.linalg.inv((design * weights[:, None]).T @ design + np.diag([0.0, 0.01]))
    dispersion = (np.sum((p - targets) ** 2) + 0.25) / (np.sum(weights) + 0.25)
    error = math.sqrt(dispersion * covariance[0, 0])
    ratio = length_controlled_win_ratio(verdicts, lengths)
    assert ratio.value == pytest.approx(1 / (1 + math.exp(-best[0])), abs=1e-5)
    assert ratio.high == pytest.approx(1 / (1 + math.exp(-best[0] - 1.959964 * error)), abs=1e-4)


def test_wins_by_length_alone_are_taken_away() -> None:
    # The longer response always wins, and the arm is longer in 8 of 10 rows.
    verdicts, lengths = [WIN] * 80 + [LOSS] * 20, [50.0] * 80 + [-50.0] * 20
    assert win_ratio(verdicts).value == 0.8
    controlled = length_controlled_win_ratio(verdicts, lengths)
    assert controlled.value == pytest.approx(0.5, abs=0.06)
    assert controlled.low < 0.2
    assert controlled.high > 0.8


def test_a_length_difference_that_never_varies_leaves_nothing_to_conclude() -> None:
    controlled = length_controlled_win_ratio([WIN, WIN, WIN, LOSS] * 25, [30.0] * 100)
    assert controlled.low < 0.2
    assert controlled.high > 0.8


def test_all_ties_give_the_same_width_as_the_plain_ratio() -> None:
    plain, controlled = win_ratio([TIE] * 98), length_controlled_win_ratio([TIE] * 98, [0.0] * 98)
    assert controlled.value == 0.5
    assert controlled.high - 0.5 == pytest.approx(plain.high - 0.5, rel=0.05)


def test_wins_that_have_nothing_to_do_with_length_stay() -> None:
    verdicts, lengths = [WIN, WIN, WIN, LOSS] * 25, ([10.0] * 4 + [-10.0] * 4) * 12 + [10.0] * 4
    controlled = length_controlled_win_ratio(verdicts, lengths)
    assert controlled.value == pytest.approx(0.75, abs=0.01)
    assert controlled.low > 0.6


def test_equal_lengths_and_one_sided_wins_stay_finite() -> None:
    controlled = length_controlled_win_ratio([WIN] * 10, [0.0] * 10)
    # sigmoid(a) solves 10 (p - 1) + (p - 0.5) = 0.
    assert controlled.value == pytest.approx(10.5 / 11)
    assert controlled.low < controlled.value < controlled.high < 1
    extreme = length_controlled_win_ratio([WIN] * 500, [float(d) for d in range(1, 501)])
    assert 0.8 < extreme.low < extreme.value < extreme.high < 1
    assert math.isnan(length_controlled_win_ratio([WIN, UNREADABLE], [1.0, 2.0]).value)


@pytest.mark.parametrize("tied", [0.0, 0.6])
def test_length_controlled_interval_covers_the_truth_about_95_times_of_100(tied: float) -> None:
    draw = random.Random(2)
    covered = 0
    for _ in range(400):
        lengths = [draw.gauss(20, 30) for _ in range(80)]
        scale = math.sqrt(sum(d * d for d in lengths) / 80)
        # A share of rows is tied whatever the lengths; the others follow the model of wins without ties.
        wins = [(1 - tied) / (1 + math.exp(-0.4 - math.tanh(d / scale))) for d in lengths]
        verdicts = [draw.choices([WIN, TIE, LOSS], (win, tied, 1 - tied - win))[0] for win in wins]
        ratio = length_controlled_win_ratio(verdicts, lengths)
        truth = tied / 2 + (1 - tied) / (1 + math.exp(-0.4))
        covered += ratio.low <= truth <= ratio.high
    assert 0.92 * 400 <= covered <= 0.985 * 400
