"""Checkable prompts made by rule: small enough for a small model to be right sometimes, and many enough to train on.

Everything is drawn by hash, so every machine and version of Python makes the same prompts. The split belongs to the
fact (which sum, which number), not to its wording: a sum that is trained on is never evaluated, neither as a story nor
in the other language.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hrlaif.types import Message, Prompt, Split, Task

Fact = tuple[str, int, int]
EITHER = ("number", "sentence")
# Asked for a number only, a small model answers a story with a story; asked for a sentence first, it often calculates.
MOSTLY_SENTENCE = ("number", "sentence", "sentence")


def generated() -> list[Prompt]:
    """One-digit sums and differences (English and Chinese), one-step stories up to 20 + 9 or 12 - 9, counting up."""
    sums = [("add", a, b) for a in range(1, 10) for b in range(1, a + 1)]
    differences = [("take", a, b) for a in range(2, 10) for b in range(1, a)]
    stories_added = [("add", a, b) for a in range(2, 21) for b in range(1, 10)]
    stories_taken = [("take", a, b) for a in range(2, 13) for b in range(1, min(a, 10))]
    counting = [("after", number, 1) for number in range(1, 61)]
    return [
        *_prompts("arithmetic", sums, _sum, ()),
        *_prompts("arithmetic", differences, _sum, ()),
        *_prompts("word_problem", stories_added, _story, MOSTLY_SENTENCE),
        *_prompts("word_problem", stories_taken, _story, MOSTLY_SENTENCE),
        *_prompts("counting", counting, _counting, EITHER),
        *_prompts("zh_arithmetic", sums, _zh_sum, EITHER),
        *_prompts("zh_arithmetic", differences, _zh_sum, EITHER),
    ]


def _prompts(
    category: str, facts: Iterable[Fact], question: Callable[[Fact], str], endings: Sequence[str]
) -> list[Prompt]:
    """One prompt a fact, with one of these ways to answer; none named: one prompt for every way."""
    lang = "zh" if category.startswith("zh_") else "en"
    prompts = []
    for fact in facts:
        for ending in (_pick(endings, category, fact),) if endings else EITHER:
            text = question(fact) + ("" if lang == "zh" else " ") + _wording()["endings"][lang][ending]
            prompts.append(
                Prompt(
                    id=f"{category}-{fact[0]}-{fact[1]}-{fact[2]}" + ("" if endings else f"-{ending}"),
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
    return Split.TRAIN if _draw("side", same) % 5 < 3 else Split.EVALUATION


def _answer(fact: Fact) -> int:
    kind, a, b = fact
    return a - b if kind == "take" else a + b


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
    question: str = _pick(_wording()["counting"], "counting", fact)
    return question.format(a=fact[1])


def _pick(options: Any, purpose: str, fact: Fact) -> Any:
    return options[_draw(purpose, fact) % len(options)]


def _draw(purpose: str, fact: Fact) -> int:
    return int(hashlib.sha256(f"{purpose}:{fact}".encode()).hexdigest(), 16)


@functools.cache
def _wording() -> dict[str, Any]:
    wording: dict[str, Any] = json.loads(Path(__file__).with_name("generate.txt").read_text(encoding="utf-8"))
    return wording
