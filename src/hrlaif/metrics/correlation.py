"""Rank correlation with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hrlaif.metrics.shares import Z_95, unmeasured
from hrlaif.types import Metric

UNIT = "correlation"
FEWEST = 4
"""Below this many independent rows the interval has no width that means anything."""


def spearman(one: Sequence[float], other: Sequence[float], *, name: str, n: int | None = None) -> Metric:
    """Spearman's rank correlation, -1..1; equal values share the mean of their ranks.

    `n` is how many of the rows are independent (all, if left out): it is the metric's count and sets the interval,
    Fisher's z with the variance `(1 + r^2 / 2) / (n - 3)` (Bonett and Wright, Psychometrika 65, 2000). Without spread
    on one side, or with fewer than 4 independent rows, there is no number (NaN).
    """
    n = len(one) if n is None else n
    ranks_one, ranks_other = ranks(one), ranks(other)
    middle = (len(one) + 1) / 2
    together = math.fsum((a - middle) * (b - middle) for a, b in zip(ranks_one, ranks_other, strict=True))
    spread = math.sqrt(math.prod(math.fsum((a - middle) ** 2 for a in side) for side in (ranks_one, ranks_other)))
    if n < FEWEST or spread == 0:
        return unmeasured(name, n=n, unit=UNIT)
    value = max(-1.0, min(1.0, together / spread))
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, value)))
    reach = Z_95 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return Metric(name, value, min(value, math.tanh(z - reach)), max(value, math.tanh(z + reach)), n, UNIT)


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1, the lowest; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for index in order[start:end]:
            # Ranks start + 1 ... end share their mean.
            found[index] = (start + 1 + end) / 2
        start = end
    return found
