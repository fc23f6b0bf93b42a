"""Tests of the optimiser step and the learning rates."""

from __future__ import annotations

import pytest
import torch

from hrlaif.errors import ModelError
from hrlaif.nn.optimise import decayed, falling, optimiser, step, warmed_up


def test_gradients_are_clipped_to_the_norm_and_the_norm_before_is_returned() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    plain = torch.optim.SGD([weight], lr=0.0)
    assert step(plain, learning_rate=1.0, max_grad_norm=1.0, where="x") == pytest.approx(5.0)
    # The clipped gradient is (0.6, 0.8), and one step at rate 1 goes against it.
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]))
    assert weight.grad is None


def test_a_gradient_that_is_not_finite_stops_training_and_leaves_the_weights_alone() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([float("nan"), 1.0])
    with pytest.raises(ModelError, match=r"PPO, step 3.*diverged.*learning_rate"):
        step(optimiser([weight], learning_rate=0.1), learning_rate=0.1, max_grad_norm=1.0, where="PPO, step 3")
    assert weight.tolist() == [1.0, 1.0]


def test_learning_rate_rises_in_equal_parts_and_then_stays() -> None:
    assert [warmed_up(1.0, index, 3) for index in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warmed_up(1.0, 0, 0) == 1.0


def test_a_falling_rate_starts_in_full_and_never_reaches_zero() -> None:
    assert [falling(1.0, index, 4) for index in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_decay_warms_up_over_a_tenth_and_falls_towards_zero() -> None:
    rates = [decayed(1.0, index, 10) for index in range(10)]
    # One step of warm-up at a half, then (10 - i) / 9.
    assert rates == pytest.approx([0.5, *[(10 - index) / 9 for index in range(1, 10)]])
