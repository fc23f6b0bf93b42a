"""One optimiser step, the same for reward model and policy, in one process or several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from hrlaif.errors import ModelError
from hrlaif.nn.processes import sum_gradients


def optimiser(parameters: Sequence[torch.nn.Parameter], *, learning_rate: float) -> torch.optim.AdamW:
    """AdamW without weight decay: adapters start at zero and should not be pulled anywhere."""
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def step(optimizer: torch.optim.Optimizer, *, learning_rate: float, max_grad_norm: float, where: str) -> float:
    """Add the gradients of all processes up, clip, take one step, forget them; returns their norm before clipping.

    Raises:
        ModelError: The gradients are not finite; `where` says which step of what. The weights are untouched.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sum_gradients(parameters)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm))
    if not math.isfinite(norm):
        raise ModelError(
            f"{where}: the gradients are {norm}, so training diverged here. Lower learning_rate (for PPO also raise "
            "kl_weight) and run again. The last checkpoint is from before this step."
        )
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def warmed_up(learning_rate: float, step_index: int, warmup_steps: int) -> float:
    """The learning rate of step 0, 1, ...: rising in equal parts to its full value over `warmup_steps`."""
    return learning_rate * min(1.0, (step_index + 1) / (warmup_steps + 1))


def falling(learning_rate: float, step_index: int, steps: int) -> float:
    """The learning rate of step 0, 1, ...: from its full value in equal parts towards zero, which it never reaches."""
    return learning_rate * (steps - step_index) / steps


def decayed(learning_rate: float, step_index: int, steps: int) -> float:
    """A tenth of the steps warms up, the rest falls in equal parts towards zero."""
    warmup = steps // 10
    left = (steps - step_index) / (steps - warmup)
    return warmed_up(learning_rate, step_index, warmup) * min(1.0, left)
