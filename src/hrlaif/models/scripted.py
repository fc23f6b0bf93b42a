"""A chat model that follows a script: for tests and for trying out prompts, without a network or a cost."""

from __future__ import annotations

from collections.abc import Callable

from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.types import Cost, Finish


class ScriptedModel:
    """Answers each request with what `script` returns; raising CallError in the script plays a failed call."""

    def __init__(self, script: Callable[[ChatRequest], str | ChatReply], *, name: str = "scripted") -> None:
        self._script = script
        self.name = name
        self.requests: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The script's answer; plain text becomes a reply that cost one call."""
        self.requests.append(request)
        answer = self._script(request)
        if isinstance(answer, ChatReply):
            return answer
        return ChatReply(text=answer, finish=Finish.STOP, model=self.name, cost=Cost(calls=1))

    async def __aenter__(self) -> ScriptedModel:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None
