"""Tests of adapters on one backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from hrlaif.config import LoraSection
from hrlaif.errors import ModelError
from hrlaif.nn.adapters import (
    CRITIC,
    REWARD,
    add_critic,
    attach_reward,
    merged,
    save_trained,
    trainable,
    untouched_layers,
    using,
)
from hrlaif.nn.backbone import Backbone, placement

PLACE = placement("cpu", "auto")
TOKENS = torch.tensor([[5, 6, 7, 8]])


def spoiled(backbone: Backbone) -> Backbone:
    """The backbone with adapters that do something: PEFT starts them without effect."""
    for name, parameter in backbone.model.named_parameters():
        if parameter.requires_grad and "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return backbone


@torch.no_grad()
def states(backbone: Backbone) -> torch.Tensor:
    return backbone.trunk(input_ids=TOKENS).last_hidden_state


def test_without_adapters_the_backbone_is_the_start_bit_for_bit(tiny_model: Path) -> None:
    start = AutoModelForCausalLM.from_pretrained(tiny_model)
    policy = spoiled(trainable(str(tiny_model), LoraSection(), PLACE, seed=0))
    adapted = states(policy)
    with using(policy.model, None):
        assert torch.equal(states(policy), start.base_model(input_ids=TOKENS).last_hidden_state)
    assert torch.equal(states(policy), adapted)
    assert not torch.allclose(adapted, start.base_model(input_ids=TOKENS).last_hidden_state, atol=0.01)


def test_merged_for_decoding_the_states_are_the_policys_and_afterwards_nothing_has_changed(
    tiny_model: Path, tmp_path: Path
) -> None:
    scorer = spoiled(trainable(str(tiny_model), LoraSection(rank=4), PLACE, seed=1, scorer=True))
    save_trained(scorer, tmp_path / "reward")
    policy = spoiled(trainable(str(tiny_model), LoraSection(layers=1), PLACE, seed=0))
    # The reward model adapts more layers than the policy: those must be the plain base while the policy decodes.
    attach_reward(policy, tmp_path / "reward")
    before = {name: tensor.clone() for name, tensor in policy.model.named_parameters()}
    beside = states(policy)
    with merged(policy):
        assert not any("lora_" in name for name, _ in policy.trunk.named_parameters())
        torch.testing.assert_close(states(policy), beside, atol=1e-5, rtol=1e-5)
    assert torch.equal(states(policy), beside)
    after = dict(policy.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_in_half_precision_the_adapter_stays_beside_the_weights(tiny_model: Path) -> None:
    policy = spoiled(trainable(str(tiny_model), LoraSection(), placement("cpu", "bfloat16"), seed=0))
    beside = states(policy)
    with merged(policy):
        assert torch.equal(states(policy), beside)


def test_only_the_policys_adapter_is_trained_also_after_the_others_were_used(tiny_model: Path, tmp_path: Path) -> None:
    scorer = spoiled(trainable(str(tiny_model), LoraSection(rank=4), PLACE, seed=1, scorer=True))
    save_trained(scorer, tmp_path / "reward")
    policy = trainable(str(tiny_model), LoraSection(rank=8), PLACE, seed=0)
    before = [name for name, parameter in policy.model.named_parameters() if parameter.requires_grad]
    attach_reward(policy, tmp_path / "reward")
    for role in (None, REWARD):
        with using(policy.model, role):
            states(policy)
    after = [name for name, parameter in policy.model.named_parameters() if parameter.requires_grad]
    assert before == after
    assert all(".default." in name for name in after)


def test_the_reward_adapter_beside_the_policys_gives_the_reward_models_states(tiny_model: Path, tmp_path: Path) -> None:
    scorer = spoiled(trainable(str(tiny_model), LoraSection(rank=4), PLACE, seed=1, scorer=True))
    save_trained(scorer, tmp_path / "reward")
    policy = spoiled(trainable(str(tiny_model), LoraSection(rank=8), PLACE, seed=0))
    own = states(policy)
    head = attach_reward(policy, tmp_path / "reward")
    with using(policy.model, REWARD):
        torch.testing.assert_close(states(policy), states(scorer))
        torch.testing.assert_close(head(states(policy)), scorer.inner.score(states(scorer)))
    assert torch.equal(states(policy), own)


def test_a_reward_adapter_of_another_shape_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    policy = trainable(str(tiny_model), LoraSection(), PLACE, seed=0)
    save_trained(policy, tmp_path / "policy")
    with pytest.raises(ModelError, match="no score head"):
        attach_reward(policy, tmp_path / "policy")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_saved_adapter_names_its_base_and_loads_with_plain_peft(tiny_model: Path, tmp_path: Path) -> None:
    policy = spoiled(trainable(str(tiny_model), LoraSection(layers=1), PLACE, seed=0))
    save_trained(policy, tmp_path / "policy")
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path / "policy")
    assert loaded.peft_config["default"].base_model_name_or_path == str(tiny_model)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.get_base_model().base_model(input_ids=TOKENS).last_hidden_state, states(policy)
        )


def test_adapters_on_the_top_layer_leave_the_one_below_untouched(tiny_model: Path) -> None:
    assert untouched_layers(trainable(str(tiny_model), LoraSection(layers=1), PLACE, seed=0)) == 1
    assert untouched_layers(trainable(str(tiny_model), LoraSection(), PLACE, seed=0)) == 0
    assert untouched_layers(trainable(str(tiny_model), LoraSection(rank=0), PLACE, seed=0)) == 0


def test_the_seed_decides_the_adapters_start(tiny_model: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        model = trainable(str(tiny_model), LoraSection(), PLACE, seed=seed).model
        return next(parameter for name, parameter in model.named_parameters() if "lora_A" in name).detach()

    assert torch.equal(start(0), start(0))
    assert not torch.equal(start(0), start(1))


def test_a_critics_adapter_is_trained_beside_the_policys_and_changes_nothing_of_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    scorer = spoiled(trainable(str(tiny_model), LoraSection(rank=4), PLACE, seed=1, scorer=True))
    save_trained(scorer, tmp_path / "reward")
    policy = spoiled(trainable(str(tiny_model), LoraSection(rank=8), PLACE, seed=0))
    own = states(policy)
    attach_reward(policy, tmp_path / "reward")
    add_critic(policy, LoraSection(rank=8), seed=0)
    assert torch.equal(states(policy), own)
    with using(policy.model, CRITIC):
        start = states(policy)
    with using(policy.model, None):
        torch.testing.assert_close(states(policy), start)
    with using(policy.model, REWARD):
        states(policy)
    trained = {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[-2] for name in trained} == {"default", "critic"}
    assert len([name for name in trained if ".critic." in name]) == len(trained) / 2
    save_trained(policy, tmp_path / "policy")
    assert not any("critic" in path.name for path in (tmp_path / "policy").rglob("*"))
    assert torch.equal(states(policy), own)
