"""Whether probabilities mean what they say: calibration of a two-way choice, its loss, and its curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hrlaif.metrics.shares import Z_95, unmeasured, wilson
from hrlaif.types import Metric

BINS = 5
# A probability nearer to 0 or 1 is taken for this one, and a steeper slope is not looked for.
SURE = 1e-6
MOST_SLOPE = 100.0


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


def sigmoid(x: float) -> float:
    """`1 / (1 + exp(-x))`, for any x."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def logit(p: float) -> float:
    """`log(p / (1 - p))`, with p kept `SURE` away from 0 and 1."""
    p = min(max(p, SURE), 1 - SURE)
    return math.log(p / (1 - p))


def platt_slope(right: Sequence[float]) -> Metric:
    """The b with which `sigmoid(b * x)` fits how often a side is right, from the log-odds x that each right side got: 1
    where they can be taken at their word, below 1 where they are too sure, 0 where they say nothing.

    Platt scaling (Platt 1999, with its smoothed targets, so that log-odds without a mistake get a finite slope), but
    without an intercept. Wald interval; without rows that say anything there is no number (NaN).
    """
    target = (len(right) + 1) / (len(right) + 2)

    def rises(b: float) -> bool:
        return math.fsum(x * (target - sigmoid(b * x)) for x in right) > 0

    low, high = 0.0, 1.0
    while rises(high) and high < MOST_SLOPE:
        low, high = high, 2 * high
    for _ in range(60):
        low, high = (middle, high) if rises(middle := (low + high) / 2) else (low, middle)
    found = (low + high) / 2
    information = math.fsum(x * x * sigmoid(found * x) * sigmoid(-found * x) for x in right)
    if not information:
        return unmeasured("slope", n=len(right))
    off = Z_95 / math.sqrt(information)
    return Metric("slope", found, max(0.0, found - off), found + off, len(right))


def _preferred(p: float, label: float) -> tuple[float, float]:
    """(confidence, probability that the choice is right). At 0.5 nothing is preferred: right half the time."""
    if p == 0.5:
        return 0.5, 0.5
    return (p, label) if p > 0.5 else (1 - p, 1 - label)
