"""Tests of rollouts: what the tokens of sampled responses are paid, and what advantages follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch

from hrlaif.config import LoraSection, PolicySection
from hrlaif.errors import ModelError
from hrlaif.nn.advantages import group_normalised, leave_one_out
from hrlaif.nn.backbone import placement
from hrlaif.nn.checkpoint import Checkpoints
from hrlaif.nn.generate import Sampled
from hrlaif.policy.actors import Actors, Answered, Question
from hrlaif.policy.rollouts import Rollouts, collect
from hrlaif.policy.scores import Normaliser
from hrlaif.policy.training import Training
from hrlaif.types import Message, Prompt

PLACE = placement("cpu", "auto")
FAST = PolicySection(lora=LoraSection(layers=1), steps=2, rollouts=8, minibatch=4, max_tokens=8, learning_rate=5e-3)


class Letters:
    """Scores a text by how many of its characters are letters."""

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        """A score per text."""
        return [sum(c.isalpha() for c in text) / 8 for _, text in conversations]


def collected(actors: Actors, prompts: list[Prompt], section: PolicySection) -> Rollouts:
    asked = [Question(prompt, tuple(actors.policy.chat.prompt_ids(prompt.messages))) for prompt in prompts]
    normaliser = Normaliser(section.score_normalise, clip=section.score_clip)
    return collect(
        actors, asked, range(len(prompts)), section, normaliser=normaliser, kl_weight=0.1, where="PPO, step 7"
    )


def test_the_score_is_clipped_and_paid_at_the_last_token_and_a_cut_off_response_pays_a_penalty(
    tiny_model: Path, prompts: list[Prompt]
) -> None:
    section = FAST.model_copy(
        update={"score_normalise": "none", "score_clip": 0.4, "no_eos_penalty": 3.0, "max_tokens": 12}
    )
    actors = Actors(str(tiny_model), Letters(), section, PLACE, seed=0)
    actors.policy.chat.stop_ids = frozenset({2, *range(40, 60)})
    rollouts = collected(actors, prompts * 3, section)
    assert 0 < sum(item.finished for item in rollouts.answered) < 36
    # At the start the KL and the values are 0, so the return at the last token is what was paid there.
    for row in range(36):
        response = rollouts.answered[row].conversation.response
        assert int(rollouts.is_response_BT[row].sum()) == len(response)
        finished = rollouts.answered[row].finished
        assert finished == (response[-1] in actors.policy.chat.stop_ids)
        paid = min(float(rollouts.scores_B[row]), 0.4) - (0.0 if finished else 3.0)
        assert float(rollouts.pay.total_B[row]) == pytest.approx(paid)
        assert float(rollouts.returns_BT[row, len(response) - 1]) == pytest.approx(paid, abs=1e-4)
        assert rollouts.returns_BT[row, len(response) :].abs().sum() == 0
        assert rollouts.advantages_BT[row, len(response) :].abs().sum() == 0
    advantages = rollouts.advantages_BT[rollouts.is_response_BT]
    assert float(advantages.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(advantages.std(unbiased=False)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("critic", ["shared", "adapter"])
def test_returns_are_made_of_advantages_before_these_are_whitened(
    tiny_model: Path, reward: Path, prompts: list[Prompt], critic: Literal["shared", "adapter"]
) -> None:
    section = FAST.model_copy(update={"critic": critic, "gae_lambda": 1.0, "no_eos_penalty": 0.0})
    actors = Actors(str(tiny_model), reward, section, PLACE, seed=0)
    assert actors.value_head is not None
    with torch.no_grad():
        actors.value_head.linear.weight.fill_(0.1)
    rollouts = collected(actors, prompts, section)
    assert rollouts.values_BT is not None
    assert rollouts.returns_BT is not None
    assert float(rollouts.values_BT.abs().max()) > 0.01
    # The start has no KL to itself, so with lambda 1 and no discount every return is what the whole response was paid.
    paid_BT = rollouts.pay.total_B[:, None] * rollouts.is_response_BT
    torch.testing.assert_close(rollouts.returns_BT, paid_BT, atol=1e-4, rtol=0)
    # And the values are those that a pass with gradients gives.
    values_N = actors.evaluate(rollouts.answered).values_N
    assert values_N is not None
    torch.testing.assert_close(values_N, rollouts.values_BT[rollouts.is_response_BT], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("advantages", "by_hand"), [("rloo", leave_one_out), ("grpo", group_normalised)])
def test_the_responses_to_one_prompt_are_compared_by_what_they_are_paid_less_their_kl(
    tiny_model: Path,
    prompts: list[Prompt],
    tmp_path: Path,
    advantages: Literal["rloo", "grpo"],
    by_hand: Callable[..., torch.Tensor],
) -> None:
    section = FAST.model_copy(update={"advantages": advantages, "samples_per_prompt": 4})
    actors = Actors(str(tiny_model), Letters(), section, PLACE, seed=0)
    assert actors.value_head is None
    with torch.no_grad():
        for name, parameter in actors.policy.model.named_parameters():
            if "lora_B.default" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    training = Training(prompts, actors, section, seed=0)
    asked = training.questions_of(0)
    assert [question.prompt.id for question in asked[:4]] == [asked[0].prompt.id] * 4
    assert len({question.prompt.id for question in asked}) == 2
    normaliser = Normaliser("none", clip=5.0)
    found = collect(actors, asked, range(8), section, normaliser=normaliser, kl_weight=0.1, where="here")
    assert found.values_BT is None
    assert float(found.kl_B.abs().min()) > 0.0
    advantages_B = by_hand(found.pay.total_B - 0.1 * found.kl_B, group=4)
    torch.testing.assert_close(found.advantages_BT, advantages_B[:, None] * found.is_response_BT)
    curve = training.run(Checkpoints(tmp_path / "c", settings="s"), tmp_path / "metrics.jsonl")
    assert not {"value_loss", "explained_variance"} & curve[0].keys()


class Silent(Actors):
    """A policy that answers nothing at all."""

    def sample(self, questions: Sequence[Question], seeds: Sequence[int], *, max_tokens: int) -> list[Sampled]:
        """Only end tokens."""
        return [Sampled((self.policy.chat.end_id,), True, (-1.0,), (0.0,)) for _ in questions]


class Broken(Actors):
    """A reward model whose scores are not numbers."""

    def scores(self, answered: Sequence[Answered]) -> torch.Tensor:
        """Not a number."""
        return torch.full((len(answered),), float("nan"))


def test_a_policy_that_falls_silent_or_breaks_is_an_error_that_says_what_to_do(
    tiny_model: Path, reward: Path, prompts: list[Prompt]
) -> None:
    with pytest.raises(ModelError, match=r"PPO, step 7: every response was empty.* .lower learning_rate"):
        collected(Silent(str(tiny_model), reward, FAST, PLACE, seed=0), prompts, FAST)
    with pytest.raises(ModelError, match=r"PPO, step 7: the scores .* not finite.* Lower learning_rate"):
        collected(Broken(str(tiny_model), reward, FAST, PLACE, seed=0), prompts, FAST)
