"""Whether probabilities mean what they say: calibration of a two-way choice, its loss, and its curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hrlaif.metrics.shares import wilson
from hrlaif.types import Metric

BINS = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """Choices whose confidence lies within `low`..`high`: their mean confidence, and how often they were right."""

    low: float
    high: float
    predicted: float
    observed: Metric


def curve(predicted: Sequence[float], labels: Sequence[float], *, bins: int = BINS) -> list[Bin]:
    """The calibration curve over equal bins of confidence, 0.5..1; empty bins are left out.

    `predicted` is P(the first of two is better) and `labels` the probability that it is, as far as is known (1 or 0
    where that is certain). A choice is the side that `predicted` prefers: which of two stands first changes nothing.
    Observed is the mean probability that the preferred side is the better one, as a Wilson share.
    """
    choices = [_preferred(p, label) for p, label in zip(predicted, labels, strict=True)]
    found = []
    for number in range(bins):
        low, high = 0.5 + number / (2 * bins), 0.5 + (number + 1) / (2 * bins)
        members = [choice for choice in choices if min(int((choice[0] - 0.5) * 2 * bins), bins - 1) == number]
        if members:
            mean = math.fsum(confidence for confidence, _ in members) / len(members)
            right = min(math.fsum(agrees for _, agrees in members), len(members))
            found.append(Bin(low, high, mean, wilson(right, len(members), name="observed")))
    return found


def expected_calibration_error(found: Sequence[Bin]) -> float:
    """The mean distance between confidence and observed share, over all choices of a curve."""
    n = sum(one.observed.n for one in found)
    return math.fsum(one.observed.n * abs(one.predicted - one.observed.value) for one in found) / n


def log_loss(predicted: Sequence[float], labels: Sequence[float]) -> float:
    """Mean of `-(label log p + (1 - label) log(1 - p))` in nats; log 2 = 0.693 for a coin."""
    losses = [
        -(label * math.log(max(p, 1e-300)) + (1 - label) * math.log(max(1 - p, 1e-300)))
        for p, label in zip(predicted, labels, strict=True)
    ]
    return math.fsum(losses) / len(losses)


def brier(predicted: Sequence[float], labels: Sequence[float]) -> float:
    """Mean of `label (1 - p)^2 + (1 - label) p^2`; 0.25 for a coin."""
    losses = [label * (1 - p) ** 2 + (1 - label) * p**2 for p, label in zip(predicted, labels, strict=True)]
    return math.fsum(losses) / len(losses)


def _preferred(p: float, label: float) -> tuple[float, float]:
    """(confidence, probability that the choice is right). At 0.5 nothing is preferred: right half the time."""
    if p == 0.5:
        return 0.5, 0.5
    return (p, label) if p > 0.5 else (1 - p, 1 - label)
