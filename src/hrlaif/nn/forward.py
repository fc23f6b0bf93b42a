"""Hidden states, logits and scores of whole conversations, without computing anything twice or for nothing."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from hrlaif.nn.batches import Batch


def hidden_states(trunk: Any, batch: Batch, *, drop_last: bool = False) -> torch.Tensor:
    """Final hidden states `hidden_BTH` of `batch.tokens_BT`'s columns.

    The opening runs once and its keys and values are shared by all rows (gradients add up over them). `drop_last`
    leaves out the last column, which predicts nothing.
    """
    width = batch.tokens_BT.shape[1] - int(drop_last)
    tokens_BT, is_real_BT = batch.tokens_BT[:, :width], batch.is_real_BT[:, :width]
    opening = len(batch.opening_T)
    positions_BT = (is_real_BT.long().cumsum(dim=1) - 1).clamp(min=0) + opening
    past = None
    if opening:
        past = expand_cache(run_opening(trunk, batch.opening_T), len(tokens_BT))
        is_real_BT = torch.cat([is_real_BT.new_ones(len(tokens_BT), opening), is_real_BT], dim=1)
    out = trunk(
        input_ids=tokens_BT,
        attention_mask=None if bool(is_real_BT.all()) else is_real_BT.long(),
        position_ids=positions_BT,
        past_key_values=past,
        use_cache=past is not None,
    )
    hidden_BTH: torch.Tensor = out.last_hidden_state
    return hidden_BTH


def run_opening(trunk: Any, opening_T: torch.Tensor) -> DynamicCache:
    """Keys and values of one sequence of tokens."""
    cache = DynamicCache(config=trunk.config)
    trunk(input_ids=opening_T[None], past_key_values=cache, use_cache=True)
    return cache


def expand_cache(cache: DynamicCache, rows: int) -> DynamicCache:
    """The keys and values of one sequence shared by `rows` sequences (views: nothing is copied)."""
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return cache


def predicting(hidden_BTH: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The hidden states that predict each response token: those one column before it."""
    first = batch.prompt_width - 1
    return hidden_BTH[:, first : first + batch.is_response_BT.shape[1]]


def last_hidden(hidden_BTH: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The hidden state at each row's last response token, where a reward model reads its score: `hidden_BH`."""
    last_B = batch.prompt_width + batch.is_response_BT.sum(dim=1) - 1
    return hidden_BTH[torch.arange(len(last_B), device=hidden_BTH.device), last_B]


def logits(inner: Any, hidden: torch.Tensor) -> torch.Tensor:
    """What the model's head makes of hidden states, in float32, with the scalings some architectures apply."""
    config = inner.config.get_text_config()
    out: torch.Tensor = inner.get_output_embeddings()(hidden).float()
    if scale := getattr(config, "logit_scale", None):
        out = out * scale
    if divisor := getattr(config, "logits_scaling", None):
        out = out / divisor
    if cap := getattr(config, "final_logit_softcapping", None):
        out = torch.tanh(out / cap) * cap
    return out
