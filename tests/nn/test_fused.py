"""Tests of the fused adapter layer: what PEFT computes, gradients included, and PEFT itself where it cannot be used."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear

from hrlaif.nn.fused import FusedLinear, fuse
from hrlaif.nn.products import hasten


def adapted(*, bias: bool = True, dropout: float = 0.0, dora: bool = False) -> Any:
    """A PEFT model of two maps with one adapter each, all of whose weights are drawn."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(12, 20, bias=bias), torch.nn.Tanh(), torch.nn.Linear(20, 8, bias=bias))
    config = LoraConfig(
        r=4, lora_alpha=10, target_modules=["0", "2"], lora_dropout=dropout, use_dora=dora, init_lora_weights=False
    )
    return get_peft_model(model, config).eval()


def fused(model: Any) -> Any:
    fast = copy.deepcopy(model)
    hasten(fast)
    fuse(fast)
    assert {type(module) for module in fast.modules() if isinstance(module, LoraLinear)} == {FusedLinear}
    return fast


def outputs_and_gradients(model: Any, x: torch.Tensor) -> list[torch.Tensor]:
    leaf = x.clone().requires_grad_()
    out = model(leaf)
    out.sin().sum().backward()
    return [out.detach(), leaf.grad, *(p.grad for _, p in sorted(model.named_parameters()) if p.grad is not None)]


def assert_same(model: Any, x: torch.Tensor) -> None:
    ours, theirs = (outputs_and_gradients(one, x) for one in (fused(model), model))
    # Output, gradient of the input, and two matrices in each of two layers.
    assert len(ours) == len(theirs) >= 6
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_all_gradients_are_those_of_peft(bias: bool) -> None:
    assert_same(adapted(bias=bias), torch.randn(3, 5, 12))


def test_two_adapters_at_once_dora_and_an_adapter_switched_off_are_left_to_peft() -> None:
    x = torch.randn(4, 12)
    assert_same(adapted(dora=True), x)
    model = adapted()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["0"], init_lora_weights=False))
    model.base_model.set_adapter(["default", "second"])
    assert_same(model, x)
    with torch.no_grad():
        fast = fused(model)
        with model.disable_adapter(), fast.disable_adapter():
            torch.testing.assert_close(fast(x), model(x))


def test_each_of_several_adapters_runs_with_its_own_weights() -> None:
    x = torch.randn(4, 12)
    model = adapted()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["0"], init_lora_weights=False))
    fast = fused(model)
    with torch.no_grad():
        for name in ("default", "second"):
            model.set_adapter(name)
            fast.set_adapter(name)
            torch.testing.assert_close(fast(x), model(x))


def test_dropout_is_peft_s_while_training() -> None:
    x = torch.randn(64, 12)
    fast = fused(adapted(dropout=0.5)).train()
    with torch.no_grad():
        assert not torch.equal(fast(x), fast(x))
        torch.testing.assert_close(fast.eval()(x), adapted(dropout=0.5)(x))


def test_an_adapter_in_float32_on_a_backbone_in_half_precision_is_left_to_peft() -> None:
    model = adapted()
    for module in model.modules():
        if isinstance(module, LoraLinear):
            module.base_layer.to(torch.bfloat16)
    x = torch.randn(2, 12, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(fused(model)(x), model(x))


def test_a_layer_whose_input_needs_no_gradient_gets_its_own() -> None:
    model = adapted()
    found = []
    for one in (model, fused(model)):
        one(torch.ones(2, 12)).sum().backward()
        found.append({name: p.grad for name, p in one.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)
