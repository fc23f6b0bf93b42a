"""One pair or prompt of a run as one row of a trainer's data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hrlaif.types import Message, Pair, Prompt

# A pair that is certain would have an infinite margin; 0.99 is what a verifier's label is worth by default.
MOST_CERTAIN = 0.99


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as the role/content lists that chat templates take."""
    return [{"role": message.role, "content": message.content} for message in messages]


def pair_row(pair: Pair) -> dict[str, Any]:
    """A preference pair, as TRL and OpenRLHF read it.

    `margin = log(p / (1 - p))` of the pair's probability p (at most 0.99): how much higher chosen has to score.
    Both trainers take hard labels, so this is how a sure pair weighs more than an unsure one.
    """
    p = min(pair.probability, MOST_CERTAIN)
    return {
        "prompt": turns(pair.messages),
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        "margin": round(math.log(p / (1 - p)), 4),
        "probability": pair.probability,
        "basis": pair.basis.value,
        "category": pair.category,
        "prompt_id": pair.prompt_id,
    }


def prompt_row(prompt: Prompt) -> dict[str, Any]:
    """A prompt to roll out from, for TRL and OpenRLHF. `label` is its id, by which the reward server knows it."""
    return {
        "prompt": turns(prompt.messages),
        "label": prompt.id,
        "datasource": prompt.category,
        "reference": prompt.reference or "",
    }


def verl_row(prompt: Prompt, index: int) -> dict[str, Any]:
    """A prompt as verl reads it. `extra_info` holds all that `compute_score` needs to check an answer."""
    is_checked = prompt.task.is_checkable and prompt.reference is not None
    return {
        "data_source": f"hrlaif/{prompt.category}",
        "prompt": turns(prompt.messages),
        "ability": prompt.category,
        "reward_model": {"style": "rule" if is_checked else "model", "ground_truth": prompt.reference or ""},
        "extra_info": {
            "index": index,
            "split": prompt.split.value,
            "id": prompt.id,
            "task": prompt.task.value,
            "question": prompt.question,
            "choices": list(prompt.choices),
        },
    }
