"""A vLLM server that samples a policy while it is trained: adapters loaded as it runs, token ids in and out.

`vllm serve BASE --enable-lora` with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment. Used of its API:
`GET /v1/models`, `POST /v1/load_lora_adapter`, `POST /v1/unload_lora_adapter` and `POST /v1/completions` with
`return_token_ids` (vLLM 0.10.2 and later).
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hrlaif.config import EndpointSection
from hrlaif.errors import ModelError
from hrlaif.models import wire
from hrlaif.models.attempt import FailedAttemptError, send
from hrlaif.models.endpoints import CallQueue, Endpoint, endpoint_key, jitter
from hrlaif.models.flow import ordered
from hrlaif.models.wire import Fate

WINDOWS = 4
_FIRST_RETRY_S = 0.5
_MOST_RETRY_S = 30.0
_FINAL = (Fate.FATAL, Fate.REFUSED)
_RUNTIME = "Start it with --enable-lora and with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment."
_CONTINUE = "Checkpoints are kept: run the same command again to continue."
_LOADING = (
    f"{_RUNTIME} It must read that folder, under the same path (policy.adapter_dir), and its --max-lora-rank must be "
    f"at least policy.lora.rank. {_CONTINUE}"
)
_ANSWERING = f"A server that was restarted has lost its adapter. {_CONTINUE}"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Completion:
    """A sampled response: its tokens, the stop token last if it is `finished`.

    `logprobs` are the server's own, in nats, of the first tokens at least; empty where it gave none.
    """

    tokens: tuple[int, ...]
    finished: bool
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw, to the first of `stop_ids`. Nothing else shapes the distribution: the server's defaults are off.

    `end_id`, one of them, is put at the end of a response that the server says has ended, but without its stop token.
    """

    temperature: float
    max_tokens: int
    stop_ids: Collection[int]
    end_id: int


class VllmServer:
    """One server, called from outside any event loop; `key` says in messages which section of a configuration it is.

    All methods raise ModelError, with what to do, once a call is refused or has failed more often than `retries`.
    """

    def __init__(self, section: EndpointSection, *, key: str, environment: Mapping[str, str] = os.environ) -> None:
        self.section, self.key = section, key
        secret, self._variable = endpoint_key(section, environment)
        self._endpoint = Endpoint(section, secret)

    def served(self) -> dict[str, int | None]:
        """The names of models and adapters that it serves, each with its context length in tokens where it says so."""
        try:
            return self._run(lambda queue: self._call(queue, "/models", None, _names))
        except FailedAttemptError as failed:
            raise self._given_up(failed, "it does not say what it serves", "The url usually ends in /v1.") from failed

    def load(self, name: str, folder: Path) -> None:
        """Load the adapter in a folder that the server can read, under a name that was never used before."""
        body = {"lora_name": name, "lora_path": str(folder)}
        try:
            self._run(lambda queue: self._call(queue, "/load_lora_adapter", body, _nothing))
        except FailedAttemptError as failed:
            if failed.status == 400 and "already" in failed.reason:
                return  # by a try whose answer was lost
            if failed.status in (404, 405) and "adapter" not in failed.reason:
                raise self._given_up(failed, "it cannot load adapters while it runs", _RUNTIME) from failed
            raise self._given_up(failed, f"it cannot load the adapter in {folder}", _LOADING) from failed

    def unload(self, name: str) -> None:
        """Forget an adapter; one that is not there is no error."""
        try:
            self._run(lambda queue: self._call(queue, "/unload_lora_adapter", {"lora_name": name}, _nothing))
        except FailedAttemptError as failed:
            if failed.status not in (400, 404):
                raise self._given_up(failed, f"it cannot unload the adapter {name}", _CONTINUE) from failed

    def complete(
        self, name: str, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[Completion]:
        """One response per prompt (token ids), by the adapter of that name."""

        async def draw_all(queue: CallQueue) -> list[Completion]:
            async def draw(row: int) -> Completion:
                body = _completion_body(name, prompts[row], seeds[row], sampling)
                tokens = len(prompts[row]) + sampling.max_tokens
                return await self._call(
                    queue, "/completions", body, lambda raw: self._completion(raw, name, sampling), tokens=tokens
                )

            window = WINDOWS * self.section.in_flight
            return [reply async for reply in ordered(range(len(prompts)), draw, window=window)]

        try:
            return self._run(draw_all)
        except FailedAttemptError as failed:
            raise self._given_up(failed, "it does not answer a prompt", _ANSWERING) from failed

    def _run(self, work: Callable[[CallQueue], Coroutine[Any, Any, Result]]) -> Result:
        async def run() -> Result:
            async with self._open() as queue:
                return await work(queue)

        return asyncio.run(run())

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[CallQueue]:
        await self._endpoint.open()
        queue = CallQueue([self._endpoint])
        try:
            yield queue
        finally:
            queue.close()
            await self._endpoint.close()

    async def _call(
        self,
        queue: CallQueue,
        path: str,
        body: dict[str, Any] | None,
        read: Callable[[bytes], Result],
        *,
        tokens: int = 0,
    ) -> Result:
        """Try until there is an answer that can be read; what cannot be retried ends at once."""
        sent = None if body is None else wire.encode(body)
        tries = 0
        while True:
            endpoint = await queue.acquire(tokens)
            started = time.monotonic()
            try:
                status, headers, raw = await send(endpoint, self.section.url + path, sent)
                if status != 200:
                    text = wire.error_text(raw)
                    said = f"{status} {text}".strip()
                    raise FailedAttemptError(wire.fate(status, text), said, status, wire.retry_after_s(headers))
                result = read(raw)
                endpoint.works()
                endpoint.window.answered(time.monotonic() - started)
                return result
            except FailedAttemptError as failed:
                failure = failed
            finally:
                queue.release(endpoint)
            tries += 1
            if failure.fate in _FINAL or tries > self.section.retries:
                raise failure
            if failure.fate in (Fate.RATE_LIMITED, Fate.OVERLOADED):
                endpoint.window.turned_away()
            endpoint.not_before(time.monotonic() + failure.retry_after_s)
            await queue.rest(jitter(tries, _FIRST_RETRY_S, _MOST_RETRY_S))

    def _completion(self, raw: bytes, name: str, sampling: Sampling) -> Completion:
        try:
            body = wire.decode(raw)
            choice = body["choices"][0]
            drawn, reason, logprobs = choice.get("token_ids"), choice["finish_reason"], choice.get("logprobs") or {}
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            seen = raw[: wire.MAX_ERROR_CHARS].decode("utf-8", "replace")
            raise FailedAttemptError(Fate.FAULTY, f"its reply is not a completion: {seen!r}") from error
        if body.get("model") not in (None, name):
            raise self._error(f"it answered as {body['model']!r} when asked for the adapter {name!r}.")
        if not isinstance(drawn, list):
            raise self._error("its reply holds no token ids. It has to be vLLM 0.10.2 or later.")
        if reason not in ("stop", "length"):
            raise FailedAttemptError(Fate.FAULTY, f"a response ended for the reason {reason!r}")
        return _read(drawn, choice.get("stop_reason"), logprobs.get("token_logprobs") or (), reason == "stop", sampling)

    def _given_up(self, failed: FailedAttemptError, what: str, advice: str) -> ModelError:
        if failed.status in (401, 403):
            advice = f"Put a valid key into the environment variable {self._variable}."
        elif failed.fate is Fate.UNREACHABLE:
            advice = f"Is the server running, and is this its address? {_CONTINUE}"
        elif failed.fate is Fate.OVERLOADED and not failed.status:
            advice = f"Raise {self.key}.timeout_s or lower {self.key}.in_flight. {_CONTINUE}"
        return self._error(f"{what}: {failed.reason}. {advice}")

    def _error(self, text: str) -> ModelError:
        return ModelError(f"{self.key}: {self.section.url}: {text}")


def _completion_body(name: str, prompt: Sequence[int], seed: int, sampling: Sampling) -> dict[str, Any]:
    return {
        "model": name,
        "prompt": list(prompt),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": seed,
        # What a model's generation_config.json would otherwise set: responses must come from the policy itself.
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "ignore_eos": True,
        "stop_token_ids": sorted(sampling.stop_ids),
        "logprobs": 0,
        "return_token_ids": True,
    }


def _names(raw: bytes) -> dict[str, int | None]:
    try:
        return {str(card["id"]): card.get("max_model_len") for card in wire.decode(raw)["data"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        seen = raw[: wire.MAX_ERROR_CHARS].decode("utf-8", "replace")
        raise FailedAttemptError(Fate.FAULTY, f"its reply is no list of models: {seen!r}") from error


def _nothing(raw: bytes) -> None:
    """An answer of which only the status counts."""


def _read(
    drawn: Sequence[int], stop_reason: object, logprobs: Sequence[float | None], stopped: bool, sampling: Sampling
) -> Completion:
    """The response up to its first stop token, which is put back where the server left it out."""
    stops = sampling.stop_ids
    place = next((place for place, token in enumerate(drawn) if token in stops), None)
    if place is not None:
        tokens, finished = tuple(drawn[: place + 1]), True
    elif stopped:
        stop = stop_reason if isinstance(stop_reason, int) and stop_reason in stops else sampling.end_id
        tokens, finished = (*drawn, stop), True
    else:
        tokens, finished = tuple(drawn), False
    if not tokens:
        raise FailedAttemptError(Fate.FAULTY, "a response holds no token")
    given = logprobs[: len(tokens)]
    numbers = tuple(number for number in given if number is not None and math.isfinite(number))
    return Completion(tokens, finished, numbers if len(numbers) == len(given) else ())
