"""Two responses to one prompt as one row: the prompt runs once, and neither response sees the other.

A row is prompt, first response, second response. The second response's tokens take the positions right after the
prompt, and a mask hides the first response from them, so every hidden state is that of a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from hrlaif.nn.batches import common_opening
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forward import expand_cache


@dataclass(frozen=True, slots=True)
class Fork:
    """Two conversations with the same prompt tokens."""

    first: Conversation
    second: Conversation

    @property
    def length(self) -> int:
        """Tokens of the row."""
        return self.first.length + len(self.second.response)


@dataclass(frozen=True, slots=True)
class ForkBatch:
    """Forks side by side, padded right.

    Attributes:
        opening_T: Tokens that all prompts begin with; computed once per pass. May be empty.
        tokens_BT, position_BT: The rest of each row, and the position that each token takes in its conversation.
        visible_BTK: True where column t of a row may look at column k; the first columns are the opening's.
        first_end_B, second_end_B: The column of the last token of each response.
    """

    opening_T: torch.Tensor
    tokens_BT: torch.Tensor
    position_BT: torch.Tensor
    visible_BTK: torch.Tensor
    first_end_B: torch.Tensor
    second_end_B: torch.Tensor


def collate_forks(forks: Sequence[Fork], *, pad_id: int, device: torch.device, share_opening: bool = True) -> ForkBatch:
    """Lay forks out as one batch; each prompt and each response needs at least one token."""
    opening = common_opening([fork.first.prompt for fork in forks]) if share_opening else []
    past = len(opening)
    width = max(fork.length for fork in forks) - past
    tokens_BT = torch.full((len(forks), width), pad_id)
    position_BT = torch.zeros(len(forks), width, dtype=torch.long)
    # Which response a column belongs to: 0 the prompt's, 1 the first's, 2 the second's and padding.
    branch_BT = torch.full((len(forks), width), 2)
    first_ends, second_ends = [], []
    for row, fork in enumerate(forks):
        row_tokens = (*fork.first.prompt[past:], *fork.first.response, *fork.second.response)
        prompt_end = len(fork.first.prompt) - past
        first_end = prompt_end + len(fork.first.response)
        tokens_BT[row, : len(row_tokens)] = torch.tensor(row_tokens)
        position_BT[row, :first_end] = torch.arange(past, past + first_end)
        after_prompt = past + prompt_end
        position_BT[row, first_end : len(row_tokens)] = torch.arange(
            after_prompt, after_prompt + len(fork.second.response)
        )
        branch_BT[row, :prompt_end] = 0
        branch_BT[row, prompt_end:first_end] = 1
        first_ends.append(first_end - 1)
        second_ends.append(len(row_tokens) - 1)
    is_hidden_BTK = (branch_BT[:, :, None] == 2) & (branch_BT[:, None, :] == 1)
    visible_BTK = torch.ones(width, width, dtype=torch.bool).tril() & ~is_hidden_BTK
    return ForkBatch(
        opening_T=torch.tensor(opening, dtype=torch.long, device=device),
        tokens_BT=tokens_BT.to(device),
        position_BT=position_BT.to(device),
        visible_BTK=torch.cat([visible_BTK.new_ones(len(forks), width, past), visible_BTK], dim=2).to(device),
        first_end_B=torch.tensor(first_ends, device=device),
        second_end_B=torch.tensor(second_ends, device=device),
    )


def end_states(trunk: Any, batch: ForkBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """The hidden states `BH` at the last token of the first and of the second responses; differentiable."""
    cache = None
    if len(batch.opening_T):
        cache = DynamicCache(config=trunk.config)
        trunk(input_ids=batch.opening_T[None], past_key_values=cache, use_cache=True)
        expand_cache(cache, len(batch.tokens_BT))
    out = trunk(
        input_ids=batch.tokens_BT,
        attention_mask=batch.visible_BTK[:, None],
        position_ids=batch.position_BT,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    hidden_BTH = out.last_hidden_state
    row_B = torch.arange(len(hidden_BTH), device=hidden_BTH.device)
    return hidden_BTH[row_B, batch.first_end_B], hidden_BTH[row_B, batch.second_end_B]


@torch.no_grad()
def can_fork(trunk: Any) -> bool:
    """True where forked rows give what rows of their own give, tried on a few tokens.

    Not so where a layer reads its row in order (recurrences), counts positions by columns, or cannot take such a mask.
    """
    device = next(trunk.parameters()).device
    prompt, first, second = (0, 1, 2), (3, 4), (5, 6, 7)
    fork = Fork(Conversation(prompt, first), Conversation(prompt, second))
    try:
        forked = end_states(trunk, collate_forks([fork], pad_id=0, device=device))
        alone = [
            trunk(input_ids=torch.tensor([[*prompt, *response]], device=device)).last_hidden_state[:, -1]
            for response in (first, second)
        ]
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    return all(
        torch.allclose(mine_BH.float(), theirs_BH.float(), rtol=1e-2, atol=1e-2 * float(theirs_BH.abs().max()))
        for mine_BH, theirs_BH in zip(forked, alone, strict=True)
    )
