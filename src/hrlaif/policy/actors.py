"""Policy, critic, reference and reward model: four roles on one backbone where adapters allow it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hrlaif.config import PolicySection
from hrlaif.errors import ModelError
from hrlaif.models.base import RewardScorer
from hrlaif.models.local import LocalReward
from hrlaif.nn.adapters import CRITIC, REWARD, add_critic, attach_reward, merged, trainable, untouched_layers, using
from hrlaif.nn.backbone import Backbone, Placement, adapter_base, same_base
from hrlaif.nn.batches import Batch, by_length
from hrlaif.nn.chat import Conversation
from hrlaif.nn.forward import can_split, hidden_states, logits, lower_states, predicting
from hrlaif.nn.generate import Sampled, Settings, generate
from hrlaif.nn.logprobs import token_logprobs
from hrlaif.nn.scoring import score_tokens
from hrlaif.policy.served import ServedPolicy
from hrlaif.types import Prompt


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its tokens, cut on the left where they were too many."""

    prompt: Prompt
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with a response of the policy; `finished` is False where it was cut off at the token limit.

    `scored` is what the reward model reads: the response with an end token, also where it was cut off before one.
    `lower_TH` is what the layers that no role changes make of `scored`, None where they are to be run each time.
    """

    prompt: Prompt
    conversation: Conversation
    scored: Conversation
    finished: bool
    lower_TH: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """What policy and critic say of the response tokens of some conversations, row after row in one axis N."""

    logprobs_N: torch.Tensor
    values_N: torch.Tensor | None
    entropy_N: torch.Tensor


class ValueHead(torch.nn.Module):
    """A critic's last layer: one number (float32) per hidden state, 0 at the start."""

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

    With adapters all share one backbone: the policy is its trained adapter, the critic a head on the policy's trunk or
    on an adapter of its own, the reference the backbone without adapters, the reward model its own adapter (if it was
    trained on the same base). Layers that no adapter touches are computed once for all. When all weights are trained, a
    frozen copy of the start is kept for reference and reward. Advantages from several responses need no critic.
    `reward` is a reward model's folder, or anything that scores texts. With a `server`, that one samples the policy.
    """

    server: ServedPolicy | None = None

    def __init__(
        self, base: str, reward: Path | RewardScorer, section: PolicySection, place: Placement, *, seed: int
    ) -> None:
        self.temperature = section.temperature
        self.policy: Backbone = trainable(base, section.lora, place, seed=seed)
        self.no_grad_tokens = 4 * (section.batch_tokens or place.tokens_per_pass)
        self.frozen = self.policy
        if section.lora.rank == 0:
            frozen = copy.deepcopy(self.policy.model).requires_grad_(False)
            self.frozen = Backbone(frozen, self.policy.chat, base, place)
        self._scorer = reward if not isinstance(reward, Path) else None
        self._own_reward: LocalReward | None = None
        if isinstance(reward, Path):
            self._attach(reward)
        self.value_head: ValueHead | None = None
        if section.advantages == "gae":
            self.value_head = ValueHead(self.policy.hidden_size).to(place.device)
        self.critic_is_apart = self.value_head is not None and section.critic == "adapter"
        if self.critic_is_apart:
            add_critic(self.policy, section.lora, seed=seed)
        lower = untouched_layers(self.policy) if self.policy.shares_openings else 0
        if lower and can_split(self.policy.trunk, lower):
            self.policy.first_layer = lower

    def _attach(self, reward: Path) -> None:
        if same_base(adapter_base(reward), self.policy.base):
            self._score_head = attach_reward(self.frozen, reward)
            return
        place = self.policy.place
        self._own_reward = LocalReward(reward, device=str(place.device), dtype=str(place.dtype).split(".")[-1])
        theirs, ours = self._own_reward.backbone.chat.tokenizer, self.policy.chat.tokenizer
        if theirs.get_vocab() != ours.get_vocab():
            raise ModelError(
                f"the reward model's tokenizer ({self._own_reward.backbone.base}) is not the policy's "
                f"({self.policy.base}). Train the reward model on the policy's base, or on one with the same tokenizer."
            )

    @property
    def trained(self) -> torch.nn.ModuleDict:
        """All modules with trained parameters, under stable names."""
        modules = {"policy": self.policy.model}
        return torch.nn.ModuleDict(modules | ({"value_head": self.value_head} if self.value_head is not None else {}))

    def publish(self, step: int) -> None:
        """Say that the policy is now that of after `step` steps: a server that samples it has to load it."""
        if self.server is not None:
            self.server.publish(self.policy, step)

    def sample(self, questions: Sequence[Question], seeds: Sequence[int], *, max_tokens: int) -> list[Sampled]:
        """One response per question with log-probabilities, and with values where the critic is on the same trunk.

        A server gives its own log-probabilities, or none, and no values.
        """
        settings = Settings(self.temperature, max_tokens)
        head = None if self.critic_is_apart else self.value_head
        tokens = [question.tokens for question in questions]
        if self.server is not None:
            return self.server.sample(self.policy, tokens, seeds)
        with merged(self.policy):
            return generate(self.policy, tokens, seeds, settings, value_head=head)

    def answered(self, questions: Sequence[Question], sampled: Sequence[Sampled]) -> list[Answered]:
        """Questions and responses in the form that the other roles take, with the lower layers' work done."""
        end, stops = self.policy.chat.end_id, self.policy.chat.stop_ids
        found = []
        for question, drawn in zip(questions, sampled, strict=True):
            spoken = drawn.tokens[:-1] if drawn.tokens[-1] in stops else drawn.tokens
            conversation = Conversation(question.tokens, drawn.tokens)
            scored = Conversation(question.tokens, (*spoken, end))
            found.append(Answered(question.prompt, conversation, scored, drawn.finished))
        if not self.policy.first_layer:
            return found
        lower: list[torch.Tensor] = [torch.empty(0)] * len(found)
        for group in self._groups([item.scored for item in found]):
            batch = self.policy.batch([found[index].scored for index in group])
            for index, row_TH in zip(
                group, lower_states(self.policy.trunk, batch, self.policy.first_layer), strict=True
            ):
                lower[index] = row_TH
        return [replace(item, lower_TH=row_TH) for item, row_TH in zip(found, lower, strict=True)]

    def evaluate(self, answered: Sequence[Answered]) -> Outputs:
        """Policy and critic on given responses; differentiable (entropy is not: it is only logged)."""
        batch = self.policy.batch([item.conversation for item in answered], _lower(answered))
        hidden_NH = _predicting_states(self.policy, batch)
        logprobs_N, entropy_N = self._logprobs(self.policy, batch, hidden_NH)
        return Outputs(logprobs_N, self._values(batch, hidden_NH), entropy_N)

    def _values(self, batch: Batch, hidden_NH: torch.Tensor) -> torch.Tensor | None:
        """The critic's numbers; `hidden_NH` are the policy's states, which a critic on its own adapter does not use."""
        if self.value_head is None:
            return None
        if self.critic_is_apart:
            with using(self.policy.model, CRITIC):
                hidden_NH = _predicting_states(self.policy, batch)
        values_N: torch.Tensor = self.value_head(hidden_NH)
        return values_N

    def _logprobs(self, backbone: Backbone, batch: Batch, hidden_NH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens_N = batch.response_BT[batch.is_response_BT]
        return token_logprobs(logits(backbone.inner, hidden_NH), tokens_N, temperature=self.temperature)

    def reference_logprobs(self, answered: Sequence[Answered]) -> list[torch.Tensor]:
        """Per conversation, the log-probabilities `T` of its response tokens under the starting policy."""
        with using(self.frozen.model, None):
            return self._by_row(
                self.frozen,
                answered,
                lambda batch: self._logprobs(self.frozen, batch, _predicting_states(self.frozen, batch))[0],
            )

    @property
    def is_read_again(self) -> bool:
        """True where sampling rounds otherwise than a pass over the whole response: in half precision, on a server."""
        return self.server is not None or self.policy.place.dtype != torch.float32

    def read(self, answered: Sequence[Answered]) -> list[torch.Tensor]:
        """Per conversation, what a pass says of each of its response tokens under the policy as it is now, `[T, C]`.

        Columns: the log-probability at the sampling temperature, that at temperature 1, and the value, where the critic
        is on the same trunk.
        """
        is_apart = self.critic_is_apart

        def columns(batch: Batch) -> torch.Tensor:
            hidden_NH = _predicting_states(self.policy, batch)
            logits_NV = logits(self.policy.inner, hidden_NH)
            tokens_N = batch.response_BT[batch.is_response_BT]
            found = [token_logprobs(logits_NV, tokens_N, temperature=self.temperature)[0]]
            plain = self.temperature == 1
            found.append(found[0] if plain else token_logprobs(logits_NV, tokens_N, temperature=1.0)[0])
            if self.value_head is not None and not is_apart:
                found.append(self.value_head(hidden_NH))
            return torch.stack([column.float() for column in found], dim=1)

        return self._by_row(self.policy, answered, columns)

    def critic_values(self, answered: Sequence[Answered]) -> list[torch.Tensor]:
        """Per conversation, the values `T` before each of its response tokens, by a critic on its own adapter."""
        head = self.value_head
        assert head is not None
        with using(self.policy.model, CRITIC):
            return self._by_row(self.policy, answered, lambda batch: head(_predicting_states(self.policy, batch)))

    @torch.no_grad()
    def _by_row(
        self, backbone: Backbone, answered: Sequence[Answered], compute: Callable[[Batch], torch.Tensor]
    ) -> list[torch.Tensor]:
        """`compute` gives one number, or a row of them, per response token of a batch; returns them by conversation."""
        found: list[torch.Tensor] = [torch.empty(0)] * len(answered)
        for group in self._groups([item.conversation for item in answered]):
            members = [answered[index] for index in group]
            batch = backbone.batch([item.conversation for item in members], _lower(members))
            rows = torch.split(compute(batch), batch.is_response_BT.sum(dim=1).tolist())
            for index, row_T in zip(group, rows, strict=True):
                found[index] = row_T
        return found

    def scores(self, answered: Sequence[Answered]) -> torch.Tensor:
        """Reward-model scores `B`, read at the end token."""
        if self._scorer is not None:
            chat = self.policy.chat
            texts = ((item.prompt.messages, chat.text(item.conversation.response)) for item in answered)
            return torch.tensor(self._scorer.score(texts))
        conversations = [item.scored for item in answered]
        if self._own_reward is not None:
            return torch.tensor(self._own_reward.score_tokens(conversations))
        with using(self.frozen.model, REWARD):
            return torch.tensor(score_tokens(self.frozen, self._score_head, conversations, lower=_lower(answered)))

    def _groups(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        return by_length([item.length for item in conversations], max_tokens=self.no_grad_tokens)


def _predicting_states(backbone: Backbone, batch: Batch) -> torch.Tensor:
    """The states `hidden_NH` that predict each response token, under the adapter that is active."""
    hidden_BTH = predicting(hidden_states(backbone.trunk, batch, drop_last=True), batch)
    return hidden_BTH[batch.is_response_BT]


def _lower(answered: Sequence[Answered]) -> list[torch.Tensor] | None:
    rows = [item.lower_TH for item in answered if item.lower_TH is not None]
    return rows if len(rows) == len(answered) else None
