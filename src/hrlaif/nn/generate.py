"""Sampling many responses at once: shared prompts computed once, finished rows dropped, one seed per response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from hrlaif.nn.backbone import Backbone
from hrlaif.nn.batches import common_opening
from hrlaif.nn.forward import expand_cache, logits
from hrlaif.nn.sampling import next_tokens

ValueHead = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled response. `tokens` ends with the end token if `finished`.

    `logprobs` (nats, at the sampling temperature) and `values` hold one number per token; `values` is empty without a
    value head.
    """

    tokens: tuple[int, ...]
    finished: bool
    logprobs: tuple[float, ...]
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """How to draw; `temperature` 0 is greedy."""

    temperature: float
    max_tokens: int
    top_p: float = 1.0


@torch.no_grad()
def generate(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    settings: Settings,
    *,
    value_head: ValueHead | None = None,
) -> list[Sampled]:
    """One response per prompt, drawn together. Row i depends on `prompts[i]` and `seeds[i]` only (up to rounding).

    `value_head` maps hidden states [B, H] to values [B] and is asked at every position that predicts a token.
    """
    state = _start(backbone, prompts)
    uniform_BT = _uniforms(seeds, settings.max_tokens)
    rows = _Rows(len(prompts))
    stop = torch.tensor(sorted(backbone.chat.stop_ids))
    for step in range(settings.max_tokens):
        hidden_BH = state.hidden_BH
        logits_BV = logits(backbone.inner, hidden_BH)
        tokens_B, logprobs_B = next_tokens(
            logits_BV,
            uniform_BT[state.alive, step].to(logits_BV.device),
            temperature=settings.temperature,
            top_p=settings.top_p,
        )
        values_B = value_head(hidden_BH) if value_head is not None else None
        ended_B = torch.isin(tokens_B.cpu(), stop)
        rows.add(state.alive, tokens_B, logprobs_B, values_B, ended_B)
        state.ended_B = state.ended_B | ended_B
        if bool(state.ended_B.all()) or step == settings.max_tokens - 1:
            break
        _advance(backbone, state, tokens_B)
    return rows.done()


class _Rows:
    """Collects what was drawn for each row until its end token."""

    def __init__(self, count: int) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self.logprobs: list[list[float]] = [[] for _ in range(count)]
        self.values: list[list[float]] = [[] for _ in range(count)]
        self.finished = [False] * count

    def add(
        self,
        alive: Sequence[int],
        tokens_B: torch.Tensor,
        logprobs_B: torch.Tensor,
        values_B: torch.Tensor | None,
        ended_B: torch.Tensor,
    ) -> None:
        columns: Iterable[tuple[Sequence[list[Any]], torch.Tensor | None]] = (
            (self.tokens, tokens_B),
            (self.logprobs, logprobs_B),
            (self.values, values_B),
        )
        for lists, drawn_B in columns:
            for row, number in zip(alive, drawn_B.tolist() if drawn_B is not None else (), strict=False):
                if not self.finished[row]:
                    lists[row].append(number)
        for row, ended in zip(alive, ended_B.tolist(), strict=True):
            self.finished[row] = self.finished[row] or ended

    def done(self) -> list[Sampled]:
        return [
            Sampled(tuple(tokens), finished, tuple(logprobs), tuple(values))
            for tokens, finished, logprobs, values in zip(
                self.tokens, self.finished, self.logprobs, self.values, strict=True
            )
        ]


@dataclass(slots=True)
class _State:
    """A decode in progress. `alive[b]` is the caller's row behind row b of the tensors."""

    cache: DynamicCache
    is_real_BT: torch.Tensor
    next_position_B: torch.Tensor
    hidden_BH: torch.Tensor
    alive: list[int]
    ended_B: torch.Tensor


def _start(backbone: Backbone, prompts: Sequence[Sequence[int]]) -> _State:
    """Run the prompts: their common opening once, each distinct prompt once."""
    device, trunk = backbone.place.device, backbone.trunk
    distinct = sorted({tuple(prompt) for prompt in prompts}, key=lambda prompt: (len(prompt), prompt))
    opening = common_opening(distinct) if backbone.shares_openings else []
    rests = [prompt[len(opening) :] for prompt in distinct]
    width = max(len(rest) for rest in rests)
    tokens_DT = torch.tensor([[backbone.chat.pad_id] * (width - len(rest)) + list(rest) for rest in rests])
    is_real_DT = torch.tensor([[False] * (width - len(rest)) + [True] * len(rest) for rest in rests])
    tokens_DT, is_real_DT = tokens_DT.to(device), is_real_DT.to(device)
    positions_DT = (is_real_DT.long().cumsum(dim=1) - 1).clamp(min=0) + len(opening)
    if opening:
        cache = DynamicCache(config=trunk.config)
        trunk(input_ids=torch.tensor([opening], device=device), past_key_values=cache, use_cache=True)
        expand_cache(cache, len(distinct))
        is_real_DT = torch.cat([is_real_DT.new_ones(len(distinct), len(opening)), is_real_DT], dim=1)
    else:
        cache = DynamicCache(config=trunk.config)
    out = trunk(
        input_ids=tokens_DT,
        attention_mask=is_real_DT.long(),
        position_ids=positions_DT,
        past_key_values=cache,
        use_cache=True,
    )
    place = {prompt: index for index, prompt in enumerate(distinct)}
    pick_B = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    if len(distinct) != len(prompts) or pick_B.tolist() != list(range(len(prompts))):
        cache.batch_select_indices(pick_B)
    return _State(
        cache=cache,
        is_real_BT=is_real_DT[pick_B],
        next_position_B=positions_DT[pick_B, -1] + 1,
        hidden_BH=out.last_hidden_state[pick_B, -1],
        alive=list(range(len(prompts))),
        ended_B=torch.zeros(len(prompts), dtype=torch.bool),
    )


def _advance(backbone: Backbone, state: _State, tokens_B: torch.Tensor) -> None:
    """Feed the drawn tokens. Ended rows are carried along until they are a quarter of the batch, then dropped."""
    if 4 * int(state.ended_B.sum()) >= len(state.ended_B):
        keep_B = (~state.ended_B).nonzero()[:, 0]
        on_device_B = keep_B.to(tokens_B.device)
        state.cache.batch_select_indices(on_device_B)
        state.is_real_BT = state.is_real_BT[on_device_B]
        state.next_position_B = state.next_position_B[on_device_B]
        tokens_B = tokens_B[on_device_B]
        state.alive = [state.alive[index] for index in keep_B.tolist()]
        state.ended_B = state.ended_B[keep_B]
    state.is_real_BT = torch.cat([state.is_real_BT, state.is_real_BT.new_ones(len(tokens_B), 1)], dim=1)
    out = backbone.trunk(
        input_ids=tokens_B[:, None],
        attention_mask=state.is_real_BT.long(),
        position_ids=state.next_position_B[:, None],
        past_key_values=state.cache,
        use_cache=True,
    )
    state.next_position_B = state.next_position_B + 1
    state.hidden_BH = out.last_hidden_state[:, -1]


def _uniforms(seeds: Sequence[int], max_tokens: int) -> torch.Tensor:
    rows = [
        torch.rand(max_tokens, generator=torch.Generator().manual_seed(seed % 2**63), dtype=torch.float64)
        for seed in seeds
    ]
    return torch.stack(rows)
