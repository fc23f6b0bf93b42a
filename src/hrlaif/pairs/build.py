"""Labels in, preference pairs out; every label that makes no pair is counted by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from hrlaif.config import PairsSection
from hrlaif.errors import DataError
from hrlaif.types import Label, Pair, Prompt, Response, Verdict


def build(
    labels: Iterable[Label],
    prompts: Mapping[str, Prompt],
    responses: Mapping[str, Response],
    *,
    section: PairsSection,
) -> tuple[list[Pair], dict[str, int]]:
    """The pairs, and how many labels were dropped for which reason.

    `prompts` and `responses` are by id. A label's probability becomes the pair's soft label, turned so that it speaks
    of the response that its verdict chose: 0.5 < probability <= 1.

    Raises:
        DataError: A label names a prompt or a response that is not there.
    """
    pairs: list[Pair] = []
    dropped: Counter[str] = Counter()
    for label in labels:
        probability = label.p_first if label.verdict is Verdict.FIRST else 1 - label.p_first
        if label.verdict is Verdict.UNREADABLE:
            dropped["unreadable"] += 1
        elif label.verdict is Verdict.TIE or probability <= 0.5:
            dropped["tie"] += 1
        elif probability < section.min_probability:
            dropped["too_unsure"] += 1
        else:
            pairs.append(_pair(label, probability, prompts, responses))
    return pairs, dict(dropped)


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
