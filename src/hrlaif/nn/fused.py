"""A linear map and its low-rank adapter as one operation, with the gradients written by hand.

PEFT adds `lora_B(lora_A(x)) * scaling` to the base map's output in three steps of the output's full size, and as many
on the way back. Here the small products are added in place. Layers stay PEFT's in all else: names, saving, switching.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear

from hrlaif.nn.products import available, product


class FusedLinear(LoraLinear):  # type: ignore[misc]
    """PEFT's layer, where it has exactly one adapter to run, in one number format and without dropout, fused.

    PEFT finds the layers for a further adapter by the word Linear in the name of their class.
    """

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`[..., in]` to `[..., out]`, as PEFT computes it up to rounding."""
        running = [name for name in self.active_adapters if name in self.lora_A]
        if args or kwargs or self.disable_adapters or self.merged or len(running) != 1:
            return self._as_peft(x, *args, **kwargs)
        (name,) = running
        base, down, up = self.get_base_layer(), self.lora_A[name], self.lora_B[name]
        drops = self.training and not isinstance(self.lora_dropout[name], torch.nn.Identity)
        dtypes = {x.dtype, base.weight.dtype, down.weight.dtype}
        is_special = drops or name in self.lora_variant or up.bias is not None
        if is_special or len(dtypes) > 1 or base.weight.requires_grad:
            return self._as_peft(x)
        rows_NI = x.reshape(-1, x.shape[-1])
        weights = (base.weight, base.bias, down.weight, up.weight)
        out_NO: torch.Tensor = _Sum.apply(rows_NI, *weights, self.scaling[name])  # type: ignore[no-untyped-call]
        return out_NO.view(*x.shape[:-1], out_NO.shape[-1])

    def _as_peft(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        out: torch.Tensor = super().forward(*args, **kwargs)
        return out


def fuse(model: torch.nn.Module) -> None:
    """Let every adapted linear map of a PEFT model run fused wherever it can."""
    for module in model.modules():
        if type(module) is LoraLinear:
            module.__class__ = FusedLinear


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_NI: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        down_RI: torch.Tensor,
        up_OR: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        low_NR = x_NI @ down_RI.t()
        ctx.save_for_backward(x_NI, weight_OI, down_RI, up_OR, low_NR)
        ctx.scaling = scaling
        return _times(x_NI, weight_OI, bias_O).addmm_(low_NR, up_OR.t(), alpha=scaling)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_NI, weight_OI, down_RI, up_OR, low_NR = ctx.saved_tensors
        needs_x, _, _, needs_down, needs_up, _ = ctx.needs_input_grad
        (grad_NO,) = gradients
        grad_low_NR = grad_NO @ up_OR * ctx.scaling
        grad_x_NI = _times(grad_NO, weight_OI.t(), None).addmm_(grad_low_NR, down_RI) if needs_x else None
        grad_down_RI = grad_low_NR.t() @ x_NI if needs_down else None
        grad_up_OR = (grad_NO.t() @ low_NR).mul_(ctx.scaling) if needs_up else None
        return grad_x_NI, None, None, grad_down_RI, grad_up_OR, None


def _times(x_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
    if x_NI.device.type == "cpu" and x_NI.dtype == torch.float32 and available():
        return product(x_NI, weight_OI, bias_O)
    return torch.nn.functional.linear(x_NI, weight_OI, bias_O)
