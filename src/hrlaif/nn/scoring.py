"""Scores of whole responses by a reward model."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch

from hrlaif.nn.backbone import Backbone
from hrlaif.nn.batches import Batch, by_length
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forks import Fork, collate_forks, end_states
from hrlaif.nn.forward import hidden_states, last_hidden, recomputed


def batch_scores(backbone: Backbone, head: Any, batch: Batch) -> torch.Tensor:
    """`scores_B`, read at each row's last response token, in float32; differentiable."""
    return _scores(head, last_hidden(hidden_states(backbone.trunk, batch), batch))


def _scores(head: Any, hidden_BH: torch.Tensor) -> torch.Tensor:
    scores_B: torch.Tensor = head(hidden_BH.to(next(head.parameters()).dtype))[:, 0].float()
    return scores_B


def fork_scores(backbone: Backbone, head: Any, forks: Sequence[Fork]) -> tuple[torch.Tensor, torch.Tensor]:
    """`scores_B` of the first and of the second responses; differentiable. The prompt runs once where that is exact."""
    if not backbone.forks:
        batch = backbone.batch([fork.first for fork in forks] + [fork.second for fork in forks])
        first_B, second_B = batch_scores(backbone, head, batch).chunk(2)
        return first_B, second_B
    recompute = backbone.recompute and torch.is_grad_enabled()
    layout = collate_forks(
        # A layer that runs twice would put the opening's keys into the cache twice.
        forks,
        pad_id=backbone.chat.pad_id,
        device=backbone.place.device,
        share_opening=not recompute,
    )
    with recomputed(backbone.trunk) if recompute else contextlib.nullcontext():
        first_BH, second_BH = end_states(backbone.trunk, layout)
    return _scores(head, first_BH), _scores(head, second_BH)


def fork_length(backbone: Backbone, fork: Fork) -> int:
    """Tokens that a pass runs for one fork."""
    return fork.length if backbone.forks else 2 * max(fork.first.length, fork.second.length)


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


@torch.no_grad()
def score_forks(backbone: Backbone, head: Any, forks: Sequence[Fork]) -> tuple[list[float], list[float]]:
    """Scores of the first and of the second responses, batched by length."""
    first, second = [0.0] * len(forks), [0.0] * len(forks)
    lengths = [fork_length(backbone, fork) for fork in forks]
    for group in by_length(lengths, max_tokens=4 * backbone.place.tokens_per_pass):
        first_B, second_B = fork_scores(backbone, head, [forks[index] for index in group])
        for index, one, other in zip(group, first_B.tolist(), second_B.tolist(), strict=True):
            first[index], second[index] = one, other
    return first, second
