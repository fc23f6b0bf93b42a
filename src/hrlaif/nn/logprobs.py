"""Log-probabilities of tokens."""

from __future__ import annotations

import torch


def token_logprobs(logits_NV: torch.Tensor, tokens_N: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """`log softmax(logits / temperature)[token]` in nats, for any leading shape."""
    scaled_NV = logits_NV / temperature
    chosen_N = scaled_NV.gather(-1, tokens_N[..., None])[..., 0]
    return chosen_N - torch.logsumexp(scaled_NV, dim=-1)


def entropy(logits_NV: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Entropy of `softmax(logits / temperature)` in nats, for any leading shape."""
    logp_NV = torch.log_softmax(logits_NV / temperature, dim=-1)
    return -(logp_NV.exp() * logp_NV).sum(dim=-1)
