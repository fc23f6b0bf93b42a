"""Who compares: one judge, or a panel whose members vote. A member is a model, a wording, a form of reply, a weight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hrlaif.config import STANDARD_PROMPT, EndpointSection, JudgeReply, JudgeSection
from hrlaif.models.base import ChatModel, ChatReply, ChatRequest

# What one verdict needs of a reply that may be thousands of tokens long; more alternatives would only fill the ledger.
FEW_LOGPROBS = 5


@dataclass(frozen=True, slots=True)
class Judge:
    """One voice: `model` asked with the shipped wording `prompt`, or with the text `template` under that name.

    `reply_max_tokens` is the least room for a reply; 0 leaves it to the form of reply.
    """

    model: ChatModel
    reply: JudgeReply = "letter"
    reply_max_tokens: int = 0
    prompt: str = STANDARD_PROMPT
    template: str = ""
    weight: float = 1.0

    @property
    def name(self) -> str:
        """The model's name, and in brackets what sets this judge apart from another one of the same model."""
        apart = [self.prompt] * (self.prompt != STANDARD_PROMPT) + [self.reply] * (self.reply != "letter")
        return f"{self.model.name} ({', '.join(apart)})" if apart else self.model.name

    @property
    def settings(self) -> tuple[object, ...]:
        """All that its votes depend on, as plain values."""
        return (self.name, self.reply, self.reply_max_tokens, self.template, self.weight)


@dataclass(frozen=True, slots=True)
class Panel:
    """Judges that vote on each comparison. Enter it (`async with panel:`) to open the models of all."""

    judges: tuple[Judge, ...]

    @property
    def name(self) -> str:
        """The name in records: that of its only judge, or all names."""
        names = [judge.name for judge in self.judges]
        return names[0] if len(names) == 1 else f"panel: {', '.join(names)}"

    async def __aenter__(self) -> Panel:
        for judge in self.judges:
            await judge.model.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(judge.model.__aexit__(*error) for judge in self.judges))


def panel_of(judge: ChatModel | Panel) -> Panel:
    """The panel itself, or a model as a panel of one that replies with a letter."""
    return judge if isinstance(judge, Panel) else Panel((Judge(judge),))


def seat(section: JudgeSection, open_model: Callable[[Sequence[EndpointSection]], ChatModel]) -> Panel:
    """The judges that a configuration names. `open_model` is asked once per member, for all endpoints that serve it."""
    return Panel(
        tuple(
            Judge(
                open_model(section.endpoints(member)),
                reply=member.reply,
                reply_max_tokens=member.reply_max_tokens,
                prompt=member.prompt,
                template=member.template,
                weight=member.weight,
            )
            for member in section.members
        )
    )


def with_room(model: ChatModel, tokens: int) -> ChatModel:
    """The model with room for at least so many tokens in each reply that is read strictly; 0 leaves it as it is."""
    return _Roomy(model, tokens) if tokens else model


class _Roomy:
    """A reasoning model as a judge: it thinks before it gives its letter or its object, and needs room for that."""

    def __init__(self, model: ChatModel, tokens: int) -> None:
        self._model = model
        self._tokens = tokens
        self.name = model.name

    async def __aenter__(self) -> _Roomy:
        await self._model.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._model.__aexit__(*error)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request; a text that is asked for (a rewrite, a solution) keeps the length it was asked for."""
        if request.top_logprobs or request.response_schema is not None:
            most_logprobs = min(request.top_logprobs, FEW_LOGPROBS)
            room = max(request.max_tokens, self._tokens)
            request = replace(request, max_tokens=room, top_logprobs=most_logprobs)
        return await self._model.chat(request)
