"""Any OpenAI-compatible chat endpoint, or several that serve one model: many calls at once, each paid once.

What can be retried is retried (no connection, 408, 409, 429, 5xx, broken JSON, timeouts); what cannot costs its own
call (400, 422) or stops the run with one message (401, 403, 404). Replies go to the ledger before they are used.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hrlaif.config import EndpointSection, JudgeSection
from hrlaif.errors import CallError, ConfigError, ModelError
from hrlaif.models import wire
from hrlaif.models.attempt import FailedAttemptError, send
from hrlaif.models.base import Calls, ChatReply, ChatRequest
from hrlaif.models.endpoints import CallQueue, Endpoint, endpoint_key, jitter, log
from hrlaif.models.limits import Budget
from hrlaif.models.wire import Fate

PATIENCE_S = 900.0
LONGEST_RETRY_AFTER_S = 600.0
REFUSALS_BEFORE_ANY_ANSWER = 50
LEAVE_S = 5.0
_FIRST_RETRY_S = 0.5
_MOST_RETRY_S = 30.0
_ADVICE = {
    401: "Put a valid key into the environment variable {variable}.",
    402: "The account behind the key has no credit left.",
    403: "The key in the environment variable {variable} may not use this model.",
    404: "Check the url (it usually ends in /v1) and the model name {model!r}.",
    429: "The account behind the key has no credit left.",
}


class HttpModel:
    """A ChatModel over HTTP.

    Args:
        endpoints: One or more endpoints that serve the same model; the first one names it. A JudgeSection brings its
            replicas and its budget.
        ledger: Where paid replies are kept and found again; without one nothing is remembered.
        budget_usd: Stop when so much is paid, earlier calls in the ledger included; 0 means no limit.
        budget: One that several models share, in place of `budget_usd`.
        first_contact_s: Give up when no endpoint was ever reached so long after the first failure.
        environment: Where keys are read from: `key_env` if set, else HRLAIF_JUDGE_KEY, else OPENAI_API_KEY.

    Raises:
        ConfigError: An endpoint has no url, or its key is missing.
    """

    def __init__(
        self,
        endpoints: EndpointSection | Sequence[EndpointSection],
        *,
        ledger: Calls | None,
        budget_usd: float = 0.0,
        budget: Budget | None = None,
        first_contact_s: float = 5.0,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        sections = (endpoints,) if isinstance(endpoints, EndpointSection) else tuple(endpoints)
        if len(sections) == 1 and isinstance(sections[0], JudgeSection):
            budget_usd = budget_usd or sections[0].budget_usd
            sections = (sections[0], *sections[0].replicas)
        if not sections or not all(section.url for section in sections):
            raise ConfigError("url: an endpoint needs one, such as http://127.0.0.1:8000/v1.")
        self.name = sections[0].model
        self._section = sections[0]
        self.endpoints: list[Endpoint] = []
        self._variables: dict[str, str] = {}
        for section in sections:
            key, self._variables[section.url] = endpoint_key(section, environment)
            self.endpoints.append(Endpoint(section, key))
        self.ledger = ledger
        self._first_contact_s = first_contact_s
        self._paid_here = 0.0
        self._shared_budget = budget
        self._budget = Budget(budget_usd, self._paid_usd)
        self._queue = CallQueue(self.endpoints)
        self._entered = 0
        self._answered = False
        self._refused = 0
        self._troubled_since: float | None = None
        self._fatal: ModelError | None = None
        self._calls: dict[bytes, asyncio.Task[ChatReply]] = {}
        self._on_wire: set[asyncio.Task[Any]] = set()

    @property
    def limit_usd(self) -> float:
        """The budget of its calls; 0 means no limit."""
        return self._budget.limit_usd if self._shared_budget is None else self._shared_budget.limit_usd

    @property
    def in_flight(self) -> int:
        """How many calls may be in flight at most, over all endpoints."""
        return sum(endpoint.section.in_flight for endpoint in self.endpoints)

    async def __aenter__(self) -> HttpModel:
        if self._entered == 0:
            self._fatal = None
            self._budget = self._shared_budget or Budget(self._budget.limit_usd, self._paid_usd)
            self._queue = CallQueue(self.endpoints)
            self._troubled_since = None
            for endpoint in self.endpoints:
                await endpoint.open()
        self._entered += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self._entered -= 1
        if self._entered:
            return
        # Calls that the endpoint is answering are paid for: let them reach the ledger, and drop the others.
        for task in set(self._calls.values()) - self._on_wire:
            task.cancel()
        if self._on_wire:
            await asyncio.wait(self._on_wire, timeout=LEAVE_S)
        left = list(self._calls.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._queue.close()
        for endpoint in self.endpoints:
            await endpoint.close()

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request, from the ledger where it was paid for before; the same request twice is paid once.

        Raises:
            CallError: The endpoint refuses this request, or failed it more often than `retries`.
            BudgetError: The budget is spent.
            ModelError: No call can succeed: unreachable, wrong key, unknown model.
            DataError: The ledger cannot be written.
        """
        body = wire.encode(wire.fields(request))
        key = wire.call_key(self.name, body)
        if self.ledger is not None and (known := self.ledger.peek(key)) is not None:
            return known
        if (task := self._calls.get(key)) is not None:
            return dataclasses.replace(await asyncio.shield(task), cached=True)
        if self._entered == 0:
            raise RuntimeError("enter the model first: `async with model:`")
        task = asyncio.get_running_loop().create_task(self._pay(key, request, body))
        self._calls[key] = task
        task.add_done_callback(functools.partial(self._call_ended, key))
        return await asyncio.shield(task)

    def _call_ended(self, key: bytes, task: asyncio.Task[ChatReply]) -> None:
        del self._calls[key]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; asyncio would complain that nobody looked

    async def _pay(self, key: bytes, request: ChatRequest, body: bytes) -> ChatReply:
        tokens = wire.estimated_tokens(body) + request.max_tokens
        highest_usd = wire.price(tokens - request.max_tokens, request.max_tokens, self._section).usd
        task = asyncio.current_task()
        assert task is not None
        if self.ledger is not None:
            known = await self.ledger.claim(key, usd=highest_usd, limit_usd=self.limit_usd)
            if known is not None:
                return known
        try:
            await self._budget.hold(highest_usd)
            try:
                reply = await self._answer(task, key, request, body, tokens=tokens)
                self._paid_here += reply.cost.usd
            finally:
                self._budget.settle(highest_usd)
            return reply
        except BaseException:
            if self.ledger is not None:
                self.ledger.release(key)
            raise
        finally:
            self._on_wire.discard(task)

    async def _answer(
        self, task: asyncio.Task[Any], key: bytes, request: ChatRequest, body: bytes, *, tokens: int
    ) -> ChatReply:
        """Try until there is an answer. The call is in flight until the answer is recorded, so that whatever ends this
        process costs no more calls than may be in flight.
        """
        tries, faults, endpoint = 0, 0, None
        while True:
            if self._fatal is not None:
                raise self._fatal
            endpoint = await self._queue.acquire(tokens, last=endpoint)
            try:
                if self.ledger is not None:
                    await self.ledger.turn(endpoint.section, tokens)
                self._on_wire.add(task)
                started = time.monotonic()
                reply = await self._attempt(endpoint, request, body)
                seconds = time.monotonic() - started
                self._note_answer(endpoint, seconds)
                self._unused(endpoint, tokens - reply.cost.prompt_tokens - reply.cost.completion_tokens)
                if self.ledger is not None:
                    await self.ledger.put(key, reply, purpose=request.purpose, seconds=seconds)
                return reply
            except FailedAttemptError as failed:
                self._unused(endpoint, tokens)
                failure = failed
                self._note_failure(endpoint, failed)
            finally:
                self._queue.release(endpoint)
            self._on_wire.discard(task)
            tries += 1
            faults += failure.fate in (Fate.OVERLOADED, Fate.FAULTY)
            if faults > endpoint.section.retries:
                raise self._given_up(endpoint, failure, faults)
            if self._entered == 0:
                raise CallError(f"{endpoint.section.url}: {failure.reason}, and the run ended before another try")
            waits_at_endpoint = failure.retry_after_s or failure.fate is Fate.UNREACHABLE
            await self._queue.rest(jitter(1 if waits_at_endpoint else tries, _FIRST_RETRY_S, _MOST_RETRY_S))

    async def _attempt(self, endpoint: Endpoint, request: ChatRequest, body: bytes) -> ChatReply:
        """One POST, and more where the endpoint rejects a field that it can do without."""
        adaptations = endpoint.adaptations
        while True:
            if adaptations:
                body = wire.encode(wire.fields(request, adaptations))
            status, headers, raw = await send(endpoint, endpoint.url, wire.with_model(endpoint.section.model, body))
            if status == 200:
                try:
                    reply = wire.parse_reply(raw, body, endpoint.section)
                except wire.BrokenReplyError as error:
                    raise FailedAttemptError(Fate.FAULTY, str(error), status) from error
                self._remember(endpoint, adaptations)
                return reply
            text = wire.error_text(raw)
            change = wire.adaptation_for(text, wire.fields(request, adaptations)) if status in (400, 422) else None
            if change is None:
                raise FailedAttemptError(
                    wire.fate(status, text), f"{status} {text}".strip(), status, wire.retry_after_s(headers)
                )
            adaptations |= {change}

    def _unused(self, endpoint: Endpoint, tokens: int) -> None:
        endpoint.unused(tokens)
        if self.ledger is not None:
            self.ledger.unused(endpoint.section, tokens)

    def _remember(self, endpoint: Endpoint, adaptations: frozenset[wire.Adaptation]) -> None:
        for adaptation in adaptations - endpoint.adaptations:
            log.warning("%s rejects a field and now %s", endpoint.section.url, adaptation.value)
        endpoint.adaptations |= adaptations

    def _note_answer(self, endpoint: Endpoint, seconds: float) -> None:
        endpoint.works()
        endpoint.window.answered(seconds)
        self._answered = True
        self._troubled_since = None

    def _note_failure(self, endpoint: Endpoint, failed: FailedAttemptError) -> None:
        """Update the endpoint, and end the call or the run where trying again is no use."""
        now = time.monotonic()
        where = f"{endpoint.section.url}: {failed.reason}"
        if failed.fate is Fate.FATAL:
            advice = _ADVICE.get(failed.status, "Check the url and the model name.")
            variable = self._variables[endpoint.section.url]
            raise self._stop(f"{where}. {advice.format(variable=variable, model=endpoint.section.model)}")
        if failed.fate is Fate.REFUSED:
            endpoint.works()
            self._refused += 1
            if not self._answered and self._refused >= REFUSALS_BEFORE_ANY_ANSWER:
                raise self._stop(
                    f"{where}. It refused the first {self._refused} calls: check the model and its options."
                )
            raise CallError(where)
        if failed.retry_after_s > LONGEST_RETRY_AFTER_S:
            raise self._stop(
                f"{where}. It asks to wait {failed.retry_after_s:.0f} s: run the same command later, nothing is lost."
            )
        endpoint.not_before(now + failed.retry_after_s)
        if failed.fate in (Fate.RATE_LIMITED, Fate.OVERLOADED):
            endpoint.window.turned_away()
        if failed.fate is not Fate.RATE_LIMITED:
            endpoint.fails(failed.reason, now)
        endpoint.unreachable = failed.fate is Fate.UNREACHABLE
        if self._troubled_since is None:
            self._troubled_since = now
        silent_s = now - self._troubled_since
        if (
            not self._answered
            and silent_s > self._first_contact_s
            and all(known.unreachable for known in self.endpoints)
        ):
            raise self._stop(f"{where}. Is the server running, and is this its address?")
        if silent_s > PATIENCE_S:
            raise self._stop(f"{where}. No answer for {silent_s:.0f} s: run the same command when it works again.")

    def _given_up(self, endpoint: Endpoint, failed: FailedAttemptError, attempts: int) -> ModelError:
        message = f"{endpoint.section.url}: {failed.reason} ({attempts} attempts)"
        if self._answered:
            return CallError(message)
        return self._stop(f"{message}. It has not answered a single call: check the server, the url and the model.")

    def _stop(self, message: str) -> ModelError:
        """End the run: every call that waits, or comes later, gets the first such error."""
        if self._fatal is None:
            self._fatal = ModelError(message)
            self._queue.fail_all(self._fatal)
        return self._fatal

    def _paid_usd(self) -> float:
        return self._paid_here if self.ledger is None else self.ledger.paid_usd
