"""Means with bootstrap intervals: rows of one cluster (say, one prompt) are drawn together."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from statistics import NormalDist

from hrlaif.metrics.shares import Z_95, unmeasured
from hrlaif.metrics.student import student_975
from hrlaif.types import Metric

RESAMPLES = 2000
LARGE = 500
"""From this many clusters on the mean is normal enough, and resampling would only cost time and add its own noise."""


def bootstrap_mean(
    values: Sequence[float], *, name: str, seed: int, clusters: Sequence[Hashable] | None = None, unit: str = ""
) -> Metric:
    """The mean with an interval that resamples whole clusters; without `clusters` each value is its own.

    Interval: expanded percentile bootstrap, whose levels widen to what Student's t would ask for, since the plain one
    is too narrow for few clusters (Hesterberg, arXiv:1411.5279); from 500 clusters on, normal with the cluster-robust
    standard error. With fewer than two clusters nothing says how far off the mean may be: no number (NaN).
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
    if k >= LARGE:
        spread = math.sqrt(k / (k - 1) * math.fsum((s - mean * c) ** 2 for s, c in zip(sums, counts, strict=True)))
        return Metric(name, mean, mean - Z_95 * spread / n, mean + Z_95 * spread / n, n, unit)
    low, high = _expanded_percentile(sums, counts, seed)
    return Metric(name, mean, min(low, mean), max(high, mean), n, unit)


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
