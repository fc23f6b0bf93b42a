"""Log-probabilities of tokens, and how open the choice among them was."""

from __future__ import annotations

import torch


def token_logprobs(
    logits_NV: torch.Tensor, tokens_N: torch.Tensor, *, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`log softmax(logits / temperature)` of each token, and that distribution's entropy; both in nats, shape N.

    The entropy carries no gradient: it is logged, not optimised.
    """
    scaled_NV = logits_NV if temperature == 1 else logits_NV / temperature
    logp_NV = torch.log_softmax(scaled_NV, dim=-1)
    with torch.no_grad():
        entropy_N = -(logp_NV.exp() * logp_NV).sum(dim=-1)
    return logp_NV.gather(-1, tokens_N[:, None])[:, 0], entropy_N
