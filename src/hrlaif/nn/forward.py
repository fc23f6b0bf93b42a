"""Hidden states and logits of whole conversations, without computing anything twice or for nothing."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache

from hrlaif.nn.batches import Batch


def hidden_states(trunk: Any, batch: Batch, *, drop_last: bool = False) -> torch.Tensor:
    """Final hidden states `hidden_BTH` of `batch.tokens_BT`'s columns.

    The opening runs once and its keys and values are shared by all rows (gradients add up over them). `drop_last`
    leaves out the last column, which predicts nothing. A batch with lower states runs only the layers above them.
    """
    with contextlib.ExitStack() as stack:
        if batch.recompute:
            stack.enter_context(recomputed(trunk))
        if batch.lower_BTH is not None:
            stack.enter_context(only_layers(trunk, batch.first_layer, None))
        return _hidden_states(trunk, batch, drop_last=drop_last)


def _hidden_states(trunk: Any, batch: Batch, *, drop_last: bool) -> torch.Tensor:
    width = batch.tokens_BT.shape[1] - int(drop_last)
    cache = None
    if len(batch.opening_T):
        cache = DynamicCache(config=trunk.config)
        opening_BTH = batch.opening_TH[None] if batch.opening_TH is not None else None
        _run(trunk, batch.opening_T[None], opening_BTH, cache=cache)
        expand_cache(cache, len(batch.tokens_BT))
    lower_BTH = batch.lower_BTH[:, :width] if batch.lower_BTH is not None else None
    return _run(trunk, batch.tokens_BT[:, :width], lower_BTH, cache=cache, is_real_BT=batch.is_real_BT[:, :width])


@torch.no_grad()
def lower_states(trunk: Any, batch: Batch, layers: int) -> list[torch.Tensor]:
    """What the first `layers` layers make of each conversation: one `TH` per row, opening included, no padding."""
    with only_layers(trunk, 0, layers):
        cache, opening_TH = None, None
        if len(batch.opening_T):
            cache = DynamicCache(config=trunk.config)
            opening_TH = _run(trunk, batch.opening_T[None], None, cache=cache)[0]
            expand_cache(cache, len(batch.tokens_BT))
        hidden_BTH = _run(trunk, batch.tokens_BT, None, cache=cache, is_real_BT=batch.is_real_BT)
    rows = [row_TH[is_real_T] for row_TH, is_real_T in zip(hidden_BTH, batch.is_real_BT, strict=True)]
    return [torch.cat([opening_TH, row_TH]) if opening_TH is not None else row_TH for row_TH in rows]


@torch.no_grad()
def can_split(trunk: Any, layers: int) -> bool:
    """True where running `layers` layers and then the others gives what running all gives, tried on a few tokens.

    Some architectures scale or normalise their input in ways that lower states must not go through twice.
    """
    if not has_layers(trunk) or not hasattr(trunk, "norm"):
        return False
    tokens_BT = torch.arange(4, device=next(trunk.parameters()).device)[None]
    whole_BTH = _run(trunk, tokens_BT, None, cache=None)
    with only_layers(trunk, 0, layers):
        lower_BTH = _run(trunk, tokens_BT, None, cache=None)
    with only_layers(trunk, layers, None):
        split_BTH = _run(trunk, tokens_BT, lower_BTH, cache=None)
    return torch.allclose(whole_BTH.float(), split_BTH.float(), rtol=1e-3, atol=1e-3)


def has_layers(trunk: Any) -> bool:
    """True where the layers stand in a list that they can be taken from."""
    return isinstance(getattr(trunk, "layers", None), torch.nn.ModuleList)


@contextlib.contextmanager
def recomputed(trunk: Any) -> Iterator[None]:
    """Passes in this block keep what goes into each layer only; their backward passes, also later, run it again.

    transformers' own switch works in training mode alone, and ours is evaluation mode without dropout.
    """
    for layer in trunk.layers:
        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in trunk.layers:
            del layer.forward


@contextlib.contextmanager
def only_layers(trunk: Any, first: int, end: int | None) -> Iterator[None]:
    """Run some of the trunk's layers: up to `end` (without the final norm), or from `first` on lower states."""
    layers, norm = trunk.layers, trunk.norm
    trunk.layers = torch.nn.ModuleList(list(layers)[first:end])
    if end is not None:
        trunk.norm = torch.nn.Identity()
    try:
        yield
    finally:
        trunk.layers, trunk.norm = layers, norm


def _run(
    trunk: Any,
    tokens_BT: torch.Tensor,
    lower_BTH: torch.Tensor | None,
    *,
    cache: DynamicCache | None,
    is_real_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """One pass of the trunk's present layers over tokens, or over lower states, after what the cache holds."""
    if is_real_BT is None:
        is_real_BT = torch.ones_like(tokens_BT, dtype=torch.bool)
    past = cached_tokens(cache)
    visible_BT = torch.cat([is_real_BT.new_ones(len(tokens_BT), past), is_real_BT], dim=1)
    out = trunk(
        input_ids=tokens_BT if lower_BTH is None else None,
        inputs_embeds=lower_BTH,
        # transformers sizes a mask by what the cache holds for layer 0: nothing where lower layers are skipped.
        attention_mask=visible_BT.long() if lower_BTH is None else causal_mask(visible_BT, past=past),
        position_ids=(is_real_BT.long().cumsum(dim=1) - 1).clamp(min=0) + past,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    hidden_BTH: torch.Tensor = out.last_hidden_state
    return hidden_BTH


def causal_mask(visible_BK: torch.Tensor, *, past: int) -> torch.Tensor:
    """`[B, 1, T, K]`, True where query column t may look at key column k: k <= past + t and visible (or itself)."""
    keys = visible_BK.shape[1]
    column_K = torch.arange(keys, device=visible_BK.device)
    query_T1 = column_K[past:, None]
    mask_BTK = (column_K <= query_T1) & visible_BK[:, None, :]
    return (mask_BTK | (column_K == query_T1))[:, None]


def cached_tokens(cache: DynamicCache | None) -> int:
    """How many tokens the cache holds, in whichever layers were run."""
    filled = [layer for layer in cache.layers if layer.is_initialized] if cache is not None else []
    return int(filled[0].keys.shape[-2]) if filled else 0


def expand_cache(cache: DynamicCache, rows: int) -> DynamicCache:
    """The keys and values of one sequence shared by `rows` sequences (views: nothing is copied)."""
    for layer in cache.layers:
        if layer.is_initialized:
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
