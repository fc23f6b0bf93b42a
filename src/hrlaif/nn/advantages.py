"""From scores to rewards per token, advantages and returns."""

from __future__ import annotations

import torch

from hrlaif.errors import DataError


def token_rewards(
    scores_B: torch.Tensor,
    logprobs_BT: torch.Tensor,
    ref_logprobs_BT: torch.Tensor,
    is_response_BT: torch.Tensor,
    *,
    kl_weight: float,
) -> torch.Tensor:
    """Spread the KL penalty over every token and pay the score on the last one.

    `reward[b, t] = -kl_weight * (logprob - ref_logprob)[b, t]`, plus `scores_B[b]` at the last response token of
    row b; exactly 0 outside the response.

    Args:
        scores_B: Reward-model score of each whole response, any real number.
        logprobs_BT: Log-probability (nats) of each sampled token under the policy.
        ref_logprobs_BT: The same under the reference policy.
        is_response_BT: True on response tokens (EOS included), False elsewhere; a row's tokens come first.
        kl_weight: Reward taken per nat of divergence, >= 0.

    Raises:
        DataError: A row has no response token, so its score has nowhere to go.
    """
    length_B = is_response_BT.sum(dim=1)
    if bool((length_B == 0).any()):
        row = int((length_B == 0).nonzero()[0, 0])
        raise DataError(f"row {row} of the rollouts has no response token, so its score has nowhere to go.")
    rewards_BT = -kl_weight * (logprobs_BT - ref_logprobs_BT)
    rewards_BT = torch.where(is_response_BT, rewards_BT, torch.zeros_like(rewards_BT))
    rewards_BT[torch.arange(len(scores_B), device=rewards_BT.device), length_B - 1] += scores_B.to(rewards_BT)
    return rewards_BT


def gae(
    rewards_BT: torch.Tensor,
    values_BT: torch.Tensor,
    is_response_BT: torch.Tensor,
    *,
    discount: float,
    gae_lambda: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns, both 0 outside the response.

    `delta[t] = reward[t] + discount * value[t + 1] - value[t]`, with value 0 after the last response token;
    `advantage[t] = delta[t] + discount * gae_lambda * advantage[t + 1]`; `return = advantage + value`.
    `values_BT[b, t]` is the value before token t is drawn; `rewards_BT` is 0 outside the response, as `token_rewards`
    makes it. (Schulman et al., arXiv:1506.02438, equation 16.)
    """
    values_BT = torch.where(is_response_BT, values_BT, torch.zeros_like(values_BT))
    advantages_BT = torch.zeros_like(rewards_BT)
    next_value_B = torch.zeros_like(rewards_BT[:, 0])
    next_advantage_B = torch.zeros_like(rewards_BT[:, 0])
    for t in reversed(range(rewards_BT.shape[1])):
        delta_B = rewards_BT[:, t] + discount * next_value_B - values_BT[:, t]
        next_advantage_B = delta_B + discount * gae_lambda * next_advantage_B
        advantages_BT[:, t] = next_advantage_B
        next_value_B = values_BT[:, t]
    return advantages_BT, advantages_BT + values_BT


def leave_one_out(rewards_B: torch.Tensor, *, group: int) -> torch.Tensor:
    """`advantages_B = reward - mean of the other rewards of its group`; consecutive rows of `group` answer one prompt.

    The baseline does not depend on the response itself, so the gradient stays unbiased.
    (Ahmadian et al., arXiv:2402.14740, section 3.)
    """
    rewards_GK = rewards_B.view(-1, group)
    others_GK = (rewards_GK.sum(dim=1, keepdim=True) - rewards_GK) / (group - 1)
    return (rewards_GK - others_GK).view(-1)


def group_normalised(rewards_B: torch.Tensor, *, group: int, epsilon: float = 1e-4) -> torch.Tensor:
    """`advantages_B = (reward - mean) / (standard deviation + epsilon)` within its group, deviation over n - 1.

    A group of equal rewards gets 0. (Shao et al., arXiv:2402.03300, section 4.1.)
    """
    rewards_GK = rewards_B.view(-1, group)
    deviation_G1 = rewards_GK.std(dim=1, keepdim=True)
    return ((rewards_GK - rewards_GK.mean(dim=1, keepdim=True)) / (deviation_G1 + epsilon)).view(-1)
