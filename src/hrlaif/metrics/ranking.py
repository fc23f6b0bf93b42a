"""Strengths of several responses from comparisons of pairs, so that what was never compared can be compared too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

PRIOR_SD = 3.0
"""In log-odds: weak, so that one sure comparison keeps most of its probability, and no strength runs away."""
_STEPS = 100


def bradley_terry(comparisons: Iterable[tuple[int, int, float]], n: int, *, prior_sd: float = PRIOR_SD) -> list[float]:
    """The strengths (log-odds) of `n` items for which the comparisons and a prior are most probable.

    A comparison is (i, j, p): items i and j in 0..n-1, and the probability 0..1 that i is better, which may contradict
    others. Bradley-Terry says `P(i is better) = sigmoid(s[i] - s[j])`; with soft wins and a normal prior, maximised is

        sum p log sigmoid(s[i] - s[j]) + (1 - p) log sigmoid(s[j] - s[i])  -  sum s[i]^2 / (2 prior_sd^2)

    so that items that always won, or that nobody compared, have a finite strength. The strengths sum to 0.
    """
    seen = list(comparisons)
    strengths = [0.0] * n
    for _ in range(_STEPS):
        slope = [-strength / prior_sd**2 for strength in strengths]
        curvature = [[float(i == j) / prior_sd**2 for j in range(n)] for i in range(n)]
        for i, j, p in seen:
            expected = preferred(strengths, i, j)
            weight = expected * (1 - expected)
            slope[i] += p - expected
            slope[j] -= p - expected
            curvature[i][i] += weight
            curvature[j][j] += weight
            curvature[i][j] -= weight
            curvature[j][i] -= weight
        step = _solve(curvature, slope)
        strengths = [strength + change for strength, change in zip(strengths, step, strict=True)]
        if max(map(abs, step), default=0.0) < 1e-10:
            break
    return strengths


def preferred(strengths: Sequence[float], i: int, j: int) -> float:
    """P(item i is better than item j), 0..1."""
    return 1 / (1 + math.exp(strengths[j] - strengths[i]))


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """`x` with `matrix x = right`, by elimination; the matrix is positive definite, so no row is exchanged."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k, pivot in enumerate(rows):
        for row in rows[k + 1 :]:
            if factor := row[k] / pivot[k]:
                row[k:] = [value - factor * above for value, above in zip(row[k:], pivot[k:], strict=True)]
    x: list[float] = []
    for k in reversed(range(len(rows))):
        *known, value = rows[k][k + 1 :]
        x.insert(0, (value - sum(a * b for a, b in zip(known, x, strict=True))) / rows[k][k])
    return x
