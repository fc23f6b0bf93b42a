"""PPO's updates from one set of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from hrlaif.config import PolicySection
from hrlaif.nn import processes
from hrlaif.nn.batches import by_length
from hrlaif.nn.losses import k3, policy_loss, value_loss
from hrlaif.nn.optimise import step as optimiser_step
from hrlaif.nn.seeds import permutation
from hrlaif.policy.actors import Actors
from hrlaif.policy.rollouts import Rollouts


@dataclass(frozen=True, slots=True)
class When:
    """Which step this is: for seeds and for messages."""

    index: int
    seed: int
    where: str


def update(
    actors: Actors,
    rollouts: Rollouts,
    optimizer: torch.optim.Optimizer,
    section: PolicySection,
    *,
    learning_rate: float,
    when: When,
) -> dict[str, float]:
    """All epochs over the rollouts, in minibatches; returns the means per token of what happened.

    Stops early, before the minibatch's update, once its `approx_kl` passes `section.stop_kl`.
    """
    sums: dict[str, float] = {}
    norms: list[float] = []
    tokens, ratio_error = 0, 0.0
    for epoch in range(section.epochs):
        order = permutation(len(rollouts.answered), when.seed, "minibatches", when.index, epoch)
        for start in range(0, len(order), section.minibatch):
            rows = order[start : start + section.minibatch]
            part = _accumulate(actors, rollouts, rows, section, is_first=not norms)
            for name, total in part.sums.items():
                sums[name] = sums.get(name, 0.0) + total
            tokens += part.tokens
            if not norms:
                ratio_error = part.ratio_error
            if section.stop_kl and part.sums["approx_kl"] / part.tokens > section.stop_kl:
                optimizer.zero_grad(set_to_none=True)
                return _means(sums, tokens, norms, ratio_error)
            norms.append(
                optimiser_step(
                    optimizer, learning_rate=learning_rate, max_grad_norm=section.max_grad_norm, where=when.where
                )
            )
    return _means(sums, tokens, norms, ratio_error)


@dataclass(slots=True)
class _Part:
    tokens: int
    sums: dict[str, float] = field(default_factory=dict)
    ratio_error: float = 0.0

    def add(self, name: str, per_token_N: torch.Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(per_token_N.detach().sum())


def _accumulate(
    actors: Actors, rollouts: Rollouts, rows: Sequence[int], section: PolicySection, *, is_first: bool
) -> _Part:
    """Add the gradients of one minibatch, in parts that fit into memory; the loss is a mean over its tokens.

    Of several processes each adds the gradients of the rows that it drew; the sums are of the whole minibatch.
    """
    part = _Part(int(rollouts.is_response_BT[list(rows)].sum()))
    mine = {row: answered for row in rows if (answered := rollouts.answered[row]) is not None}
    held = list(mine)
    lengths = [answered.conversation.length for answered in mine.values()]
    batch_tokens = section.batch_tokens or actors.policy.place.tokens_per_pass
    for group in by_length(lengths, max_tokens=batch_tokens):
        members = [held[place] for place in group]
        out = actors.evaluate([mine[row] for row in members])
        is_response_BT = rollouts.is_response_BT[members]
        sampled_N = rollouts.logprobs_BT[members][is_response_BT]
        # Before the first update the policy is the one that made the rollouts: the ratio is 1, whatever rounding says.
        old_N = out.logprobs_N.detach() if is_first else sampled_N
        policy_N, is_clipped_N = policy_loss(
            out.logprobs_N, old_N, rollouts.advantages_BT[members][is_response_BT], clip=section.clip
        )
        loss = policy_N.sum() / part.tokens
        if out.values_N is not None and rollouts.values_BT is not None and rollouts.returns_BT is not None:
            value_N = value_loss(
                out.values_N,
                rollouts.values_BT[members][is_response_BT],
                rollouts.returns_BT[members][is_response_BT],
                clip=section.value_clip,
            )
            loss = loss + section.value_weight * value_N.sum() / part.tokens
            part.add("value_loss", value_N)
        loss.backward()  # type: ignore[no-untyped-call]
        logprobs_N = out.logprobs_N.detach()
        part.add("policy_loss", policy_N)
        part.add("approx_kl", k3(old_N, logprobs_N))
        part.add("clip_fraction", is_clipped_N)
        part.add("entropy", out.entropy_N)
        error = float((torch.exp(logprobs_N - sampled_N) - 1).abs().max())
        part.ratio_error = max(part.ratio_error, error)
    part.sums = processes.summed(part.sums)
    part.ratio_error = max(processes.gathered(part.ratio_error))
    return part


def _means(sums: dict[str, float], tokens: int, norms: Sequence[float], ratio_error: float) -> dict[str, float]:
    means = {name: total / tokens for name, total in sums.items()}
    means["grad_norm"] = sum(norms) / len(norms) if norms else 0.0
    means["updates"] = len(norms)
    means["ratio_error"] = ratio_error
    return means
