"""Policy, critic, reference and reward model: four roles on one backbone where adapters allow it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hrlaif.config import PolicySection
from hrlaif.errors import ModelError
from hrlaif.models.local import LocalReward
from hrlaif.nn.adapters import REWARD, attach_reward, merged, trainable, untouched_layers, using
from hrlaif.nn.backbone import Backbone, Placement, adapter_base, same_base
from hrlaif.nn.batches import by_length
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forward import can_split, hidden_states, logits, lower_states, predicting
from hrlaif.nn.generate import Sampled, Settings, generate
from hrlaif.nn.logprobs import token_logprobs
from hrlaif.nn.scoring import score_tokens


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with a response of the policy.

    `scored` is what the reward model reads: the response with an end token, also where it was cut off before one.
    `lower_TH` is what the layers that no role changes make of `scored`, None where they are to be run each time.
    """

    conversation: Conversation
    scored: Conversation
    lower_TH: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """What policy and critic say of the response tokens of some conversations, row after row in one axis N."""

    logprobs_N: torch.Tensor
    values_N: torch.Tensor
    entropy_N: torch.Tensor


class ValueHead(torch.nn.Module):
    """A critic on the policy's trunk: one number (float32) per hidden state, 0 at the start."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(hidden_size, 1)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """`values`: the last axis of `hidden` becomes one number."""
        values: torch.Tensor = self.linear(hidden.float())[..., 0]
        return values


class Actors:
    """The four roles.

    With adapters all share one backbone: the policy is its trained adapter, the critic a head on the policy's trunk,
    the reference the backbone without adapters, the reward model its own adapter (if it was trained on the same base).
    Layers that no adapter touches are computed once for all. When all weights are trained, a frozen copy of the start
    is kept for reference and reward.
    """

    def __init__(self, base: str, reward: Path, section: PolicySection, place: Placement, *, seed: int) -> None:
        self.temperature = section.temperature
        self.policy: Backbone = trainable(base, section.lora, place, seed=seed)
        self.value_head = ValueHead(self.policy.hidden_size).to(place.device)
        self.no_grad_tokens = 4 * (section.batch_tokens or place.tokens_per_pass)
        self.frozen = self.policy
        if section.lora.rank == 0:
            frozen = copy.deepcopy(self.policy.model).requires_grad_(False)
            self.frozen = Backbone(frozen, self.policy.chat, base, place)
        self._own_reward: LocalReward | None = None
        if same_base(adapter_base(reward), base):
            self._score_head = attach_reward(self.frozen, reward)
        else:
            self._own_reward = LocalReward(reward, device=str(place.device), dtype=str(place.dtype).split(".")[-1])
            self._check_same_tokens()
        lower = untouched_layers(self.policy) if self.policy.shares_openings else 0
        if lower and can_split(self.policy.trunk, lower):
            self.policy.first_layer = lower

    def _check_same_tokens(self) -> None:
        assert self._own_reward is not None
        theirs, ours = self._own_reward.backbone.chat.tokenizer, self.policy.chat.tokenizer
        if theirs.get_vocab() != ours.get_vocab():
            raise ModelError(
                f"the reward model's tokenizer ({self._own_reward.backbone.base}) is not the policy's "
                f"({self.policy.base}). Train the reward model on the policy's base, or on one with the same tokenizer."
            )

    @property
    def trained(self) -> torch.nn.ModuleDict:
        """All modules with trained parameters, under stable names."""
        return torch.nn.ModuleDict({"policy": self.policy.model, "value_head": self.value_head})

    def sample(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], *, max_tokens: int) -> list[Sampled]:
        """One response per prompt with log-probabilities and values."""
        settings = Settings(self.temperature, max_tokens)
        with merged(self.policy):
            return generate(self.policy, prompts, seeds, settings, value_head=self.value_head)

    def answered(self, prompts: Sequence[Sequence[int]], sampled: Sequence[Sampled]) -> list[Answered]:
        """Prompts and responses in the form that the other roles take, with the lower layers' work done."""
        end, stops = self.policy.chat.end_id, self.policy.chat.stop_ids
        found = []
        for prompt, drawn in zip(prompts, sampled, strict=True):
            spoken = drawn.tokens[:-1] if drawn.tokens[-1] in stops else drawn.tokens
            conversation = Conversation(tuple(prompt), drawn.tokens)
            found.append(Answered(conversation, Conversation(tuple(prompt), (*spoken, end))))
        if not self.policy.first_layer:
            return found
        lower: list[torch.Tensor] = [torch.empty(0)] * len(found)
        for group in self._groups([item.scored for item in found]):
            batch = self.policy.batch([found[index].scored for index in group])
            for index, row_TH in zip(
                group, lower_states(self.policy.trunk, batch, self.policy.first_layer), strict=True
            ):
                lower[index] = row_TH
        return [Answered(item.conversation, item.scored, row_TH) for item, row_TH in zip(found, lower, strict=True)]

    def evaluate(self, answered: Sequence[Answered]) -> Outputs:
        """Policy and critic on given responses; differentiable (entropy is not: it is only logged)."""
        batch = self.policy.batch([item.conversation for item in answered], _lower(answered))
        hidden_BTH = predicting(hidden_states(self.policy.trunk, batch, drop_last=True), batch)
        hidden_NH = hidden_BTH[batch.is_response_BT]
        logits_NV = logits(self.policy.inner, hidden_NH)
        tokens_N = batch.response_BT[batch.is_response_BT]
        logprobs_N, entropy_N = token_logprobs(logits_NV, tokens_N, temperature=self.temperature)
        return Outputs(logprobs_N, self.value_head(hidden_NH), entropy_N)

    @torch.no_grad()
    def reference_logprobs(self, answered: Sequence[Answered]) -> list[torch.Tensor]:
        """Per conversation, the log-probabilities `T` of its response tokens under the starting policy."""
        with using(self.frozen.model, None):
            return self._logprobs(self.frozen, answered)

    @torch.no_grad()
    def policy_logprobs(self, answered: Sequence[Answered]) -> list[torch.Tensor]:
        """The same under the policy as it is now."""
        return self._logprobs(self.policy, answered)

    def _logprobs(self, backbone: Backbone, answered: Sequence[Answered]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = [torch.empty(0)] * len(answered)
        for group in self._groups([item.conversation for item in answered]):
            members = [answered[index] for index in group]
            batch = backbone.batch([item.conversation for item in members], _lower(members))
            hidden_BTH = predicting(hidden_states(backbone.trunk, batch, drop_last=True), batch)
            logits_NV = logits(backbone.inner, hidden_BTH[batch.is_response_BT])
            tokens_N = batch.response_BT[batch.is_response_BT]
            logprobs_N, _ = token_logprobs(logits_NV, tokens_N, temperature=self.temperature)
            rows = torch.split(logprobs_N, batch.is_response_BT.sum(dim=1).tolist())
            for index, row_T in zip(group, rows, strict=True):
                found[index] = row_T
        return found

    def scores(self, answered: Sequence[Answered]) -> torch.Tensor:
        """Reward-model scores `B`, read at the end token."""
        conversations = [item.scored for item in answered]
        if self._own_reward is not None:
            return torch.tensor(self._own_reward.score_tokens(conversations))
        with using(self.frozen.model, REWARD):
            return torch.tensor(score_tokens(self.frozen, self._score_head, conversations, lower=_lower(answered)))

    def _groups(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        return by_length([item.length for item in conversations], max_tokens=self.no_grad_tokens)


def _lower(answered: Sequence[Answered]) -> list[torch.Tensor] | None:
    rows = [item.lower_TH for item in answered if item.lower_TH is not None]
    return rows if len(rows) == len(answered) else None
