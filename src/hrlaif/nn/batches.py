"""Prompts and responses as tensors: the common opening once, prompts padded left, responses padded right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hrlaif.nn.chat import Conversation

# Below this many common tokens a pass of their own costs more than it saves.
MIN_OPENING = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Conversations side by side.

    Attributes:
        opening_T: Tokens that all prompts begin with (a system turn, say); computed once per pass. May be empty.
        tokens_BT: The rest of each prompt, padded left, then its response, padded right.
        is_real_BT: True on tokens, False on padding.
        prompt_width: Columns of `tokens_BT` that hold prompts; responses begin there in every row.
        response_BT: The response columns of `tokens_BT`.
        is_response_BT: True on response tokens, columns as in `response_BT`.
        opening_TH, lower_BTH: What the first `first_layer` layers make of `opening_T` and `tokens_BT`; None where all
            layers are to run.
    """

    opening_T: torch.Tensor
    tokens_BT: torch.Tensor
    is_real_BT: torch.Tensor
    prompt_width: int
    response_BT: torch.Tensor
    is_response_BT: torch.Tensor
    opening_TH: torch.Tensor | None = None
    lower_BTH: torch.Tensor | None = None
    first_layer: int = 0
    recompute: bool = False


def collate(
    conversations: Sequence[Conversation],
    *,
    pad_id: int,
    device: torch.device,
    share_opening: bool = True,
    lower: Sequence[torch.Tensor] | None = None,
    first_layer: int = 0,
    recompute: bool = False,
) -> Batch:
    """Lay conversations out as one batch; each needs at least one prompt and one response token.

    `lower` holds the output `TH` of the layers below `first_layer` for each conversation; what is longer than the
    conversation is not used.
    """
    prompts = [conversation.prompt for conversation in conversations]
    opening = common_opening(prompts) if share_opening else []
    prompt_width = max(len(prompt) for prompt in prompts) - len(opening)
    width = prompt_width + max(len(conversation.response) for conversation in conversations)
    tokens_BT = torch.full((len(conversations), width), pad_id)
    is_real_BT = torch.zeros(len(conversations), width, dtype=torch.bool)
    lower_BTH = lower[0].new_zeros(len(conversations), width, lower[0].shape[1]) if lower else None
    for row, conversation in enumerate(conversations):
        rest = (*conversation.prompt[len(opening) :], *conversation.response)
        first = prompt_width - (len(conversation.prompt) - len(opening))
        tokens_BT[row, first : first + len(rest)] = torch.tensor(rest)
        is_real_BT[row, first : first + len(rest)] = True
        if lower and lower_BTH is not None:
            lower_BTH[row, first : first + len(rest)] = lower[row][len(opening) : len(opening) + len(rest)]
    tokens_BT, is_real_BT = tokens_BT.to(device), is_real_BT.to(device)
    return Batch(
        opening_T=torch.tensor(opening, dtype=torch.long, device=device),
        tokens_BT=tokens_BT,
        is_real_BT=is_real_BT,
        prompt_width=prompt_width,
        response_BT=tokens_BT[:, prompt_width:],
        is_response_BT=is_real_BT[:, prompt_width:],
        opening_TH=lower[0][: len(opening)] if lower else None,
        lower_BTH=lower_BTH,
        first_layer=first_layer,
        recompute=recompute,
    )


def common_opening(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts begin with, leaving every prompt at least one token; empty if not worth a pass."""
    if len(prompts) < 2:
        return []
    first, last = min(map(list, prompts)), max(map(list, prompts))
    limit = min(len(prompt) for prompt in prompts) - 1
    shared = 0
    while shared < limit and first[shared] == last[shared]:
        shared += 1
    return list(first[:shared]) if shared >= MIN_OPENING else []


def by_length(lengths: Sequence[int], *, max_tokens: int, max_rows: int | None = None) -> list[list[int]]:
    """Indices in groups of similar length, longest first; rows times the longest length stays within `max_tokens`.

    Longest first, so that a batch that does not fit into memory fails at once and not at the end.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    groups: list[list[int]] = []
    for index in order:
        group = groups[-1] if groups else []
        full = max_rows is not None and len(group) >= max_rows
        if group and not full and (len(group) + 1) * lengths[group[0]] <= max_tokens:
            group.append(index)
        else:
            groups.append([index])
    return groups
