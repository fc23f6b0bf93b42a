"""Tests of the four roles on one backbone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hrlaif.config import LoraSection, PolicySection
from hrlaif.errors import ModelError
from hrlaif.models.local import LocalReward
from hrlaif.nn.backbone import placement
from hrlaif.policy.actors import Actors, Answered, Question
from hrlaif.types import Prompt

PLACE = placement("cpu", "auto")
ENDS = frozenset({2, *range(40, 60)})


def made(tiny_model: Path, reward: Path, section: PolicySection) -> Actors:
    """Actors whose policy has moved away from its start, and whose responses have all lengths."""
    actors = Actors(str(tiny_model), reward, section, PLACE, seed=0)
    actors.policy.chat.stop_ids = ENDS
    with torch.no_grad():
        for name, parameter in actors.policy.model.named_parameters():
            # The critic's adapter is not moved, so that it can be told from the policy's.
            if parameter.requires_grad and ("lora_B.default" in name or section.lora.rank == 0):
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        actors.value_head.linear.weight.fill_(0.1)
    return actors


def answers(actors: Actors, prompts: list[Prompt], max_tokens: int = 12) -> list[Answered]:
    asked = questions(actors, prompts)
    return actors.answered(asked, actors.sample(asked, range(len(prompts)), max_tokens=max_tokens))


def questions(actors: Actors, prompts: list[Prompt]) -> list[Question]:
    return [Question(prompt, tuple(actors.policy.chat.prompt_ids(prompt.messages))) for prompt in prompts]


SECTIONS = [
    PolicySection(lora=LoraSection(layers=1)),
    PolicySection(),
    PolicySection(lora=LoraSection(rank=0)),
    PolicySection(lora=LoraSection(layers=1), critic="adapter"),
]


@pytest.mark.parametrize("section", SECTIONS, ids=["top layer", "all layers", "all weights", "critic apart"])
def test_reference_and_scores_are_those_of_the_start_and_of_the_reward_model(
    tiny_model: Path, reward: Path, prompts: list[Prompt], section: PolicySection
) -> None:
    actors = made(tiny_model, reward, section)
    assert (actors.policy.first_layer == 1) == (section.lora.layers == 1)
    answered = answers(actors, prompts)
    start = Actors(str(tiny_model), reward, SECTIONS[1], PLACE, seed=0)
    plain = [replace(item, lower_TH=None) for item in answered]
    for found, expected in zip(
        actors.reference_logprobs(answered), [read[:, 0] for read in start.read(plain)], strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    own = LocalReward(reward, device="cpu").score_tokens([item.scored for item in answered])
    assert actors.scores(answered).tolist() == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("section", SECTIONS, ids=["top layer", "all layers", "all weights", "critic apart"])
def test_a_pass_over_a_rollout_gives_the_numbers_it_was_sampled_with(
    tiny_model: Path, reward: Path, prompts: list[Prompt], section: PolicySection
) -> None:
    actors = made(tiny_model, reward, section.model_copy(update={"temperature": 0.7}))
    asked = questions(actors, prompts)
    sampled = actors.sample(asked, range(len(prompts)), max_tokens=12)
    out = actors.evaluate(actors.answered(asked, sampled))
    assert out.values_N is not None
    logprobs = [number for drawn in sampled for number in drawn.logprobs]
    values = [number for drawn in sampled for number in drawn.values]
    if actors.critic_is_apart:
        assert not values
        values = torch.cat(actors.critic_values(actors.answered(asked, sampled))).tolist()
    assert out.logprobs_N.tolist() == pytest.approx(logprobs, abs=1e-4)
    assert out.values_N.tolist() == pytest.approx(values, abs=1e-4)
    assert max(values) - min(values) > 0.01


def test_skipping_the_lower_layers_changes_no_gradient(tiny_model: Path, reward: Path, prompts: list[Prompt]) -> None:
    actors = made(tiny_model, reward, SECTIONS[0])
    answered = answers(actors, prompts)
    gradients = []
    for items in (answered, [replace(item, lower_TH=None) for item in answered]):
        out = actors.evaluate(items)
        (out.logprobs_N.sum() + out.values_N.sum()).backward()
        gradients.append([p.grad.clone() for p in actors.trained.parameters() if p.grad is not None])
        actors.trained.zero_grad()
    assert len(gradients[0]) > 5
    for shortcut, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(shortcut, plain, atol=1e-3, rtol=1e-3)


def test_the_reward_model_reads_an_end_token_also_where_the_response_was_cut_off(
    tiny_model: Path, reward: Path, prompts: list[Prompt]
) -> None:
    actors = made(tiny_model, reward, SECTIONS[1])
    answered = answers(actors, prompts * 3)
    end = actors.policy.chat.end_id
    cut_off = [item for item in answered if item.conversation.response[-1] not in ENDS]
    ended = [item for item in answered if item.conversation.response[-1] in ENDS]
    assert cut_off
    assert ended
    assert all(item.scored.response == (*item.conversation.response, end) for item in cut_off)
    assert all(item.scored.response == (*item.conversation.response[:-1], end) for item in ended)


def test_a_reward_model_that_is_a_model_of_its_own_scores_for_itself(
    tiny_model: Path, whole_reward: Path, prompts: list[Prompt]
) -> None:
    actors = made(tiny_model, whole_reward, SECTIONS[0])
    answered = answers(actors, prompts)
    own = LocalReward(whole_reward, device="cpu").score_tokens([item.scored for item in answered])
    assert actors.scores(answered).tolist() == pytest.approx(own, abs=1e-5)


def test_a_reward_model_with_other_tokens_is_an_error(tiny_model: Path, whole_reward: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in whole_reward.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["A"], vocabulary["B"] = vocabulary["B"], vocabulary["A"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match=r"tokenizer .* is not the policy's"):
        Actors(str(tiny_model), other, SECTIONS[1], PLACE, seed=0)


@pytest.mark.parametrize("section", SECTIONS[:3], ids=["top layer", "all layers", "all weights"])
def test_recomputing_layers_keeps_less_and_changes_no_gradient(
    tiny_model: Path, reward: Path, prompts: list[Prompt], section: PolicySection
) -> None:
    actors = made(tiny_model, reward, section)
    answered = answers(actors, prompts)
    # PyTorch keeps what is handed to the hook until the backward pass.
    kept: list[int] = []
    gradients = []
    for recompute in (False, True):
        actors.policy.recompute = recompute
        kept.append(0)

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[-1] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = actors.evaluate(answered)
        (out.logprobs_N.sum() + out.values_N.sum()).backward()  # type: ignore[no-untyped-call]
        found = {name: p.grad for name, p in actors.trained.named_parameters() if p.grad is not None}
        assert any(float(gradient.abs().max()) > 1e-2 for gradient in found.values())
        gradients.append(found)
        for parameter in actors.trained.parameters():
            parameter.grad = None
    assert kept[1] < kept[0] * 0.8
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-4, rtol=1e-4)


def test_policy_and_critic_on_an_adapter_of_its_own_learn_apart(
    tiny_model: Path, reward: Path, prompts: list[Prompt]
) -> None:
    gradients: dict[str, set[str]] = {}
    for what in ("logprobs_N", "values_N"):
        actors = made(tiny_model, reward, SECTIONS[3])
        getattr(actors.evaluate(answers(actors, prompts)), what).sum().backward()
        changed = [name for name, p in actors.trained.named_parameters() if p.grad is not None and p.grad.abs().sum()]
        gradients[what] = {"policy" if ".default." in name else "critic" for name in changed}
    assert gradients == {"logprobs_N": {"policy"}, "values_N": {"critic"}}
