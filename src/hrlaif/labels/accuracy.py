"""How often an arm's labels agree with the verifier, on the pairs where the verifier knows which response is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hrlaif.metrics import wilson
from hrlaif.types import Label, Metric, Outcome, Verdict, Verification


def label_accuracy(labels: Iterable[tuple[Label, Mapping[str, Verification]]]) -> Metric:
    """Share of correct-against-wrong pairs whose label chose the correct response.

    Each label comes with its prompt's verifications, by response id, so that both files can be read side by side. A tie
    is half right, an unreadable label wrong. For the `hrlaif` arm this is 1 by construction of its VERIFIER labels; the
    number is meant for labels that the judge gave.
    """
    points, n = 0.0, 0
    for label, verifications in labels:
        first, second = (verifications.get(name) for name in (label.first_id, label.second_id))
        if first is None or second is None or {first.outcome, second.outcome} != {Outcome.CORRECT, Outcome.WRONG}:
            continue
        right = Verdict.FIRST if first.outcome is Outcome.CORRECT else Verdict.SECOND
        points += 0.5 if label.verdict is Verdict.TIE else float(label.verdict is right)
        n += 1
    return wilson(points, n, name="label_accuracy")
