"""Choosing the next token from logits with one uniform number per row."""

from __future__ import annotations

import torch


def next_tokens(
    logits_BV: torch.Tensor, uniform_B: torch.Tensor, *, temperature: float, top_p: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token per row by inverting its cumulative distribution at `uniform_B` (0 <= u < 1).

    A row's token depends on its own logits and its own number only, so not on what else is in the batch.
    `temperature` 0 takes the most likely token. `top_p` < 1 keeps the most likely tokens that together reach it.

    Returns:
        The tokens, and their log-probabilities in nats at this temperature (of greedy tokens at temperature 1) before
        `top_p` leaves any out.
    """
    scaled_BV = logits_BV if temperature in (0, 1) else logits_BV / temperature
    highest_B1 = scaled_BV.max(dim=-1, keepdim=True).values
    weights_BV = torch.exp(scaled_BV - highest_B1)
    # Single precision loses rare tokens at the end of a long sum.
    cumulative_BV = weights_BV.cumsum(dim=-1, dtype=torch.float64)
    log_total_B1 = cumulative_BV[:, -1:].log().to(highest_B1)
    if temperature == 0:
        tokens_B1 = scaled_BV.argmax(dim=-1, keepdim=True)
    elif top_p < 1:
        tokens_B1 = _within_top(weights_BV, uniform_B, top_p * cumulative_BV[:, -1:])
    else:
        tokens_B1 = _invert(cumulative_BV, uniform_B)
    logprobs_B1 = scaled_BV.gather(1, tokens_B1) - highest_B1 - log_total_B1
    return tokens_B1[:, 0], logprobs_B1[:, 0]


def _within_top(weights_BV: torch.Tensor, uniform_B: torch.Tensor, enough_B1: torch.Tensor) -> torch.Tensor:
    sorted_BV, order_BV = weights_BV.sort(dim=-1, descending=True, stable=True)
    cumulative_BV = sorted_BV.cumsum(dim=-1, dtype=torch.float64)
    kept_BV = sorted_BV.masked_fill(cumulative_BV - sorted_BV >= enough_B1, 0.0)
    return order_BV.gather(1, _invert(kept_BV.cumsum(dim=-1, dtype=torch.float64), uniform_B))


def _invert(cumulative_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """The first column whose cumulative weight is above `uniform * total`; never one without weight."""
    total_B1 = cumulative_BV[:, -1:]
    target_B1 = uniform_B.to(cumulative_BV)[:, None] * total_B1
    below_total_B1 = torch.nextafter(total_B1, torch.zeros_like(total_B1))
    return torch.searchsorted(cumulative_BV, torch.minimum(target_B1, below_total_B1), right=True)
