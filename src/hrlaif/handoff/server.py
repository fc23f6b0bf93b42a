"""The reward server: OpenRLHF's protocol over HTTP, with concurrent requests scored together.

POST / `{"query": [...], "prompts": [...], "labels": [...]}`
    -> `{"rewards": [...], "scores": [...], "extra_logs": {...}}`
GET /health -> `{"status": "ok", ...}`

Everything else is an error with a status and `{"error": "what is wrong, in which row"}`: 400 rows that cannot be read,
413 too large, 503 too many rows waiting (ask again), 500 a failure to score. A reward is never made up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from hrlaif.errors import DataError, HrlaifError
from hrlaif.handoff.scoring import ArmReward, Row, Scored
from hrlaif.listening import listen
from hrlaif.types import Outcome

Given = TypeVar("Given")
Result = TypeVar("Result")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FIELDS = ("query", "prompts", "labels")


class _BadRequestError(DataError):
    """The request's own fault, not the model's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`batch_rows` are scored at a time; `waiting_rows` is the most that wait. `linger_s`: how long a batch waits for
    company when it has room.
    """

    batch_rows: int = 64
    waiting_rows: int = 4096
    body_bytes: int = 32 << 20
    linger_s: float = 0.004


@dataclass(slots=True)
class _Waiting:
    """One request in the queue."""

    rows: list[tuple[str, str, str]]
    answer: asyncio.Future[list[Scored]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RewardServer:
    """The application and its queue; all work of the model is done in one thread."""

    def __init__(self, reward: ArmReward, *, name: str, limits: Limits = Limits()) -> None:
        self.reward, self.name, self.limits = reward, name, limits
        self.scored_rows, self.batches = 0, 0
        self._rows_waiting = 0
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._held: _Waiting | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reward model")

    def app(self) -> web.Application:
        """The web application; its worker lives as long as it runs."""
        app = web.Application(client_max_size=self.limits.body_bytes, middlewares=[_as_json])
        app.add_routes(
            [web.post("/", self._post), web.post("/get_reward", self._post), web.get("/health", self._health)]
        )
        app.cleanup_ctx.append(self._working)
        return app

    async def _working(self, _: web.Application) -> AsyncIterator[None]:
        worker = asyncio.create_task(self._work())
        yield
        worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "status": "ok",
                "model": self.name,
                "verifier_weight": self.reward.verifier_weight,
                "waiting_rows": self._rows_waiting,
                "scored_rows": self.scored_rows,
                "batches": self.batches,
            }
        )

    async def _post(self, request: web.Request) -> web.Response:
        rows = _rows(await request.read())
        if len(rows) > self.limits.waiting_rows:
            return _error(413, f"{len(rows)} rows in one request, at most {self.limits.waiting_rows} fit. Send fewer.")
        if self._rows_waiting + len(rows) > self.limits.waiting_rows:
            return _error(503, f"{self._rows_waiting} rows wait already. Ask again.", {"Retry-After": "1"})
        waiting = _Waiting(rows)
        self._rows_waiting += len(rows)
        self._queue.put_nowait(waiting)
        return web.json_response(_body(await waiting.answer))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._batch()
            rows = [waiting.rows for waiting in batch]
            try:
                answers = await loop.run_in_executor(self._thread, self._answers, rows)
            except Exception as error:  # nobody may wait for ever, and the server goes on
                answers = [error] * len(batch)
            for waiting, answer in zip(batch, answers, strict=True):
                self._rows_waiting -= len(waiting.rows)
                if waiting.answer.done():
                    continue
                if isinstance(answer, Exception):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)
            self.batches += 1

    async def _batch(self) -> list[_Waiting]:
        """The next requests that fit into one batch: at least one, and who else comes within the linger."""
        first = self._held or await self._queue.get()
        self._held = None
        batch, size = [first], len(first.rows)
        deadline = asyncio.get_running_loop().time() + self.limits.linger_s
        while size < self.limits.batch_rows:
            left = deadline - asyncio.get_running_loop().time()
            try:
                more = await asyncio.wait_for(self._queue.get(), left) if left > 0 else self._queue.get_nowait()
            except (asyncio.TimeoutError, asyncio.QueueEmpty):
                break
            if size + len(more.rows) > self.limits.batch_rows:
                self._held = more
                break
            batch.append(more)
            size += len(more.rows)
        return batch

    def _answers(self, requests: Sequence[list[tuple[str, str, str]]]) -> list[list[Scored] | Exception]:
        """The scores of each request, or why it has none. All are scored together; if that fails, each alone."""
        read = [_attempt(self._read, rows) for rows in requests]
        good = [rows for rows in read if not isinstance(rows, Exception)]
        together = _attempt(self.reward.score, [row for rows in good for row in rows]) if good else []
        if isinstance(together, Exception) and len(good) > 1:
            scored = [_attempt(self.reward.score, rows) for rows in good]
        elif isinstance(together, Exception):
            scored = [together]
        else:
            places = iter(together)
            scored = [[next(places) for _ in rows] for rows in good]
        self.scored_rows += sum(len(rows) for rows in scored if not isinstance(rows, Exception))
        answers = iter(scored)
        return [rows if isinstance(rows, Exception) else next(answers) for rows in read]

    def _read(self, rows: Sequence[tuple[str, str, str]]) -> list[Row]:
        found = []
        for number, row in enumerate(rows):
            try:
                found.append(self.reward.read(*row))
            except DataError as error:
                raise _BadRequestError(f"row {number}: {error}") from error
        return found


def _attempt(work: Callable[[Given], Result], given: Given) -> Result | Exception:
    try:
        return work(given)
    except Exception as error:  # the model boundary: the request's answer says what it was
        return error


def _rows(body: bytes) -> list[tuple[str, str, str]]:
    """The rows of a request's body: (query, prompt, label).

    Raises:
        _BadRequestError: It is not of the protocol; the message names field and row.
    """
    try:
        sent = json.loads(body)
    except ValueError as error:
        raise _BadRequestError(f"the body is not JSON ({error})") from error
    if not isinstance(sent, dict):
        raise _BadRequestError(f"the body has to be an object with {', '.join(FIELDS)}")
    columns = []
    for name in FIELDS:
        column = sent.get(name)
        if name == "labels" and column is None and isinstance(sent.get("query"), list):
            column = [""] * len(sent["query"])
        if not isinstance(column, list) or not column:
            raise _BadRequestError(f"{name!r} has to be a list with one text per row (seen: {str(column)[:60]})")
        columns.append(column)
    sizes = {name: len(column) for name, column in zip(FIELDS, columns, strict=True)}
    if len(set(sizes.values())) > 1:
        raise _BadRequestError(f"the lists have to be of one length (seen: {sizes})")
    for name, column in zip(FIELDS, columns, strict=True):
        for number, value in enumerate(column):
            if not isinstance(value, str) and not (name == "labels" and value is None):
                raise _BadRequestError(f"row {number}: {name!r} has to be a text (seen: {str(value)[:60]})")
    return [(query, prompt, label or "") for query, prompt, label in zip(*columns, strict=True)]


def _body(scored: Sequence[Scored]) -> dict[str, Any]:
    """The protocol's answer. `extra_logs` holds one number per row, so that a trainer can average them."""
    return {
        "rewards": [row.reward for row in scored],
        "scores": [row.score for row in scored],
        "extra_logs": {
            "correct": [float(row.outcome is Outcome.CORRECT) for row in scored],
            "wrong": [float(row.outcome is Outcome.WRONG) for row in scored],
            "unreadable": [float(row.outcome is Outcome.UNREADABLE) for row in scored],
        },
    }


@web.middleware
async def _as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as JSON with a message."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, error.text or error.reason)
    except _BadRequestError as error:
        return _error(400, str(error))
    except Exception as error:
        named = str(error) if isinstance(error, HrlaifError) else f"{type(error).__name__}: {error}"
        return _error(500, f"the reward model could not score these rows: {named}")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def serve(server: RewardServer, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; `ready` gets the address once the server listens (port 0 takes a free one).

    Raises:
        ConfigError: The address cannot be listened on.
        KeyboardInterrupt: Ctrl-C, after connections are closed.
    """
    listen(server.app(), host=host, port=port, ready=lambda taken: ready(f"http://{host}:{taken}/"))
