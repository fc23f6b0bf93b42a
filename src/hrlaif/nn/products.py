"""Products with frozen float32 matrices on a CPU, by the kernels of oneDNN.

torch multiplies float32 matrices on a CPU with MKL. With few rows, as in decoding, oneDNN takes half the time, and
with many a quarter less (`bench/products.py`). The operation is the one that torch.compile calls on a CPU.
It is not part of torch's public interface, so it is tried once, and plain torch is used where it is missing or gives
other numbers.
"""

from __future__ import annotations

import functools
from typing import Any

import torch


@functools.cache
def available() -> bool:
    """True where oneDNN's products are there and agree with torch's."""
    x_BI, weight_OI = torch.arange(24.0).reshape(2, 12).sin(), torch.arange(60.0).reshape(5, 12).cos()
    try:
        found = product(x_BI, weight_OI, None), product(x_BI, weight_OI.t().contiguous().t(), None)
    except (AttributeError, RuntimeError):
        return False
    return all(torch.allclose(one, x_BI @ weight_OI.t(), atol=1e-5) for one in found)


class FrozenLinear(torch.nn.Linear):
    """A linear map that is fast where its weights need no gradient, and torch's own where they do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[..., in]` to `[..., out]`."""
        suits = x.dtype == self.weight.dtype == torch.float32 and x.device.type == "cpu" and x.ndim > 1
        if not suits or (self.weight.requires_grad and torch.is_grad_enabled()):
            return super().forward(x)
        if torch.is_grad_enabled() and x.requires_grad:
            out: torch.Tensor = _Product.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return out
        return product(x, self.weight, self.bias)


class PackedLinear(torch.nn.Module):
    """A linear map for inference that keeps its weights in the order in which the product reads them."""

    def __init__(self, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> None:
        super().__init__()
        self.weight_OI = torch.ops.mkldnn._reorder_linear_weight(weight_OI, None)
        self.bias_O = bias_O

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[..., in]` to `[..., out]`, without a gradient."""
        return product(x, self.weight_OI, self.bias_O)


def hasten(model: torch.nn.Module) -> None:
    """Let the linear maps of a model use the faster products wherever these can be used."""
    if available():
        for module in model.modules():
            if type(module) is torch.nn.Linear:
                module.__class__ = FrozenLinear


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(weight_OI)
        return product(x, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight_OI,) = ctx.saved_tensors
        return product(gradients[0], weight_OI.t(), None), None, None


def product(x: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None = None) -> torch.Tensor:
    """`x @ weight_OI.T + bias_O` for float32 on a CPU, without a gradient; only where `available`."""
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight_OI, bias_O, "none", [], "")
    return out
