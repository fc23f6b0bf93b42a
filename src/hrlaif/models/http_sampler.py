"""A policy behind an endpoint (a vLLM server, say) as a Sampler."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Iterator, Sequence

from hrlaif.errors import CallError
from hrlaif.models.base import ChatRequest, Decoding, SampleRequest
from hrlaif.models.endpoints import log
from hrlaif.models.flow import ordered
from hrlaif.models.http import HttpModel
from hrlaif.types import Finish, Response


class HttpSampler:
    """A Sampler that draws responses from an endpoint (a vLLM server, say), through the model's ledger."""

    def __init__(self, model: HttpModel, *, purpose: str = "responses") -> None:
        self._model = model
        self._purpose = purpose
        self.name = model.name

    def sample(self, requests: Sequence[SampleRequest], decoding: Decoding) -> Iterator[Response]:
        """Draw one response per request, in their order; the calls go on while the caller uses the results.

        Raises:
            ModelError: No call can succeed, or the budget is spent.
        """
        results: queue.Queue[Response | BaseException | None] = queue.Queue(maxsize=4 * self._model.in_flight)
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(requests, decoding, results, stop), name="sampler")
        thread.start()
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            stop.set()
            thread.join()

    def _run(
        self,
        requests: Sequence[SampleRequest],
        decoding: Decoding,
        results: queue.Queue[Response | BaseException | None],
        stop: threading.Event,
    ) -> None:
        async def put(result: Response | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    results.put_nowait(result)
                except queue.Full:
                    await asyncio.sleep(0.01)
                else:
                    return

        async def work() -> None:
            try:
                async with self._model:
                    draw = functools.partial(self._draw, decoding)
                    async for response in ordered(requests, draw, window=4 * self._model.in_flight):
                        await put(response)
                        if stop.is_set():
                            return
                await put(None)
            except Exception as error:
                await put(error)

        asyncio.run(work())

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
