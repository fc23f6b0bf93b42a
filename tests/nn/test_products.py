"""Tests of products with frozen matrices: the numbers and gradients are torch's own, whatever the layout."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from hrlaif.nn.products import FrozenLinear, PackedLinear, available, hasten

pytestmark = pytest.mark.skipif(not available(), reason="this build of torch has no oneDNN products")


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def plain(request: pytest.FixtureRequest) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(24, 40, bias=request.param).requires_grad_(False)


def frozen(plain: torch.nn.Linear) -> torch.nn.Linear:
    fast = copy.deepcopy(plain)
    hasten(fast)
    assert type(fast) is FrozenLinear
    return fast


VIEWS = {
    "one row": lambda leaf: leaf[0, :1],
    "batches": lambda leaf: leaf,
    "a part of each row": lambda leaf: leaf[:, 2:5],
    "the last of each row": lambda leaf: leaf[:, -1],
    "transposed": lambda leaf: leaf[0].t().contiguous().t(),
    "no rows": lambda leaf: leaf[:0],
    "a single vector": lambda leaf: leaf[0, 0],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_outputs_and_gradients_are_those_of_torch(
    plain: torch.nn.Linear, view: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    data, weights_O = torch.randn(3, 7, 24), torch.randn(40)
    results = []
    for layer in (plain, frozen(plain)):
        leaf = data.clone().requires_grad_()
        out = layer(view(leaf))
        (out.sin() @ weights_O).sum().backward()
        with torch.no_grad():
            results.append((out.detach(), leaf.grad, layer(view(data))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    packed = PackedLinear(plain.weight, plain.bias)(view(data))
    torch.testing.assert_close(packed, plain(view(data)), rtol=1e-5, atol=1e-5)


def test_a_gradient_that_is_not_laid_out_row_by_row_is_right_too(plain: torch.nn.Linear) -> None:
    found = []
    for layer in (plain, frozen(plain)):
        x = torch.linspace(-1, 1, 4 * 24).reshape(4, 24).requires_grad_()
        layer(x).t().contiguous().cumsum(dim=1).sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)


def test_weights_that_are_trained_get_their_gradient(plain: torch.nn.Linear) -> None:
    layer = frozen(plain).requires_grad_(True)
    layer(torch.ones(2, 24)).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.full((40, 24), 2.0))


def test_half_precision_is_left_to_torch(plain: torch.nn.Linear) -> None:
    x = torch.randn(2, 24, dtype=torch.bfloat16)
    layer = frozen(plain).to(torch.bfloat16)
    assert torch.equal(layer(x), plain.to(torch.bfloat16)(x))
