"""The policy under attack, and the models around it, asked for many things at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hrlaif.config import RedTeamSection
from hrlaif.models.base import ChatModel, Decoding, Sampler, SampleRequest
from hrlaif.models.flow import spread
from hrlaif.red_team.attacks import as_prompt, seed_of
from hrlaif.types import Attack, Prompt, Response

Item = TypeVar("Item")
Result = TypeVar("Result")
BLOCK = 32  # attacks sampled at a time; what a crash can cost


@dataclass(frozen=True, slots=True)
class Target:
    """A policy with the plain prompts behind the attacks, and how its answers are drawn."""

    sampler: Sampler
    prompts: Mapping[str, Prompt]
    section: RedTeamSection
    seed: int

    def answers(self, attacks: Sequence[Attack], *, each: int) -> list[list[Response]]:
        """`each` responses to every attack, sampled together; the same attack draws the same ones in any company."""
        requests = [
            SampleRequest(as_prompt(attack, self.prompts[attack.prompt_id]), name, seed_of(self.seed, name))
            for attack in attacks
            for name in (f"{attack.id}/{k}" for k in range(each))
        ]
        decoding = Decoding(temperature=self.section.temperature, max_tokens=self.section.max_tokens)
        responses = list(self.sampler.sample(requests, decoding))
        return [responses[start : start + each] for start in range(0, len(responses), each)]


def asked(
    models: Iterable[ChatModel], items: Iterable[Item], work: Callable[[Item], Awaitable[Result]]
) -> list[Result]:
    """`work` on every item, side by side and in order, in an event loop in which the models are open."""

    async def all_of_them() -> list[Result]:
        async with contextlib.AsyncExitStack() as stack:
            for model in {id(model): model for model in models}.values():
                await stack.enter_async_context(model)
            return [result async for result in spread(items, work, window=BLOCK)]

    return asyncio.run(all_of_them())
