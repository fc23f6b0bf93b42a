"""How much each pair counts in the loss, and by how much its chosen response is to lead."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrlaif.config import CATEGORY, RewardSection
from hrlaif.errors import DataError
from hrlaif.reward.data import TokenPair
from hrlaif.types import Pair


def weight_of(pair: Pair, weights: Mapping[str, float]) -> float:
    """The product of the weights of the pair's basis and category, each 1 where it is not named."""
    return weights.get(pair.basis.value, 1.0) * weights.get(CATEGORY + pair.category, 1.0)


def weigh(
    train: Sequence[TokenPair], held_out: Sequence[TokenPair], section: RewardSection
) -> tuple[list[TokenPair], list[TokenPair]]:
    """Training and held-out pairs with their weights and margins; training pairs of weight 0 are left out.

    Weights are scaled to a mean of 1 over the training pairs that count, so that they shift what the model attends to
    and not the learning rate. Held-out pairs get the same scale.

    Raises:
        DataError: No training pair has a weight, or no held-out pair has where early stopping needs one.
    """
    counted = [item for item in train if weight_of(item.pair, section.weights) > 0]
    if not counted:
        raise DataError("reward.weights gives every training pair the weight 0. Raise one of them.")
    total = math.fsum(weight_of(item.pair, section.weights) for item in counted)

    def weighed(item: TokenPair) -> TokenPair:
        weight = weight_of(item.pair, section.weights) * len(counted) / total
        return dataclasses.replace(item, weight=weight, margin=section.margin.get(item.pair.basis.value, 0.0))

    measured = [weighed(item) for item in held_out]
    if section.early_stop.every and not any(item.weight for item in measured):
        raise DataError(
            "reward.early_stop has no held-out pair with a weight to look at. Make more pairs, raise reward.held_out "
            "or reward.weights, or set reward.early_stop.every to 0."
        )
    return [weighed(item) for item in counted], measured


def described(pairs: Sequence[TokenPair]) -> dict[str, Any]:
    """What the weights come to: pairs and share of all weight by basis and category.

    `effective_pairs` is how many pairs of equal weight would average as well: `(sum w)^2 / sum w^2`.
    """
    total = math.fsum(item.weight for item in pairs)

    def parts(key: Callable[[TokenPair], str]) -> dict[str, Any]:
        groups: dict[str, list[float]] = {}
        for item in pairs:
            groups.setdefault(key(item), []).append(item.weight)
        return {
            name: {"pairs": len(group), "weight_share": math.fsum(group) / total}
            for name, group in sorted(groups.items())
        }

    return {
        "effective_pairs": total**2 / math.fsum(item.weight**2 for item in pairs),
        "by_basis": parts(lambda item: item.pair.basis.value),
        "by_category": parts(lambda item: item.pair.category),
    }
