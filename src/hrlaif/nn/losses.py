"""The losses of the reward model and of PPO."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def preference_loss(
    chosen_B: torch.Tensor,
    rejected_B: torch.Tensor,
    probability_B: torch.Tensor,
    *,
    centring: float,
    margin_B: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Bradley-Terry with soft labels, and a pull of the scores towards 0; one number per pair.

    With `d = chosen - rejected - margin` and `p = probability`: `-(p log sigmoid(d) + (1 - p) log sigmoid(-d))`
    `+ centring * (chosen + rejected)**2`. The first part is smallest where the chosen score leads by `margin +
    log(p / (1 - p))`. (The margin: Touvron et al., arXiv:2307.09288, equation 2.)
    """
    lead_B = chosen_B - rejected_B - margin_B
    ranking_B = -(probability_B * logsigmoid(lead_B) + (1 - probability_B) * logsigmoid(-lead_B))
    return ranking_B + centring * (chosen_B + rejected_B) ** 2


def policy_loss(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor, *, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's clipped loss per token, and True where clipping took the gradient away.

    `ratio = exp(logprob - old_logprob)`; the loss is the larger of `-advantage * ratio` and
    `-advantage * clamp(ratio, 1 - clip, 1 + clip)`. (Schulman et al., arXiv:1707.06347, equation 7.)
    """
    ratio = torch.exp(logprobs - old_logprobs)
    free = -advantages * ratio
    held = -advantages * ratio.clamp(1 - clip, 1 + clip)
    return torch.maximum(free, held), held > free


def value_loss(values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, *, clip: float) -> torch.Tensor:
    """Half the squared error per token, the larger of the plain one and that with the value clipped around the old."""
    held = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (held - returns) ** 2)


def k3(logprobs: torch.Tensor, other_logprobs: torch.Tensor) -> torch.Tensor:
    """A low-variance, never negative estimate per token of KL(p || q) from tokens sampled from p.

    `exp(d) - 1 - d` with `d = other_logprob - logprob`, p being the distribution of `logprobs`. For logging only: as a
    loss its gradient is not that of the KL.
    """
    difference = other_logprobs - logprobs
    return torch.exp(difference) - 1 - difference
