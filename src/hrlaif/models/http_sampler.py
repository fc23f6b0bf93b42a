"""A policy behind an endpoint (a vLLM server, say) as a Sampler."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from hrlaif.errors import CallError
from hrlaif.models.base import ChatModel, ChatRequest, Decoding, SampleRequest
from hrlaif.models.endpoints import log
from hrlaif.models.flow import spread
from hrlaif.types import Finish, Response

WINDOWS = 4
_Results = queue.Queue[Response | Exception | None]


class BoundedModel(ChatModel, Protocol):
    """A chat model that says how many calls it takes at once."""

    @property
    def in_flight(self) -> int:
        """Calls at once, at most."""


class HttpSampler:
    """A Sampler that draws responses from an endpoint, through the model's ledger.

    The ledger knows the policy by its model name: serve other weights under another name.
    """

    def __init__(self, model: BoundedModel, *, purpose: str = "responses") -> None:
        self._model = model
        self._purpose = purpose
        self.name = model.name

    def sample(self, requests: Sequence[SampleRequest], decoding: Decoding) -> Iterator[Response]:
        """Draw one response per request, in their order; the calls go on while the caller uses the results.

        Raises:
            ModelError: No call can succeed, or the budget is spent.
        """
        results: _Results = queue.Queue(maxsize=WINDOWS * self._model.in_flight)
        loop = asyncio.new_event_loop()
        work = loop.create_task(self._draw_all(requests, decoding, results))
        thread = threading.Thread(target=_run, args=(loop, work), name="sampler")
        thread.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            loop.call_soon_threadsafe(work.cancel)
            thread.join()
            loop.close()

    async def _draw_all(self, requests: Sequence[SampleRequest], decoding: Decoding, results: _Results) -> None:
        try:
            async with self._model:
                draw = functools.partial(self._draw, decoding)
                async for response in spread(requests, draw, window=WINDOWS * self._model.in_flight):
                    await _put(results, response)
            await _put(results, None)
        except Exception as error:
            await _put(results, error)

    async def _draw(self, decoding: Decoding, request: SampleRequest) -> Response:
        chat = ChatRequest(
            request.prompt.messages,
            max_tokens=decoding.max_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=request.seed,
            purpose=self._purpose,
        )
        try:
            reply = await self._model.chat(chat)
        except CallError as error:
            log.warning("response %s could not be drawn: %s", request.response_id, error)
            return Response(request.response_id, request.prompt.id, "", self.name, request.seed, Finish.FAILED)
        text = reply.text if reply.finish is not Finish.FAILED else ""
        return Response(request.response_id, request.prompt.id, text, self.name, request.seed, reply.finish)


def _run(loop: asyncio.AbstractEventLoop, work: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(work)
    loop.run_until_complete(loop.shutdown_asyncgens())


async def _put(results: _Results, result: Response | Exception | None) -> None:
    """Hand over a result without blocking the calls under way while the caller is busy."""
    while True:
        try:
            results.put_nowait(result)
        except queue.Full:
            await asyncio.sleep(0.01)
        else:
            return
