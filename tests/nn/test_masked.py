"""Tests of means over the entries that count."""

from __future__ import annotations

import pytest
import torch

from hrlaif.errors import DataError
from hrlaif.nn.masked import explained_variance, masked_mean, whiten

X = torch.tensor([[1.0, 3.0, 100.0], [5.0, float("nan"), float("inf")]])
COUNTS = torch.tensor([[True, True, False], [True, False, False]])


def test_mean_takes_only_what_counts_even_beside_numbers_that_are_not_finite() -> None:
    assert float(masked_mean(X, COUNTS)) == 3.0


def test_a_mean_over_nothing_is_an_error() -> None:
    with pytest.raises(DataError, match="no tokens"):
        masked_mean(X, torch.zeros_like(COUNTS))


def test_whitening_gives_mean_zero_and_variance_one_and_zero_outside() -> None:
    # Mean 3, variance (4 + 0 + 4) / 3 = 8 / 3, so 1 becomes -2 / sqrt(8 / 3) = -1.224745.
    expected = torch.tensor([[-1.224745, 0.0, 0.0], [1.224745, 0.0, 0.0]])
    torch.testing.assert_close(whiten(X, COUNTS), expected)


def test_explained_variance_by_hand() -> None:
    actual, counts = torch.tensor([0.0, 2.0, 9.0]), torch.tensor([True, True, False])
    assert explained_variance(actual, actual, counts) == 1.0
    # A constant explains nothing; half the distance leaves a quarter of the variance.
    assert explained_variance(torch.tensor([5.0, 5.0, 0.0]), actual, counts) == 0.0
    assert explained_variance(torch.tensor([0.5, 1.5, 0.0]), actual, counts) == pytest.approx(0.75)
    assert explained_variance(actual, torch.ones(3), counts) == 0.0
