"""Labels in, preference pairs out; every label that makes no pair is counted by reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from hrlaif.config import PairsSection
from hrlaif.errors import DataError
from hrlaif.types import Basis, Label, Pair, Prompt, Response, Verdict


def build(
    labels: Iterable[Label],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
    *,
    section: PairsSection,
    slope: float = 1.0,
) -> tuple[list[Pair], dict[str, int]]:
    """The pairs, and how many labels were dropped for which reason.

    `prompts` and `responses` are by id. A label's probability becomes the pair's soft label, turned so that it speaks
    of the response that its verdict chose: 0.5 < probability <= 1. A judge's is `sigmoid(slope * logit p)`.

    Raises:
        DataError: A label names a prompt or a response that is not there.
    """
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for label in labels:
        probability = label.p_first if label.verdict is Verdict.FIRST else 1 - label.p_first
        if label.basis in (Basis.JUDGE, Basis.REASONING):
            probability = _scaled(probability, slope)
        if label.verdict is Verdict.UNREADABLE:
            dropped["unreadable"] += 1
        elif label.verdict is Verdict.TIE or probability <= 0.5:
            dropped["tie"] += 1
        elif probability < section.min_probability:
            dropped["too_unsure"] += 1
        else:
            pairs.append(_pair(label, probability, prompts, responses))
    return pairs, dict(dropped)


def _scaled(probability: float, slope: float) -> float:
    """`sigmoid(slope * logit probability)`, for the probabilities 0 and 1 too."""
    if slope == 1.0:
        return probability  # to the last digit
    yes, no = math.pow(probability, slope), math.pow(1 - probability, slope)
    return yes / (yes + no)


def _pair(label: Label, probability: float, prompts: Mapping[str, Prompt], responses: Mapping[str, Response]) -> Pair:
    ids = (label.first_id, label.second_id)
    missing = [name for name in ids if name not in responses]
    if label.prompt_id not in prompts or missing:
        lost = missing[0] if missing else label.prompt_id
        raise DataError(
            f"label of prompt {label.prompt_id!r}: {lost!r} is not in the run. Run the earlier stages again."
        )
    prompt = prompts[label.prompt_id]
    chosen_id, rejected_id = ids if label.verdict is Verdict.FIRST else ids[::-1]
    return Pair(
        prompt.id,
        prompt.messages,
        responses[chosen_id].text,
        responses[rejected_id].text,
        probability,
        label.basis,
        prompt.category,
        {"chosen_id": chosen_id, "rejected_id": rejected_id},
    )
