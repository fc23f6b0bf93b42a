"""Means with bootstrap intervals: rows of one cluster (say, one prompt) are drawn together."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from statistics import NormalDist

from hrlaif.metrics.shares import unmeasured
from hrlaif.metrics.student import student_975
from hrlaif.types import Metric

RESAMPLES = 2000
LARGE = 500
"""From this many clusters on resampling would only cost time and add its own noise."""


def bootstrap_mean(
    values: Sequence[float], *, name: str, seed: int, clusters: Sequence[Hashable] | None = None, unit: str = ""
) -> Metric:
    """The mean with an interval that resamples whole clusters; without `clusters` each value is its own.

    Interval: the hull of three, each of which is too narrow alone for few clusters or skewed values: the expanded
    percentile bootstrap, whose levels widen to what Student's t would ask for (Hesterberg, arXiv:1411.5279); Student's
    t with the cluster-robust standard error s; and that adjusted for the skewness g of k clusters (Johnson, JASA 73,
    1978), `mean + s (g (1 + 2 t^2) / (6 sqrt(k)) +- t)`. From 500 clusters on the bootstrap is left out. With fewer
    than two clusters nothing says how far off the mean may be: no number (NaN).
    """
    totals: dict[Hashable, tuple[float, int]] = {}
    for index, value in enumerate(values):
        key = index if clusters is None else clusters[index]
        total, count = totals.get(key, (0.0, 0))
        totals[key] = (total + value, count + 1)
    n, k = len(values), len(totals)
    if k < 2:
        return unmeasured(name, n=n, unit=unit)
    sums = [total for total, _ in totals.values()]
    counts = [count for _, count in totals.values()]
    mean = math.fsum(sums) / n
    bounds = [mean, *_student(mean, [s - mean * c for s, c in zip(sums, counts, strict=True)], n)]
    if k < LARGE:
        bounds += _expanded_percentile(sums, counts, seed)
    return Metric(name, mean, min(bounds), max(bounds), n, unit)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    name: str,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    unit: str = "",
) -> Metric:
    """Mean of first minus second, value by value on the same rows; see `bootstrap_mean` for interval and clusters."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return bootstrap_mean(differences, name=name, seed=seed, clusters=clusters, unit=unit)


def _student(mean: float, rests: Sequence[float], n: int) -> list[float]:
    """The bounds of Student's interval, and of the one for skewed clusters; `rests` are what each is off by, summed."""
    k = len(rests)
    squares = math.fsum(rest**2 for rest in rests)
    if not squares:
        return [mean]
    error, t = math.sqrt(k / (k - 1) * squares) / n, student_975(k - 1)
    skewness = math.fsum(rest**3 for rest in rests) / k / (squares / k) ** 1.5
    shift = skewness * (1 + 2 * t * t) / (6 * math.sqrt(k))
    return [mean + error * (move + side * t) for move in (0.0, shift) for side in (-1, 1)]


def _expanded_percentile(sums: Sequence[float], counts: Sequence[int], seed: int) -> tuple[float, float]:
    k = len(sums)
    draw = random.Random(seed)
    if set(counts) == {1}:
        means = [sum(draw.choices(sums, k=k)) / k for _ in range(RESAMPLES)]
    else:
        clusters = list(zip(sums, counts, strict=True))
        picked = (zip(*draw.choices(clusters, k=k), strict=True) for _ in range(RESAMPLES))
        means = [sum(total) / sum(count) for total, count in picked]
    means.sort()
    level = NormalDist().cdf(-student_975(k - 1) * math.sqrt(k / (k - 1)))
    return _quantile(means, level), _quantile(means, 1 - level)


def _quantile(ordered: Sequence[float], level: float) -> float:
    place = level * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 2)
    return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
