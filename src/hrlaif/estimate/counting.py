"""A model that answers out of the ledger or out of imagination, and counts what a real one would be paid for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hrlaif.config import EndpointSection
from hrlaif.models import wire
from hrlaif.models.base import Calls, ChatReply, ChatRequest
from hrlaif.types import Finish

# What a chat template puts around one message and before the reply.
TOKENS_PER_MESSAGE = 8
# The letter and the end of the turn, which most endpoints count.
END_TOKENS = 1


@dataclass(slots=True)
class Counts:
    """Calls to be made with their tokens, and calls that the ledger has paid for already."""

    calls: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    paid_calls: float = 0.0


@dataclass(slots=True)
class Tally:
    """Counts by (stage, endpoint). Each call counts `weight` times, for the prompts that one prompt stands for."""

    stage: str = ""
    weight: float = 1.0
    counts: dict[tuple[str, str], Counts] = field(default_factory=dict)
    seen: dict[bytes, ChatReply] = field(default_factory=dict)

    def of(self, endpoint: str) -> Counts:
        """The counts of the present stage at an endpoint."""
        return self.counts.setdefault((self.stage, endpoint), Counts())


@dataclass(frozen=True, slots=True)
class Asked:
    """One or more endpoints that serve one model, under the part that it plays in the run.

    `is_paid` is False for a model inside the process, whose calls are no calls.
    """

    part: str
    name: str
    sections: tuple[EndpointSection, ...]
    is_paid: bool = True


class CountingModel:
    """A ChatModel that asks nobody. What was asked before in this run, as in a real one, costs nothing again."""

    def __init__(
        self,
        asked: Asked,
        imagine: Callable[[ChatRequest], tuple[str, Finish]],
        *,
        tally: Tally,
        ledger: Calls | None,
        tokens: Callable[[str], int],
    ) -> None:
        self._asked, self._imagine, self._tally, self._ledger, self._tokens = asked, imagine, tally, ledger, tokens
        self.name = asked.name
        self.in_flight = 64

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply of the ledger where there is one, else an imagined one that is counted."""
        if not self._asked.is_paid:
            return self._imagined(request)
        key = wire.call_key(self.name, wire.encode(wire.fields(request)))
        if (reply := self._tally.seen.get(key)) is not None:
            return reply
        counts = self._tally.of(self._asked.part)
        if self._ledger is not None and (paid := self._ledger.get(key)) is not None:
            counts.paid_calls += self._tally.weight
            self._tally.seen[key] = paid
            return paid
        reply = self._imagined(request)
        counts.calls += self._tally.weight
        prompt = sum(self._tokens(message.content) + TOKENS_PER_MESSAGE for message in request.messages)
        counts.prompt_tokens += self._tally.weight * prompt
        written = min(request.max_tokens, self._tokens(reply.text) + END_TOKENS)
        counts.completion_tokens += self._tally.weight * written
        self._tally.seen[key] = reply
        return reply

    def _imagined(self, request: ChatRequest) -> ChatReply:
        text, finish = self._imagine(request)
        return ChatReply(text, finish, self.name)

    async def __aenter__(self) -> CountingModel:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None
