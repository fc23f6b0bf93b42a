"""Checkable prompts made by rule: small enough for a small model to be right sometimes, and many enough to train on.

Everything is drawn by hash, so every machine and version of Python makes the same prompts. The split belongs to the
fact (which sum, which number), not to its wording: a sum that is trained on is never evaluated, neither as a story nor
in the other language.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hrlaif.types import Message, Prompt, Split, Task

STORIES_ADDED, STORIES_TAKEN = 130, 110
Fact = tuple[str, int, int]


def generated() -> list[Prompt]:
    """One-digit sums and differences (English and Chinese), one-step stories up to 20 + 9, and counting by one."""
    sums = [("add", a, b) for a in range(1, 10) for b in range(1, a + 1)]
    differences = [("take", a, b) for a in range(2, 10) for b in range(1, a)]
    added = [("add", a, b) for a in range(2, 21) for b in range(1, 10)]
    taken = [("take", a, b) for a in range(2, 21) for b in range(1, min(a, 10))]
    stories = [*_ranked(added)[:STORIES_ADDED], *_ranked(taken)[:STORIES_TAKEN]]
    counting = [(word, number, 1) for word in ("after", "before") for number in range(2, 32)]
    return [
        *_prompts("arithmetic", sums, _sum, both_ways=True),
        *_prompts("arithmetic", differences, _sum, both_ways=True),
        *_prompts("word_problem", stories, _story),
        *_prompts("counting", counting, _counting),
        *_prompts("zh_arithmetic", sums, _zh_sum),
        *_prompts("zh_arithmetic", differences, _zh_sum),
    ]


def _prompts(
    category: str, facts: Iterable[Fact], question: Callable[[Fact], str], *, both_ways: bool = False
) -> list[Prompt]:
    """One prompt a fact, asking either for the number only or for a sentence first; `both_ways` makes both."""
    lang = "zh" if category.startswith("zh_") else "en"
    prompts = []
    for fact in sorted(facts):
        endings = tuple(_wording()["endings"][lang].items())
        for name, ending in endings if both_ways else (_pick(endings, category, fact),):
            text = question(fact) + ("" if lang == "zh" else " ") + ending
            prompts.append(
                Prompt(
                    id=f"{category}-{fact[0]}-{fact[1]}-{fact[2]}" + (f"-{name}" if both_ways else ""),
                    messages=(Message("user", text),),
                    category=category,
                    task=Task.MATH,
                    reference=str(_answer(fact)),
                    lang=lang,
                    source="hrlaif",
                    split=_split(fact),
                )
            )
    return prompts


def _split(fact: Fact) -> Split:
    """Three of five facts are for training; 3 + 4 and 4 + 3 are one fact."""
    kind, a, b = fact
    same = (kind, max(a, b), min(a, b)) if kind == "add" else fact
    return Split.TRAIN if _draw("split", same) % 5 < 3 else Split.EVALUATION


def _answer(fact: Fact) -> int:
    kind, a, b = fact
    return a + b if kind in ("add", "after") else a - b


def _sum(fact: Fact) -> str:
    kind, a, b = fact
    if kind == "add" and _draw("order", fact) % 2:
        a, b = b, a
    question: str = _pick(_wording()["sums"][kind], "sum", fact)
    return question.format(a=a, b=b)


def _zh_sum(fact: Fact) -> str:
    kind, a, b = fact
    question: str = _pick(_wording()["zh_sums"][kind], "zh_sum", fact)
    return question.format(a=a, b=b)


def _story(fact: Fact) -> str:
    kind, a, b = fact
    story: str = _pick(_wording()["stories"][kind], "story", fact)
    name = _pick(_wording()["names"], "name", fact)
    thing = _pick(_wording()["things"], "thing", fact)
    return story.format(name=name, things=thing, a=a, b=b)


def _counting(fact: Fact) -> str:
    word, number, _ = fact
    question: str = _pick(_wording()["counting"], "counting", fact)
    return question.format(word=word, a=number)


def _ranked(facts: Iterable[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: _draw("rank", fact))


def _pick(options: Any, purpose: str, fact: Fact) -> Any:
    return options[_draw(purpose, fact) % len(options)]


def _draw(purpose: str, fact: Fact) -> int:
    return int(hashlib.sha256(f"{purpose}:{fact}".encode()).hexdigest(), 16)


@functools.cache
def _wording() -> dict[str, Any]:
    wording: dict[str, Any] = json.loads(Path(__file__).with_name("generate.txt").read_text(encoding="utf-8"))
    return wording
