"""Shares of rows: one share, the difference of two shares on the same rows, and a share seen through a faulty test."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

from hrlaif.errors import DataError
from hrlaif.types import Metric

Z_95 = NormalDist().inv_cdf(0.975)


def unmeasured(name: str, *, n: int = 0, unit: str = "") -> Metric:
    """The metric that has no number: value and bounds are NaN; `n` rows were there, too few to say anything."""
    return Metric(name, math.nan, math.nan, math.nan, n, unit)


def measured(metrics: Iterable[Metric]) -> dict[str, dict[str, Any]]:
    """The metrics that have a number, as plain values by name; the others are left out (JSON has no NaN)."""
    return {metric.name: dataclasses.asdict(metric) for metric in metrics if not math.isnan(metric.value)}


def wilson(successes: float, n: int, *, name: str, unit: str = "share") -> Metric:
    """A share with its Wilson score interval, which stays within 0..1 and has a width even at 0 of n.

    `(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)` with z = 1.96. Without rows (n = 0) there is no number:
    value and bounds are NaN.

    Raises:
        DataError: `successes` is not within 0..n, so the caller counted wrongly.
    """
    if not 0 <= successes <= n:
        raise DataError(f"{name}: {successes} of {n} is not a share. Count the successes among the n rows.")
    if n == 0:
        return unmeasured(name, unit=unit)
    return Metric(name, successes / n, *_wilson_bounds(successes / n, n), n, unit)


def _wilson_bounds(share: float, n: float) -> tuple[float, float]:
    shrink = 1 + Z_95**2 / n
    centre = (share + Z_95**2 / (2 * n)) / shrink
    reach = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n)) / shrink
    # Rounding can leave 0 of n a hair above its own value; the interval always holds the value.
    return min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach))


def clustered_share(clusters: Iterable[tuple[int, int]], *, name: str, unit: str = "share") -> Metric:
    """The share of all rows of clusters `(successes, rows)`, e.g. one prompt's; `n` counts the clusters that have rows.

    The rows of a cluster are taken to stand or fall together, which is the widest that their dependence can make the
    interval: Wilson's, of `(sum m)^2 / sum m^2` rows for clusters of m rows (Kish's effective size).
    """
    found = [one for one in clusters if one[1]]
    rows = sum(m for _, m in found)
    if not rows:
        return unmeasured(name, unit=unit)
    share = sum(right for right, _ in found) / rows
    effective = rows**2 / sum(m**2 for _, m in found)
    return Metric(name, share, *_wilson_bounds(share, effective), len(found), unit)


def paired_shares(rows: Iterable[tuple[bool, bool]], *, name: str, unit: str = "share") -> Metric:
    """Share of the first minus share of the second on the same rows, -1..1.

    With b rows that only the first has, and c that only the second has, the value is `(b - c) / n`. Interval: 0.5 added
    to each cell of the two by two table, then Wald ("Wald+2": Agresti and Min, Statistics in Medicine 24, 2005), which
    has a width even where the two never differ.
    """
    counts = [(first, second) for first, second in rows]
    n = len(counts)
    if n == 0:
        return unmeasured(name, unit=unit)
    b, c = _discordant(counts)
    low, high = _wald_plus_2(b, c, n)
    return Metric(name, (b - c) / n, low, high, n, unit)


def paired_test(rows: Sequence[tuple[bool, bool]], *, name: str) -> dict[str, Any]:
    """`paired_shares` as plain values, with `only_first`, `only_second` (rows that only one has) and McNemar's `p`."""
    only_first, only_second = _discordant(rows)
    return {
        **dataclasses.asdict(paired_shares(rows, name=name)),
        "only_first": only_first,
        "only_second": only_second,
        "p": mcnemar(only_first, only_second),
    }


def _discordant(rows: Sequence[tuple[bool, bool]]) -> tuple[int, int]:
    """How many rows only the first has, and how many only the second has."""
    return sum(first and not second for first, second in rows), sum(second and not first for first, second in rows)


def _wald_plus_2(b: int, c: int, n: int) -> tuple[float, float]:
    """Bounds of `(b - c) / n`, within -1..1; they hold the value for every b + c <= n."""
    centre = (b - c) / (n + 2)
    reach = Z_95 * math.sqrt(b + c + 1 - (b - c) ** 2 / (n + 2)) / (n + 2)
    return max(-1.0, centre - reach), min(1.0, centre + reach)


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p-value that b and c (rows that only one of two arms has) come from a fair coin; 1 if none."""
    n, fewer = b + c, min(b, c)
    ways, tail = 1, 0
    for k in range(fewer + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << n))


class Seen(NamedTuple):
    """How many of a number of rows a test got right."""

    right: int
    n: int


def corrected_share(successes: int, n: int, *, sensitivity: Seen, specificity: Seen, name: str) -> Metric:
    """The true share behind one that was counted by a judge who errs (Rogan and Gladen 1978), clipped to 0..1.

    `(p + sp - 1) / (se + sp - 1)`, with p the share that the judge counts, se the share of the labelled positives that
    it finds and sp that of the labelled negatives that it passes. The interval holds the uncertainty of all three (Lang
    and Reiczigel, Preventive Veterinary Medicine 113, 2014: the delta method on shrunken shares, its centre moved by
    `2 z^2 (P se(1-se)/n_se - (1-P) sp(1-sp)/n_sp)`). Without rows (n = 0) there is no number.

    Raises:
        DataError: se + sp <= 1, so the judge's yes carries no news.
    """
    check_corrects(sensitivity, specificity, name=name)
    if n == 0:
        return unmeasured(name, unit="share")
    seen = wilson(successes, n, name=name)
    se, sp = (one.right / one.n for one in (sensitivity, specificity))
    value = _within((seen.value + sp - 1) / (se + sp - 1))
    shrunk = (successes + Z_95**2 / 2) / (n + Z_95**2)
    se, sp = ((one.right + 1) / (one.n + 2) for one in (sensitivity, specificity))
    news = se + sp - 1
    if news <= 0:  # so few labelled rows that the judge may be at chance: nothing is known
        return Metric(name, value, 0.0, 1.0, n, "share")
    share = (shrunk + sp - 1) / news
    of_se, of_sp = se * (1 - se) / (sensitivity.n + 2), sp * (1 - sp) / (specificity.n + 2)
    centre = share + 2 * Z_95**2 * (share * of_se - (1 - share) * of_sp)
    spread = shrunk * (1 - shrunk) / (n + Z_95**2) + share**2 * of_se + (1 - share) ** 2 * of_sp
    reach = Z_95 * math.sqrt(spread) / news
    return Metric(name, value, min(value, _within(centre - reach)), max(value, _within(centre + reach)), n, "share")


def check_corrects(sensitivity: Seen, specificity: Seen, *, name: str) -> None:
    """See that a judge's counts can be corrected.

    Raises:
        DataError: It was measured on no row of one kind, or sensitivity and specificity add up to 1 or less.
    """
    if not (sensitivity.n and specificity.n):
        raise DataError(f"{name}: correcting a judge's counts takes labelled rows of both kinds. Label some more.")
    se, sp = (one.right / one.n for one in (sensitivity, specificity))
    if se + sp <= 1:
        raise DataError(
            f"{name}: a judge with sensitivity {se:.3f} and specificity {sp:.3f} is no better than chance (they add up "
            "to 1 or less), so its counts cannot be corrected. Use a better judge."
        )


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
