"""How good a reward model is on pairs it never saw: accuracy, calibration, and what it owes to length."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hrlaif.metrics import measured, spearman, wilson
from hrlaif.metrics.calibration import brier, curve, expected_calibration_error, log_loss, sigmoid
from hrlaif.reward.data import TokenPair

Plain = dict[str, Any]


def measure(pairs: Sequence[TokenPair], chosen: Sequence[float], rejected: Sequence[float]) -> Plain:
    """Accuracy in all, by category and by basis, each with its 95 % interval and count; baselines, calibration, length.

    A pair counts as right where the chosen response scores higher, as half right where the scores are equal. The
    baselines are right where the chosen response is the shorter (longer) one in tokens. Empty without pairs.
    """
    if not pairs:
        return {}
    right = [_right(one, other) for one, other in zip(chosen, rejected, strict=True)]
    longer = [_right(len(item.chosen.response), len(item.rejected.response)) for item in pairs]
    return {
        "pairs": len(pairs),
        "prompts": len({item.pair.prompt_id for item in pairs}),
        "accuracy": _share(right),
        "by_category": _grouped(pairs, right, lambda item: item.pair.category),
        "by_basis": _grouped(pairs, right, lambda item: item.pair.basis.value),
        "baselines": {"shorter wins": _share([1 - share for share in longer]), "longer wins": _share(longer)},
        "calibration": calibration(pairs, chosen, rejected),
        "length_correlation": length_correlation(pairs, chosen, rejected),
        "mean_score_chosen": sum(chosen) / len(chosen),
        "mean_score_rejected": sum(rejected) / len(rejected),
    }


def calibration(pairs: Sequence[TokenPair], chosen: Sequence[float], rejected: Sequence[float]) -> Plain:
    """How far P(chosen beats rejected) = sigmoid(chosen - rejected) can be taken at its word, against the soft labels.

    `log_loss` in nats and `brier` stand beside what the labels themselves would get (`label_log_loss`,
    `label_brier`): no model can do better on these pairs.
    """
    predicted = [sigmoid(one - other) for one, other in zip(chosen, rejected, strict=True)]
    labels = [item.pair.probability for item in pairs]
    bins = curve(predicted, labels)
    return {
        "expected_error": expected_calibration_error(bins),
        "log_loss": log_loss(predicted, labels),
        "label_log_loss": log_loss(labels, labels),
        "brier": brier(predicted, labels),
        "label_brier": brier(labels, labels),
        "curve": [dataclasses.asdict(one) for one in bins],
    }


def length_correlation(pairs: Sequence[TokenPair], chosen: Sequence[float], rejected: Sequence[float]) -> Plain:
    """Spearman's correlation of scores with response tokens: over all responses, and within pairs (differences).

    Within pairs every difference is taken both ways round, so that it does not matter which side was chosen. Responses
    of one pair are not independent: the count, and so the interval, is that of pairs.
    """
    scores = [*chosen, *rejected]
    lengths = [len(item.chosen.response) for item in pairs] + [len(item.rejected.response) for item in pairs]
    leads = [one - other for one, other in zip(chosen, rejected, strict=True)]
    longer_by = [len(item.chosen.response) - len(item.rejected.response) for item in pairs]
    n = len(pairs)
    return measured(
        [
            spearman(scores, lengths, name="overall", n=n),
            spearman([*leads, *(-x for x in leads)], [*longer_by, *(-x for x in longer_by)], name="within pairs", n=n),
        ]
    )


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
