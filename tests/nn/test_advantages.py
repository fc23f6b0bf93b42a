"""Tests of rewards per token, advantages and returns, with numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from hrlaif.errors import DataError
from hrlaif.nn.advantages import gae, group_normalised, leave_one_out, token_rewards

# Row 0 has three tokens, row 1 two and a padding column.
IS_RESPONSE = torch.tensor([[True, True, True], [True, True, False]])


def test_score_is_paid_on_the_last_response_token_and_padding_earns_nothing() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -9.0]])
    reference = torch.tensor([[-1.5, -2.0, -1.0], [-1.0, -3.0, -5.0]])
    rewards = token_rewards(torch.tensor([10.0, 20.0]), logprobs, reference, IS_RESPONSE, kl_weight=0.1)
    # Row 0: -0.1 * (0.5, 0, -2) and 10 on the last; row 1: -0.1 * (0, 2) and 20 on the second; padding 0.
    torch.testing.assert_close(rewards, torch.tensor([[-0.05, 0.0, 10.2], [0.0, 19.8, 0.0]]))


def test_padding_that_is_not_finite_does_not_reach_the_rewards() -> None:
    logprobs = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, -1.0, float("-inf")]])
    rewards = token_rewards(torch.zeros(2), logprobs, logprobs, IS_RESPONSE, kl_weight=0.1)
    assert rewards.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_a_row_without_a_response_token_is_an_error() -> None:
    empty = torch.tensor([[True, True], [False, False]])
    with pytest.raises(DataError, match=r"row 1 .* no response token"):
        token_rewards(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2), empty, kl_weight=0.1)


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0], [0.5, 2.0, 0.0]])
    values = torch.tensor([[0.5, 0.4, 0.2], [1.0, 0.5, 7.0]])
    advantages, returns = gae(rewards, values, IS_RESPONSE, discount=1.0, gae_lambda=0.5)
    # Row 0 deltas: 0.4 - 0.5 = -0.1, 0.2 - 0.4 = -0.2, 1 - 0.2 = 0.8;
    # advantages backwards: 0.8, -0.2 + 0.4 = 0.2, -0.1 + 0.1 = 0.
    # Row 1: the value 7 in the padding is not real; deltas 0.5 + 0.5 - 1 = 0, 2 - 0.5 = 1.5; advantages 1.5, 0.75.
    torch.testing.assert_close(advantages, torch.tensor([[0.0, 0.2, 0.8], [0.75, 1.5, 0.0]]))
    torch.testing.assert_close(returns, torch.tensor([[0.5, 0.6, 1.0], [1.75, 2.0, 0.0]]))


def test_lambda_one_makes_returns_the_discounted_sum_of_rewards_whatever_the_values() -> None:
    rewards = torch.tensor([[1.0, 0.0, 4.0], [1.0, 2.0, 0.0]])
    values = torch.tensor([[3.0, -1.0, 2.0], [0.3, 0.1, 0.0]])
    _, returns = gae(rewards, values, IS_RESPONSE, discount=0.5, gae_lambda=1.0)
    # Row 0: 1 + 0.5 * 0 + 0.25 * 4 = 2, then 2, then 4. Row 1: 1 + 0.5 * 2 = 2, then 2.
    torch.testing.assert_close(returns, torch.tensor([[2.0, 2.0, 4.0], [2.0, 2.0, 0.0]]))


def test_leave_one_out_compares_a_response_with_the_others_to_its_prompt() -> None:
    advantages = leave_one_out(torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]), group=3)
    # 1 - (2 + 6) / 2 = -3, 2 - 3.5 = -1.5, 6 - 1.5 = 4.5; the other prompt: 0 - 1.5, 0 - 1.5, 3 - 0.
    torch.testing.assert_close(advantages, torch.tensor([-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]))


def test_group_normalised_advantages_by_hand_and_equal_rewards_teach_nothing() -> None:
    advantages = group_normalised(torch.tensor([1.0, 3.0, 5.0, 2.0, 2.0, 2.0]), group=3, epsilon=0.0)
    # Mean 3, variance (4 + 0 + 4) / 2 = 4. The other group has no deviation: 0 / 0 without the epsilon.
    torch.testing.assert_close(advantages[:3], torch.tensor([-1.0, 0.0, 1.0]))
    # With deviation 2 and epsilon 2 the first becomes -2 / 4.
    wide = group_normalised(torch.tensor([1.0, 3.0, 5.0, 2.0, 2.0, 2.0]), group=3, epsilon=2.0)
    torch.testing.assert_close(wide, torch.tensor([-0.5, 0.0, 0.5, 0.0, 0.0, 0.0]))
