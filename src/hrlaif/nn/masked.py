"""Means over the entries that count; padding never does."""

from __future__ import annotations

import torch

from hrlaif.errors import DataError


def masked_mean(x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Mean of `x` where `counts` is True.

    Raises:
        DataError: Nothing counts, so there is no mean.
    """
    if not bool(counts.any()):
        raise DataError("a mean over no tokens was asked for: every response in the batch is empty.")
    return torch.where(counts, x, torch.zeros_like(x)).sum() / counts.sum()


def whiten(x: torch.Tensor, counts: torch.Tensor, *, epsilon: float = 1e-8) -> torch.Tensor:
    """`(x - mean) / sqrt(variance + epsilon)` over the n entries that count (variance over n); 0 elsewhere."""
    mean = masked_mean(x, counts)
    variance = masked_mean((x - mean) ** 2, counts)
    return torch.where(counts, (x - mean) * torch.rsqrt(variance + epsilon), torch.zeros_like(x))


def explained_variance(predicted: torch.Tensor, actual: torch.Tensor, counts: torch.Tensor) -> float:
    """`1 - var(actual - predicted) / var(actual)` over the entries that count; 0 where `actual` does not vary."""
    rest = actual - predicted
    total = masked_mean((actual - masked_mean(actual, counts)) ** 2, counts)
    left = masked_mean((rest - masked_mean(rest, counts)) ** 2, counts)
    return 0.0 if float(total) < 1e-12 else float(1 - left / total)
