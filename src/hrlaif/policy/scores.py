"""Reward-model scores on a scale that does not depend on the reward model."""

from __future__ import annotations

import math
from typing import Literal

import torch


class Normaliser:
    """Clips scores, then brings them to mean 0 and standard deviation 1.

    `running`: over all scores seen so far, this batch included (Welford, in Chan's form for batches). `batch`:
    over this batch alone. `none`: clips only.
    """

    def __init__(self, mode: Literal["running", "batch", "none"], *, clip: float) -> None:
        self.mode, self.clip = mode, clip
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def __call__(self, scores_B: torch.Tensor) -> torch.Tensor:
        """Normalised scores of one batch; in `running` mode the batch counts from now on."""
        clipped_B = scores_B.clamp(-self.clip, self.clip)
        if self.mode == "none":
            return clipped_B
        if self.mode == "batch":
            self.count, self.mean, self.squares = 0, 0.0, 0.0
        self._add(clipped_B)
        return self.scaled(scores_B)

    def scaled(self, scores_B: torch.Tensor) -> torch.Tensor:
        """Scores on the scale of those seen so far, without counting among them; only moved where these were equal."""
        clipped_B = scores_B.clamp(-self.clip, self.clip)
        if self.mode == "none":
            return clipped_B
        deviation = math.sqrt(self.squares / self.count)
        return (clipped_B - self.mean) / (deviation + 1e-6 if deviation > 1e-6 else 1.0)

    def _add(self, scores_B: torch.Tensor) -> None:
        new = len(scores_B)
        mean = float(scores_B.double().mean())
        squares = float(((scores_B.double() - mean) ** 2).sum())
        gap, total = mean - self.mean, self.count + new
        self.squares += squares + gap * gap * self.count * new / total
        self.mean += gap * new / total
        self.count = total

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def restore(self, state: dict[str, float]) -> None:
        """Take up a checkpoint's state."""
        self.count, self.mean, self.squares = int(state["count"]), state["mean"], state["squares"]


def adapted_kl_weight(kl_weight: float, kl_nats: float, *, target_nats: float) -> float:
    """The KL weight of the next step, moved by at most a fifth towards the target; unchanged for target 0.

    `kl_weight * (1 + clamp(kl / target - 1, -0.2, 0.2))`. (Ziegler et al., arXiv:1909.08593, section 2.2, with gain 1.)
    """
    if target_nats == 0:
        return kl_weight
    return kl_weight * (1 + min(0.2, max(-0.2, kl_nats / target_nats - 1)))
