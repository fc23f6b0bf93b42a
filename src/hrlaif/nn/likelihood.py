"""How likely a model finds given texts as its own turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hrlaif.nn.backbone import Backbone
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forward import hidden_states, predicting
from hrlaif.nn.logprobs import token_losses


@torch.no_grad()
def response_logprobs(backbone: Backbone, conversations: Sequence[Conversation]) -> list[float]:
    """`sum_t log p(token_t | prompt, tokens before)` (nats, temperature 1) of each conversation's response, one pass.

    The prompt that all conversations share runs once. Each response needs at least one token.
    """
    batch = backbone.batch(conversations)
    hidden_BTH = predicting(hidden_states(backbone.trunk, batch, drop_last=True), batch)
    losses_BT = hidden_BTH.new_zeros(batch.response_BT.shape, dtype=torch.float32)
    losses_BT[batch.is_response_BT] = token_losses(
        backbone.inner, hidden_BTH[batch.is_response_BT], batch.response_BT[batch.is_response_BT]
    )
    found: list[float] = (-losses_BT.double().sum(dim=1)).tolist()
    return found
