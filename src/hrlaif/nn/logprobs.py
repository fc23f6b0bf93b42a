"""Log-probabilities of tokens, and how open the choice among them was."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from hrlaif.nn.forward import logits

CHUNK = 1024


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


def token_losses(inner: Any, hidden_NH: torch.Tensor, tokens_N: torch.Tensor, *, chunk: int = CHUNK) -> torch.Tensor:
    """`losses_N = -log softmax(logits)` (nats) of the tokens that hidden states predict; differentiable.

    Logits are made for `chunk` tokens at a time, and made again for the gradient: of a large vocabulary they are large.
    """

    def losses_of(hidden_CH: torch.Tensor, tokens_C: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits(inner, hidden_CH), tokens_C, reduction="none")

    parts = list(zip(torch.split(hidden_NH, chunk), torch.split(tokens_N, chunk), strict=True))
    if len(parts) == 1 or not torch.is_grad_enabled():
        return torch.cat([losses_of(*part) for part in parts])
    return torch.cat([checkpoint(losses_of, *part, use_reentrant=False) for part in parts])
