"""Which requests are sent to the policy: every seed as it stands and under strategies, then what succeeded, grown."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from hrlaif.metrics.duplicates import duplicates
from hrlaif.red_team import strategies
from hrlaif.red_team.archive import Attempt, Result
from hrlaif.types import Attack, Message, Prompt


def fresh(seeds: Sequence[Prompt]) -> list[Prompt]:
    """The seeds that do not repeat an earlier one."""
    twins = duplicates(prompt.question for prompt in seeds)
    return [prompt for prompt, twin in zip(seeds, twins, strict=True) if twin is None]


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
    deck = _deck(wanted, f"{seed}/strategies")
    attacks: list[Attack] = []
    dealt = 0
    new = fresh(seeds)
    for prompt in new:
        attacks.append(dressed(prompt, strategies.PLAIN, prompt.question))
        made = 1
        for _ in deck:
            if made == per_prompt:
                break
            name = deck[dealt % len(deck)]
            dealt += 1
            text = strategies.apply(name, prompt.question, lang=prompt.lang)
            if text is not None:
                attacks.append(dressed(prompt, name, text))
                made += 1
    kept = _unsent(attacks, ())
    dropped = Counter({"seed repeats an earlier one": len(seeds) - len(new)})
    dropped["attack repeats an earlier one"] = len(attacks) - len(kept)
    return kept, dict(+dropped)


def grow(
    seeds: Sequence[Prompt],
    attempts: Sequence[Attempt],
    *,
    wanted: Sequence[str],
    per_prompt: int,
    seed: int,
    round_number: int,
) -> tuple[list[Attack], dict[str, int]]:
    """New attacks out of what succeeded in earlier rounds, and what was left out, counted by reason.

    A seed that was broken is put under strategies that were not tried on it, dealt in turn; any other seed under those
    that succeeded elsewhere, the most successful first. At most `per_prompt` a seed, and none that was sent before.
    `parent_id` is the success that the attack was grown from.

    Raises:
        ConfigError: A wanted strategy is unknown.
    """
    deck = _deck(wanted, f"{seed}/strategies/{round_number}")
    tried: dict[str, set[str]] = defaultdict(set)
    broken: dict[str, str] = {}
    won: dict[str, str] = {}
    for attempt in attempts:
        tried[attempt.prompt_id].add(attempt.strategy)
        if attempt.result is Result.SUCCEEDED:
            broken[attempt.prompt_id] = won[attempt.strategy] = attempt.attack.id
    proven = sorted((name for name in deck if name in won), key=lambda name: -_success(name, attempts))
    attacks: list[Attack] = []
    exhausted = dealt = 0
    for prompt in fresh(seeds):
        is_broken, made = prompt.id in broken, 0
        start = dealt % max(1, len(deck))
        for name in [*deck[start:], *deck[:start]] if is_broken else proven:
            if made == per_prompt:
                break
            text = strategies.apply(name, prompt.question, lang=prompt.lang)
            if name not in tried[prompt.id] and text is not None:
                parent = broken[prompt.id] if is_broken else won[name]
                attacks.append(dressed(prompt, name, text, round_number=round_number, parent_id=parent))
                made += 1
                dealt += is_broken
        exhausted += made == 0
    kept = _unsent(attacks, attempts)
    dropped = Counter({"no strategy left to grow": exhausted})
    dropped["attack repeats an earlier one"] = len(attacks) - len(kept)
    return kept, dict(+dropped)


def _deck(wanted: Sequence[str], order: str) -> list[str]:
    deck = list(strategies.check(wanted))
    random.Random(order).shuffle(deck)
    return deck


def _success(strategy: str, attempts: Sequence[Attempt]) -> float:
    """The share of a strategy's attempts that succeeded, drawn towards a half where there are few."""
    mine = [attempt.result is Result.SUCCEEDED for attempt in attempts if attempt.strategy == strategy]
    return (sum(mine) + 1) / (len(mine) + 2)


def _unsent(attacks: Sequence[Attack], before: Sequence[Attempt]) -> list[Attack]:
    """The attacks whose text is neither an earlier one's nor one that was sent before."""
    texts = [attempt.attack.messages[-1].content for attempt in before]
    twins = duplicates([*texts, *(attack.messages[-1].content for attack in attacks)], threshold=1.0)
    return [attack for attack, twin in zip(attacks, twins[len(texts) :], strict=True) if twin is None]


def dressed(prompt: Prompt, strategy: str, text: str, *, round_number: int = 1, parent_id: str | None = None) -> Attack:
    """The prompt's conversation with its last user turn replaced by what a strategy made of it."""
    last = max(index for index, message in enumerate(prompt.messages) if message.role == "user")
    messages = tuple(
        Message("user", text) if index == last else message for index, message in enumerate(prompt.messages)
    )
    identity = name_of(prompt, strategy, round_number)
    return Attack(identity, prompt.id, messages, strategy, prompt.hazard or "", round_number, parent_id)


def name_of(prompt: Prompt, strategy: str, round_number: int) -> str:
    """The id of an attack: `PROMPT/STRATEGY`, in later rounds `PROMPT/r2/STRATEGY`."""
    return f"{prompt.id}/{strategy}" if round_number == 1 else f"{prompt.id}/r{round_number}/{strategy}"


def as_prompt(attack: Attack, prompt: Prompt) -> Prompt:
    """What the policy is asked: the prompt with the attack's messages."""
    return dataclasses.replace(prompt, id=attack.id, messages=attack.messages)


def seed_of(seed: int, name: str) -> int:
    """A seed (31 bits) for one thing by its name, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
