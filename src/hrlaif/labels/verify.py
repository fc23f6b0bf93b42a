"""Stage 1 of hybrid labelling: what final answer does each response give, and is it right?

The rule verifier reads first, for nothing. What it cannot read goes to the judge's answer check, and may stay
unreadable. A checkable prompt without a reference can be solved by the judge, whose majority then serves as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from hrlaif import verifiers
from hrlaif.artifacts import Journal
from hrlaif.config import LabelsSection
from hrlaif.judges.answer import check_answer
from hrlaif.labels.solve import solve
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import spread
from hrlaif.progress import Progress
from hrlaif.types import Finish, Outcome, Prompt, Response, Verification

PURPOSE = "verify"


def verify(
    prompts: Sequence[Prompt],
    responses: Iterable[Response],
    *,
    judge: ChatModel,
    section: LabelsSection,
    path: Path,
    fingerprint: str,
    total: int | None = None,
    window: int = 256,
) -> int:
    """Write one Verification per response to a checkable prompt that has a reference; return how many there are.

    `responses` is read once and never held; `total` says how many there are, for the progress bar.
    """
    with Journal(path, fingerprint=fingerprint) as journal:
        with Progress("verifying final answers", total, done=journal.items) as progress:
            asyncio.run(_verify(prompts, responses, journal, progress, judge=judge, section=section, window=window))
        counts = Counter(found.outcome.value for item in journal.done(Verification) for found in item)
        return journal.finish(outcomes=dict(counts))


async def _verify(
    prompts: Sequence[Prompt],
    responses: Iterable[Response],
    journal: Journal,
    progress: Progress,
    *,
    judge: ChatModel,
    section: LabelsSection,
    window: int,
) -> None:
    async def check(item: tuple[Prompt, Response, Verification] | None) -> list[Verification]:
        if item is None:
            return []
        prompt, response, found = item
        if section.answer_check and _is_worth_asking(response, found):
            found = await check_answer(judge, prompt, response, purpose=PURPOSE)
        return [replace(found, reference=prompt.reference)]

    async with judge:
        checkable = await _with_references(prompts, judge, section, window)
        # One journal line per response, checkable or not: a prompt that is solved only at the second attempt (a failed
        # call worked) does not shift the lines that are done.
        todo = islice(responses, journal.items, None)
        async for found in spread(_read(todo, checkable), check, window=window):
            journal.append(found)
            progress.advance()


def _read(
    responses: Iterable[Response], checkable: Mapping[str, Prompt]
) -> Iterator[tuple[Prompt, Response, Verification] | None]:
    """Each response with its prompt and what the rule says of it, None for one that is not checkable."""
    # Verifiers read ahead while one of them is slow. What they pass over on the way leaves a mark and is not kept.
    waiting: deque[Response | None] = deque()

    def to_check() -> Iterator[tuple[Prompt, Response]]:
        for response in responses:
            prompt = checkable.get(response.prompt_id)
            waiting.append(None if prompt is None else response)
            if prompt is not None:
                yield prompt, response

    for found in verifiers.verify_many(to_check()):
        while (response := waiting.popleft()) is None:
            yield None
        yield checkable[response.prompt_id], response, found
    yield from (None for _ in waiting)


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
    return {prompt.id: prompt async for prompt in spread(checkable, work, window=window) if prompt is not None}
