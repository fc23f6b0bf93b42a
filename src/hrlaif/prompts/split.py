"""Which prompts are for training and which for evaluation, and how few of them are used."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from hrlaif.metrics.duplicates import clusters
from hrlaif.prompts.rows import Draft
from hrlaif.types import Prompt, Split, Task

# Similarity (0..1) from which two red-team prompts are too much alike for an attack on one to say nothing of the other.
SAME_SIDE = 0.6


def divide(drafts: Sequence[Draft], *, evaluation_share: float, seed: int) -> list[Prompt]:
    """The prompts with a split each, in their order; equal texts never stand on both sides.

    Nor do red-team prompts that are alike (clusters of near duplicates), so that what was learned from an attack is
    not measured on its twin. A split that came with the data stays. Of the other prompts `evaluation_share` (0 to 1)
    of every category go to evaluation: by a hash of text and seed, so that order and neighbours do not matter. A
    training prompt that would stand on both sides is left out, with a warning that counts them.
    """
    drafts = _clustered(drafts)
    fixed = {draft.text_key for draft in drafts if draft.has_split and draft.prompt.split is Split.EVALUATION}
    taught = {draft.text_key for draft in drafts if draft.has_split} - fixed
    free = [draft for draft in drafts if not draft.has_split and draft.text_key not in fixed | taught]
    evaluation = fixed | _drawn(free, evaluation_share, seed)
    prompts, leaked = [], 0
    for draft in drafts:
        is_evaluation = draft.text_key in evaluation
        if draft.has_split and draft.prompt.split is Split.TRAIN and is_evaluation:
            leaked += 1
            continue
        prompts.append(replace(draft.prompt, split=Split.EVALUATION if is_evaluation else Split.TRAIN))
    if leaked:
        warnings.warn(
            f"{leaked} training prompt(s) left out: the same text (of red-team prompts, nearly the same) is an "
            "evaluation prompt.",
            stacklevel=2,
        )
    return prompts


def _clustered(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts, red-team prompts under the least key of their cluster, which does not depend on their order."""
    attacks = [draft for draft in drafts if draft.prompt.task is Task.RED_TEAM]
    least: dict[int, str] = {}
    firsts = clusters((draft.prompt.question for draft in attacks), threshold=SAME_SIDE)
    for draft, first in zip(attacks, firsts, strict=True):
        least[first] = min(least.get(first, draft.text_key), draft.text_key)
    key_of = {draft.text_key: least[first] for draft, first in zip(attacks, firsts, strict=True)}
    return [replace(draft, text_key=key_of.get(draft.text_key, draft.text_key)) for draft in drafts]


def split_hash(prompts: Sequence[Prompt]) -> str:
    """SHA-256 of which red-team prompt (by id and text) is on which side: the same hash, the same split."""
    sides = sorted(
        f"{prompt.split.value}\0{prompt.id}\0{prompt.question}" for prompt in prompts if prompt.task is Task.RED_TEAM
    )
    return hashlib.sha256("\0\0".join(sides).encode("utf-8", "replace")).hexdigest()


def _drawn(drafts: Sequence[Draft], share: float, seed: int) -> set[str]:
    """The texts that go to evaluation. What rounding owes one category is carried to the next, so that many small
    categories together still give their share.
    """
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    category_of: dict[str, str] = {}
    for draft in drafts:
        category = category_of.setdefault(draft.text_key, draft.prompt.category)
        sizes[category][draft.text_key] = sizes[category].get(draft.text_key, 0) + 1
    drawn: set[str] = set()
    seen = taken = 0
    for category in sorted(sizes):
        seen += sum(sizes[category].values())
        for key in sorted(sizes[category], key=lambda key: _rank(key, seed)):
            if taken + sizes[category][key] / 2 > share * seen:
                break
            drawn.add(key)
            taken += sizes[category][key]
    return drawn


def take_evenly(prompts: Sequence[Prompt], limit: int, *, seed: int) -> list[Prompt]:
    """At most `limit` prompts (0: all) in their order, as evenly over the categories as these allow."""
    if not limit or limit >= len(prompts):
        return list(prompts)
    by_category: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        by_category[prompt.category].append(prompt)
    chosen: set[str] = set()
    # Smallest first: what a small category cannot give is left to the larger ones.
    smallest_first = sorted(by_category, key=lambda category: (len(by_category[category]), category))
    for position, category in enumerate(smallest_first):
        quota = (limit - len(chosen)) // (len(by_category) - position)
        ranked = sorted(by_category[category], key=lambda prompt: _rank(prompt.id, seed))
        chosen.update(prompt.id for prompt in ranked[:quota])
    return [prompt for prompt in prompts if prompt.id in chosen]


def _rank(text: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()
