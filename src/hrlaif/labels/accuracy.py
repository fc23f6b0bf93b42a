"""How often an arm's labels agree with the verifier, on the pairs where the verifier knows which response is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hrlaif.metrics import wilson
from hrlaif.types import Label, Metric, Outcome, Verdict, Verification


def label_accuracy(labels: Iterable[Label], verifications: Mapping[str, Verification]) -> Metric:
    """Share of correct-against-wrong pairs whose label chose the correct response.

    A tie is half right, an unreadable label wrong. `verifications` are by response id. For the `hrlaif` arm this is 1
    by construction of its VERIFIER labels; the number is meant for labels that the judge gave.
    """
    points = []
    for label in labels:
        first, second = (verifications.get(name) for name in (label.first_id, label.second_id))
        if first is None or second is None or {first.outcome, second.outcome} != {Outcome.CORRECT, Outcome.WRONG}:
            continue
        right = Verdict.FIRST if first.outcome is Outcome.CORRECT else Verdict.SECOND
        points.append(0.5 if label.verdict is Verdict.TIE else float(label.verdict is right))
    return wilson(sum(points), len(points), name="label_accuracy")
