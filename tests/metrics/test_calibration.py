"""Tests of calibration, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from hrlaif.metrics.calibration import brier, curve, expected_calibration_error, log_loss


def test_choices_fall_into_bins_of_confidence_whichever_side_they_prefer() -> None:
    # Confidences 0.75, 0.75 (for the second), 0.95, 1: right, right, wrong, right.
    found = curve([0.75, 0.25, 0.95, 1.0], [1, 0, 0, 1])
    assert [(one.low, one.high, one.observed.n) for one in found] == [
        (pytest.approx(0.7), pytest.approx(0.8), 2),
        (pytest.approx(0.9), pytest.approx(1.0), 2),
    ]
    assert [one.predicted for one in found] == pytest.approx([0.75, 0.975])
    assert [one.observed.value for one in found] == [1.0, 0.5]
    assert found[1].observed.low < 0.5 < found[1].observed.high
    # Two choices a quarter off, two 0.475 off.
    assert expected_calibration_error(found) == pytest.approx((2 * 0.25 + 2 * 0.475) / 4)


def test_soft_labels_count_by_their_probability() -> None:
    (only,) = curve([0.71, 0.72], [0.71, 0.72])
    assert only.observed.value == pytest.approx(only.predicted)


def test_a_choice_without_a_preference_is_right_half_of_the_time() -> None:
    (only,) = curve([0.5, 0.5], [1, 1])
    assert (only.predicted, only.observed.value) == (0.5, 0.5)


def test_losses_of_a_coin_and_of_certainty() -> None:
    assert log_loss([0.5, 0.5], [1, 0]) == pytest.approx(math.log(2))
    assert brier([0.5, 0.5], [1, 0.3]) == pytest.approx(0.25)
    assert (log_loss([1.0, 0.0], [1, 0]), brier([1.0, 0.0], [1, 0])) == (0.0, 0.0)
    assert math.isfinite(log_loss([1.0], [0]))
