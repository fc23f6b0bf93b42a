"""How far two raters agree, and how often one judge contradicts itself. Each row is a pair of ratings of one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from hrlaif.metrics.shares import unmeasured, wilson
from hrlaif.types import Metric, Verdict

_MIRRORED = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST, Verdict.TIE: Verdict.TIE}


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


def flip_rate(orders: Iterable[tuple[Verdict, Verdict]], *, name: str = "flip_rate") -> Metric:
    """Share of pairs on which a judge's verdict changes when the two responses change places.

    Each row holds the verdict on (A, B) and the verdict on (B, A), each as the judge gave it: (FIRST, SECOND) is
    consistent, (FIRST, FIRST) is a flip, and so is a tie in one order only. Rows with UNREADABLE are not counted.
    """
    rows = [(one, other) for one, other in orders if Verdict.UNREADABLE not in (one, other)]
    return wilson(sum(_MIRRORED[one] is not other for one, other in rows), len(rows), name=name)
