"""Which requests are sent to the policy: every seed as it stands, and under some strategies."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import Counter
from collections.abc import Sequence

from hrlaif.red_team import strategies
from hrlaif.metrics.duplicates import duplicates
from hrlaif.types import Attack, Message, Prompt


def plan(
    seeds: Sequence[Prompt], *, wanted: Sequence[str], per_prompt: int, seed: int
) -> tuple[list[Attack], dict[str, int]]:
    """The attacks in the order of the seeds, and what was left out, counted by reason.

    Each seed gives the plain request and `per_prompt - 1` strategies out of `wanted` (all if empty), dealt in turn so
    that every strategy is used about equally often. Seeds that repeat an earlier one, and attacks whose text is the
    same as an earlier one's, are left out.

    Raises:
        ConfigError: A wanted strategy is unknown.
    """
    deck = list(strategies.check(wanted))
    random.Random(f"{seed}/strategies").shuffle(deck)
    dropped: Counter[str] = Counter()
    attacks: list[Attack] = []
    dealt = 0
    for prompt, twin in zip(seeds, duplicates(prompt.question for prompt in seeds), strict=True):
        if twin is not None:
            dropped["seed repeats an earlier one"] += 1
            continue
        attacks.append(_attack(prompt, strategies.PLAIN, prompt.question))
        made = 1
        for _ in deck:
            if made == per_prompt:
                break
            name = deck[dealt % len(deck)]
            dealt += 1
            text = strategies.apply(name, prompt.question, lang=prompt.lang)
            if text is not None:
                attacks.append(_attack(prompt, name, text))
                made += 1
    texts = duplicates((attack.messages[-1].content for attack in attacks), threshold=1.0)
    fresh = [attack for attack, twin in zip(attacks, texts, strict=True) if twin is None]
    if len(fresh) < len(attacks):
        dropped["attack repeats an earlier one"] += len(attacks) - len(fresh)
    return fresh, dict(dropped)


def _attack(prompt: Prompt, strategy: str, text: str) -> Attack:
    """The prompt's conversation with its last user turn put under a strategy."""
    last = max(index for index, message in enumerate(prompt.messages) if message.role == "user")
    messages = tuple(
        Message("user", text) if index == last else message for index, message in enumerate(prompt.messages)
    )
    return Attack(f"{prompt.id}/{strategy}", prompt.id, messages, strategy, prompt.hazard or "")


def as_prompt(attack: Attack, prompt: Prompt) -> Prompt:
    """What the policy is asked: the prompt with the attack's messages."""
    return dataclasses.replace(prompt, id=attack.id, messages=attack.messages)


def seed_of(seed: int, name: str) -> int:
    """A seed (31 bits) for one thing by its name, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
