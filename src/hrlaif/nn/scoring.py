"""Scores of whole responses by a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hrlaif.nn.backbone import Backbone
from hrlaif.nn.batches import Batch, by_length
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forward import hidden_states, last_hidden


def batch_scores(backbone: Backbone, head: Any, batch: Batch) -> torch.Tensor:
    """`scores_B`, read at each row's last response token, in float32; differentiable."""
    hidden_BH = last_hidden(hidden_states(backbone.trunk, batch), batch)
    scores_B: torch.Tensor = head(hidden_BH.to(next(head.parameters()).dtype))[:, 0].float()
    return scores_B


@torch.no_grad()
def score_tokens(
    backbone: Backbone,
    head: Any,
    conversations: Sequence[Conversation],
    *,
    lower: Sequence[torch.Tensor] | None = None,
) -> list[float]:
    """Scores of rendered conversations under the backbone's active adapter, batched by length."""
    scores = [0.0] * len(conversations)
    lengths = [conversation.length for conversation in conversations]
    for group in by_length(lengths, max_tokens=4 * backbone.place.tokens_per_pass):
        members = [lower[index] for index in group] if lower is not None else None
        batch = backbone.batch([conversations[index] for index in group], members)
        for index, score in zip(group, batch_scores(backbone, head, batch).tolist(), strict=True):
            scores[index] = score
    return scores
