"""Models that follow a script: for tests and for trying out prompts, without a network or a cost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.types import Cost, Finish


class ScriptedModel:
    """Answers each request with what `script` returns; raising CallError in the script plays a failed call."""

    def __init__(self, script: Callable[[ChatRequest], str | ChatReply], *, name: str = "scripted") -> None:
        self.script = script
        self.name = name
        self.requests: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The script's answer; plain text becomes a reply that cost one call."""
        self.requests.append(request)
        answer = self.script(request)
        if isinstance(answer, ChatReply):
            return answer
        return ChatReply(text=answer, finish=Finish.STOP, model=self.name, cost=Cost(calls=1))

    async def __aenter__(self) -> ScriptedModel:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something other than a good answer: a status, a broken body, a stall, a dropped connection."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    stall_s: float = 0.0
    disconnect: bool = False


def completion(
    text: str | None,
    *,
    top_logprobs: Sequence[Mapping[str, float]] = (),
    prompt_tokens: int = 10,
    completion_tokens: int = 1,
    finish_reason: str = "stop",
) -> dict[str, Any]:
    """The body of a chat completion; `top_logprobs[t]` lists alternatives (nats) at position t, best first."""
    positions = []
    for alternatives in top_logprobs:
        ranked = [{"token": token, "logprob": logprob} for token, logprob in alternatives.items()]
        positions.append({**ranked[0], "top_logprobs": ranked})
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": positions} if positions else None,
        "finish_reason": finish_reason,
    }
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {"id": "scripted", "object": "chat.completion", "model": "scripted", "choices": [choice], "usage": usage}


class ScriptedServer:
    """A chat-completions endpoint on 127.0.0.1 that follows a script, in a thread of its own.

        with ScriptedServer(lambda body: "A") as server:
            HttpModel(EndpointSection(url=server.url, model="any"), ledger=None)

    Args:
        script: From the request's body to a text, a whole response body (see `completion`), or a Fault.
        latency_s: Seconds before each answer, or a function that draws them.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        script: Callable[[dict[str, Any]], str | dict[str, Any] | Fault],
        *,
        latency_s: float | Callable[[], float] = 0.0,
        port: int = 0,
    ) -> None:
        self._script = script
        self._latency_s = latency_s
        self._port = port
        self._started = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self.calls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The address to configure, ending in /v1."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="scripted server", daemon=True)
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join()

    async def _serve(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, backlog=4096)
        await site.start()
        self._port = runner.addresses[0][1]
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        self._started.set()
        await stopped.wait()
        await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.headers = dict(request.headers)
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = self._script(json.loads(await request.read()))
        fault = answer if isinstance(answer, Fault) else Fault()
        latency_s = self._latency_s() if callable(self._latency_s) else self._latency_s
        if latency_s + fault.stall_s > 0:
            await asyncio.sleep(latency_s + fault.stall_s)
        if fault.disconnect and request.transport is not None:
            request.transport.abort()
        if isinstance(answer, Fault):
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        body = completion(answer) if isinstance(answer, str) else answer
        return web.Response(body=json.dumps(body).encode(), content_type="application/json")
