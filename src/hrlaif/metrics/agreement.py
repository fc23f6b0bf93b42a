"""How far raters agree, and how often one judge contradicts itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from hrlaif.metrics.shares import unmeasured, wilson
from hrlaif.types import Metric, Verdict

RESAMPLES = 1000


def agreement(ratings: Iterable[tuple[Hashable, Hashable]], *, name: str = "agreement") -> Metric:
    """Share of rows on which both raters say the same, with its Wilson interval. Leave unreadable rows out first."""
    rows = list(ratings)
    return wilson(sum(one == other for one, other in rows), len(rows), name=name)


def cohen_kappa(ratings: Iterable[tuple[Hashable, Hashable]], *, name: str = "kappa") -> Metric:
    """Agreement beyond chance, `(seen - chance) / (1 - chance)`, at most 1; 0 is chance.

    Chance comes from how often each rater uses each value. Interval: the Wilson bounds of the seen agreement put
    through the same formula, with chance taken as known. No number (NaN) without rows, or where both raters only ever
    say one and the same thing.
    """
    rows = list(ratings)
    n = len(rows)
    ones, others = Counter(one for one, _ in rows), Counter(other for _, other in rows)
    chance = sum(ones[value] * others[value] for value in ones) / (n * n) if n else 1.0
    if chance == 1.0:
        return unmeasured(name, n=n)
    seen = agreement(rows)
    value, low, high = ((share - chance) / (1 - chance) for share in (seen.value, seen.low, seen.high))
    return Metric(name, value, low, high, n)


def krippendorff_alpha(
    units: Iterable[Sequence[Hashable]], *, name: str = "alpha", seed: int = 0, resamples: int = RESAMPLES
) -> Metric:
    """Krippendorff's alpha for nominal ratings: `1 - seen / expected disagreement`; 1 is perfect, 0 is chance.

    Each unit holds the ratings that one thing got, from any number of raters; units with fewer than two say nothing.
    With n ratings in all, m_u of unit u, and n_c of value c:

        seen = sum_u sum_{c != k} n_uc n_uk / (m_u - 1) / n,    expected = sum_{c != k} n_c n_k / (n (n - 1))

    (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, part C). Interval: percentiles of `resamples`
    draws of whole units. `n` counts the units. No number (NaN) with fewer than two units or values.
    """
    # What one unit says is how often it got each value; units that say the same are counted together, so that drawing
    # them again costs little.
    kinds = Counter(frozenset(Counter(unit).items()) for unit in units if len(unit) > 1)
    n = kinds.total()
    value = _alpha(kinds)
    if value is None or n < 2:
        return unmeasured(name, n=n)
    draw = random.Random(seed)
    # In an order that is the same in every process.
    listed = sorted(kinds, key=lambda kind: sorted((str(rating), count) for rating, count in kind))
    weights = [kinds[kind] for kind in listed]
    drawn = (_alpha(Counter(draw.choices(listed, weights, k=n))) for _ in range(resamples))
    # A draw in which all ratings are one value has no alpha; it says nothing about how far off the value may be.
    found = sorted(alpha for alpha in drawn if alpha is not None)
    low, high = found[int(0.025 * len(found))], found[int(0.975 * len(found))]
    return Metric(name, value, min(value, low), max(value, high), n)


def _alpha(kinds: Counter[frozenset[tuple[Hashable, int]]]) -> float | None:
    """Alpha of units by what they say and how many of them say it."""
    totals: Counter[Hashable] = Counter()
    seen = 0.0
    for kind, times in kinds.items():
        m = 0
        squares = 0
        for rating, count in kind:
            totals[rating] += times * count
            m += count
            squares += count * count
        seen += times * (m * m - squares) / (m - 1)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    return 1 - seen * (n - 1) / expected if expected else None


def flip_rate(orders: Iterable[tuple[Verdict, Verdict]], *, name: str = "flip_rate") -> Metric:
    """Share of pairs on which a judge's verdict changes when the two responses change places.

    Each row holds the verdict on (A, B) and the verdict on (B, A), each as the judge gave it: (FIRST, SECOND) is
    consistent, (FIRST, FIRST) is a flip, and so is a tie in one order only. Rows with UNREADABLE are not counted.
    """
    rows = [(one, other) for one, other in orders if Verdict.UNREADABLE not in (one, other)]
    return wilson(sum(one.mirrored is not other for one, other in rows), len(rows), name=name)
