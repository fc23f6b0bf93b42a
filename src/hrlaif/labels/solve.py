"""A reference for a checkable prompt that has none: the judge solves it several times, and a majority must agree."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hrlaif import verifiers
from hrlaif.config import LabelsSection
from hrlaif.errors import CallError
from hrlaif.models.base import ChatModel, ChatRequest
from hrlaif.types import Finish, Outcome, Prompt, Response, Task

PURPOSE = "solve"
TEMPERATURE = 0.7
# A verifier finds an answer while it compares it with something; what it finds does not depend on these.
_ANY_REFERENCE = {Task.MATH: "0", Task.CHOICE: "A", Task.SHORT: "yes"}


async def solve(judge: ChatModel, prompt: Prompt, *, section: LabelsSection) -> Prompt | None:
    """The prompt with the judge's majority answer as its reference.

    None where fewer than `section.solve_majority` of the `section.solve_times` attempts reach the same final answer, or
    two answers are equally frequent; attempts that fail or cannot be read count against the majority.
    """
    attempts = await asyncio.gather(*(_attempt(judge, prompt, k, section) for k in range(section.solve_times)))
    groups: list[list[str]] = []
    for answer in attempts:
        if answer is None:
            continue
        same = next((group for group in groups if _is_same(prompt, group[0], answer)), None)
        if same is None:
            groups.append([answer])
        else:
            same.append(answer)
    sizes = [len(group) for group in groups]
    largest = max(sizes, default=0)
    if largest == 0 or largest / section.solve_times < section.solve_majority or sizes.count(largest) > 1:
        return None
    return replace(prompt, reference=groups[sizes.index(largest)][0])


async def _attempt(judge: ChatModel, prompt: Prompt, k: int, section: LabelsSection) -> str | None:
    request = ChatRequest(
        prompt.messages, max_tokens=section.solve_max_tokens, temperature=TEMPERATURE, seed=k, purpose=PURPOSE
    )
    try:
        reply = await judge.chat(request)
    except CallError:
        return None
    answer = Response(f"{prompt.id}/solve{k}", prompt.id, reply.text, judge.name, k, reply.finish)
    return verifiers.verify(replace(prompt, reference=_ANY_REFERENCE[prompt.task]), answer).found


def _is_same(prompt: Prompt, reference: str, answer: str) -> bool:
    response = Response("", prompt.id, answer, "", 0, Finish.STOP)
    return verifiers.verify(replace(prompt, reference=reference), response).outcome is Outcome.CORRECT
