"""Stage 1 of hybrid labelling: what final answer does each response give, and is it right?

The rule verifier reads first, for nothing. What it cannot read goes to the judge's answer check, and may stay
unreadable. A checkable prompt without a reference can be solved by the judge, whose majority then serves as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hrlaif import verifiers
from hrlaif.artifacts import Journal
from hrlaif.config import LabelsSection
from hrlaif.judges.answer import check_answer
from hrlaif.labels.solve import solve
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import ordered
from hrlaif.progress import Progress
from hrlaif.types import Finish, Outcome, Prompt, Response, Verification

PURPOSE = "verify"


def verify(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    *,
    judge: ChatModel,
    section: LabelsSection,
    path: Path,
    fingerprint: str,
    window: int = 256,
) -> int:
    """Write one Verification per response to a checkable prompt that has a reference; return how many there are."""
    with Journal(path, fingerprint=fingerprint) as journal:
        asyncio.run(_verify(prompts, responses, judge, section, journal, window))
        counts = Counter(found.outcome.value for item in journal.done(Verification) for found in item)
        return journal.finish(outcomes=dict(counts))


async def _verify(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    judge: ChatModel,
    section: LabelsSection,
    journal: Journal,
    window: int,
) -> None:
    async def check(item: tuple[Response, Verification | None]) -> list[Verification]:
        response, found = item
        if found is None:
            return []
        prompt = checkable[response.prompt_id]
        if section.answer_check and _is_worth_asking(response, found):
            found = await check_answer(judge, prompt, response, purpose=PURPOSE)
        return [replace(found, reference=prompt.reference)]

    async with judge:
        checkable = await _with_references(prompts, judge, section, window)
        # One journal line per response, checkable or not: a prompt that is solved only at the second attempt (a failed
        # call worked) does not shift the lines that are done.
        todo = responses[journal.items :]
        rules = verifiers.verify_many((checkable[one.prompt_id], one) for one in todo if one.prompt_id in checkable)
        read = ((one, next(rules) if one.prompt_id in checkable else None) for one in todo)
        with Progress("verifying final answers", len(responses), done=journal.items) as progress:
            async for found in ordered(read, check, window=window):
                journal.append(found)
                progress.advance()


def _is_worth_asking(response: Response, found: Verification) -> bool:
    """A judge may read what a rule cannot, but not an answer that was cut off before it came."""
    return found.outcome is Outcome.UNREADABLE and response.finish is Finish.STOP and bool(response.text.strip())


async def _with_references(
    prompts: Sequence[Prompt], judge: ChatModel, section: LabelsSection, window: int
) -> dict[str, Prompt]:
    """The checkable prompts by id, each with its own reference or the judge's majority; those without are left out."""

    async def work(prompt: Prompt) -> Prompt | None:
        if prompt.reference is not None:
            return prompt
        return await solve(judge, prompt, section=section) if section.solve_times else None

    checkable = [prompt for prompt in prompts if prompt.task.is_checkable]
    return {prompt.id: prompt async for prompt in ordered(checkable, work, window=window) if prompt is not None}
