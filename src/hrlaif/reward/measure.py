"""How good a reward model is on pairs it never saw, beside rules that only look at the length."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrlaif.metrics import wilson
from hrlaif.reward.data import TokenPair

Plain = dict[str, Any]


def measure(pairs: Sequence[TokenPair], chosen: Sequence[float], rejected: Sequence[float]) -> Plain:
    """Accuracy in all, by category and by basis, each with its 95 % interval and count; baselines; length correlation.

    A pair counts as right where the chosen response scores higher, as half right where the scores are equal. The
    baselines are right where the chosen response is the shorter (longer) one in tokens. Empty without pairs.
    """
    if not pairs:
        return {}
    right = [_right(one, other) for one, other in zip(chosen, rejected, strict=True)]
    longer = [_right(len(item.chosen.response), len(item.rejected.response)) for item in pairs]
    lengths = [len(item.chosen.response) for item in pairs] + [len(item.rejected.response) for item in pairs]
    return {
        "pairs": len(pairs),
        "prompts": len({item.pair.prompt_id for item in pairs}),
        "accuracy": _share(right),
        "by_category": _grouped(pairs, right, lambda item: item.pair.category),
        "by_basis": _grouped(pairs, right, lambda item: item.pair.basis.value),
        "baselines": {"shorter wins": _share([1 - share for share in longer]), "longer wins": _share(longer)},
        "length_correlation": correlation([*chosen, *rejected], lengths),
        "mean_score_chosen": sum(chosen) / len(chosen),
        "mean_score_rejected": sum(rejected) / len(rejected),
    }


def correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation, None where one side does not vary."""
    mean_one, mean_other = sum(one) / len(one), sum(other) / len(other)
    together = sum((a - mean_one) * (b - mean_other) for a, b in zip(one, other, strict=True))
    spread = math.sqrt(sum((a - mean_one) ** 2 for a in one) * sum((b - mean_other) ** 2 for b in other))
    return together / spread if spread > 1e-12 else None


def _right(one: float, other: float) -> float:
    return 0.5 if one == other else float(one > other)


def _share(right: Sequence[float]) -> Plain:
    return dataclasses.asdict(wilson(sum(right), len(right), name="accuracy"))


def _grouped(
    pairs: Sequence[TokenPair], right: Sequence[float], key: Callable[[TokenPair], str]
) -> Mapping[str, Plain]:
    groups: dict[str, list[float]] = {}
    for item, value in zip(pairs, right, strict=True):
        groups.setdefault(key(item), []).append(value)
    return {name: _share(values) for name, values in sorted(groups.items())}
