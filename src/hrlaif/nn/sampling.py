"""Choosing the next token from logits with one uniform number per row."""

from __future__ import annotations

import torch


def next_tokens(
    logits_BV: torch.Tensor, uniform_B: torch.Tensor, *, temperature: float, top_p: float = 1.0
) -> torch.Tensor:
    """Draw one token per row by inverting its cumulative distribution at `uniform_B` (0 <= u < 1).

    A row's token depends on its own logits and its own number only, so not on what else is in the batch.
    `temperature` 0 takes the most likely token. `top_p` < 1 keeps the most likely tokens that together reach it.
    """
    if temperature == 0:
        return logits_BV.argmax(dim=-1)
    probs_BV = torch.softmax(logits_BV.float() / temperature, dim=-1)
    if top_p < 1:
        sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
        before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
        sorted_BV = sorted_BV.masked_fill(before_BV >= top_p, 0.0)
        chosen_B = _invert(sorted_BV, uniform_B)
        return order_BV.gather(1, chosen_B[:, None])[:, 0]
    return _invert(probs_BV, uniform_B)


def _invert(weights_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    # Single precision loses rare tokens at the end of a long sum.
    cumulative_BV = weights_BV.double().cumsum(dim=-1)
    target_B1 = (uniform_B.to(cumulative_BV) * cumulative_BV[:, -1])[:, None]
    index_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]
    # A target that rounds up to the total would point past the end: take the last token with any weight.
    last_B = weights_BV.shape[1] - 1 - (weights_BV.flip(-1) > 0).int().argmax(dim=-1)
    return torch.minimum(index_B, last_B)
