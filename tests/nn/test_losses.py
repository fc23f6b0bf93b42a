"""Tests of the losses, with numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hrlaif.nn.losses import k3, policy_loss, preference_loss, value_loss


def test_preference_loss_by_hand() -> None:
    chosen, rejected = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    loss = preference_loss(chosen, rejected, torch.tensor([1.0, 0.75]), centring=0.0)
    # d = 2: -log sigmoid(2) = 0.126928. d = -1, p = 0.75: 0.75 * 1.313262 + 0.25 * 0.313262 = 1.063262.
    torch.testing.assert_close(loss, torch.tensor([0.126928, 1.063262]), atol=1e-5, rtol=0)


def test_a_soft_label_is_satisfied_where_the_margin_is_its_log_odds() -> None:
    margin = torch.tensor([math.log(0.8 / 0.2)], requires_grad=True)
    preference_loss(margin, torch.zeros(1), torch.tensor([0.8]), centring=0.0).backward()
    assert margin.grad is not None
    assert margin.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_centring_pulls_both_scores_towards_zero_and_leaves_a_centred_pair_alone() -> None:
    scores = torch.tensor([3.0, 1.0])
    with_pull = preference_loss(scores, torch.tensor([1.0, -1.0]), torch.ones(2), centring=0.1)
    without = preference_loss(scores, torch.tensor([1.0, -1.0]), torch.ones(2), centring=0.0)
    # 0.1 * (3 + 1)**2 = 1.6 and 0.1 * (1 - 1)**2 = 0.
    torch.testing.assert_close(with_pull - without, torch.tensor([1.6, 0.0]))


def test_policy_loss_is_clipped_only_where_going_on_would_pay() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    loss, clipped = policy_loss(ratio.log(), torch.zeros(5), advantages, clip=0.2)
    # Good and already more likely: held at 1.2. Bad and more likely: the full 1.5 pulls back. And the other way round.
    torch.testing.assert_close(loss, torch.tensor([-1.2, 1.5, -0.5, 0.8, -2.2]))
    assert clipped.tolist() == [True, False, False, True, False]


def test_value_loss_takes_the_larger_of_the_plain_and_the_clipped_error() -> None:
    values, old, returns = torch.tensor([1.0, 1.0, 0.1]), torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0])
    loss = value_loss(values, old, returns, clip=0.2)
    # Held values 0.2, 0.2, 0.1. Errors: max(0, 0.64) / 2, max(1, 0.04) / 2, max(0.81, 0.81) / 2.
    torch.testing.assert_close(loss, torch.tensor([0.32, 0.5, 0.405]))


def test_k3_is_zero_for_equal_policies_never_negative_and_right_on_average() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.5, 0.3])
    per_token = k3(p.log(), q.log())
    assert bool((per_token >= 0).all())
    assert k3(p.log(), p.log()).tolist() == [0.0, 0.0, 0.0]
    # The mean over tokens drawn from p is KL(p || q) = 0.5 log 2.5 + 0.3 log 0.6 + 0.2 log 2/3 = 0.223805.
    assert float((p * per_token).sum()) == pytest.approx(0.223805, abs=1e-5)
