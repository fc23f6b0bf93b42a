"""Stages over the machines of a Ray cluster: the same work on the same records, a shard of them at a time.

The driver reads a stage's records, hands shards to the workers and writes what comes back in the order of the records,
so that its files are those of a run on one machine. A worker is a process with models of its own, opened from their
sections; what the workers share is the ledger. A shard whose worker died goes to another one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import ray
from ray import cloudpickle

from hrlaif.config import EndpointSection, RaySection
from hrlaif.errors import ConfigError, ModelError
from hrlaif.models.flow import ordered
from hrlaif.models.http import HttpModel
from hrlaif.models.shared_ledger import SharedLedger

Item = TypeVar("Item")
Result = TypeVar("Result")
log = logging.getLogger("hrlaif.models")
START_S = 120.0
LEAVE_S = 8.0
CONNECT_S = 5.0
# A shard that is under way when its worker dies is tried again; one that ends every worker must not end them all.
MOST_TRIES = 5
SHARDS_EACH = 4
_SHARDS_AT_ONCE = 100_000  # more than a worker is ever given: the driver is who counts


class _Opened:
    """The models that this worker has opened, with the ledgers behind them."""

    models: ClassVar[dict[str, HttpModel]] = {}
    entered: ClassVar[set[str]] = set()
    ledgers: ClassVar[dict[str, SharedLedger]] = {}


_Closed = tuple[list[str], str, float, float]


def _closed(model: HttpModel) -> _Closed:
    """What it takes to open the model elsewhere; never its keys, which each machine has in its environment."""
    ledger = model.ledger
    if not isinstance(ledger, SharedLedger):
        raise ConfigError("engine = 'ray' needs a ledger that all workers reach: set ledger to a PostgreSQL url")
    sections = [
        endpoint.section.model_dump_json(include=set(EndpointSection.model_fields)) for endpoint in model.endpoints
    ]
    return sections, ledger.place, ledger.lease_s, model.limit_usd


def _reopened(closed: _Closed) -> HttpModel:
    sections, place, lease_s, limit_usd = closed
    name = json.dumps(closed)
    if name not in _Opened.models:
        if place not in _Opened.ledgers:
            _Opened.ledgers[place] = SharedLedger(place, lease_s=lease_s)
        parsed = [EndpointSection.model_validate_json(section) for section in sections]
        _Opened.models[name] = HttpModel(parsed, ledger=_Opened.ledgers[place], budget_usd=limit_usd)
    return _Opened.models[name]


class _Worker:
    """One process of the crew."""

    def __init__(self) -> None:
        self._works: dict[int, Any] = {}

    async def ready(self) -> None:
        """Answer, which is all that it takes."""

    async def do(self, number: int, work: list[Any], shard: bytes) -> list[Any]:
        """`work` (a reference to it, in a list) on a shard; one work comes many times under its number.

        Both are unpickled here and not by Ray, which has an error of its own for a model that cannot be opened.
        """
        if number not in self._works:
            self._works = {number: cloudpickle.loads(await work[0])}
        items: Sequence[Any] = cloudpickle.loads(shard)
        for name, model in list(_Opened.models.items()):
            if name not in _Opened.entered:
                _Opened.entered.add(name)
                await model.__aenter__()
        return [result async for result in ordered(items, self._works[number], window=len(items))]

    async def leave(self) -> None:
        """Let calls that are being answered reach the ledger."""
        for name in _Opened.entered:
            await _Opened.models[name].__aexit__()
        for ledger in _Opened.ledgers.values():
            await asyncio.to_thread(ledger.close)


@dataclass(eq=False, slots=True)
class _Hand:
    """A worker as the driver sees it."""

    actor: Any
    is_ready: bool = False
    shards: int = 0


@dataclass(slots=True)
class _Job:
    """One call of `spread`: its work, and who waits for a free worker."""

    number: int
    work: list[Any]
    most_each: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    watchers: set[asyncio.Task[None]] = field(default_factory=set)


class RayEngine:
    """Workers on a Ray cluster, started at the first use, on this machine where the section names no address.

    Raises (at the first use):
        ModelError: There is no such cluster, or it starts no worker.
    """

    def __init__(self, section: RaySection) -> None:
        self._section = section
        self._hands: list[_Hand] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._is_ours = True

    async def spread(
        self, items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], *, window: int
    ) -> AsyncIterator[Result]:
        """As `flow.ordered`, with at most `window` items under way on each worker."""
        self._start()
        # Several for each worker, so that it has calls to make while one is under way to it; few records reach all.
        shard = max(1, min(self._section.shard, window // max(SHARDS_EACH, len(self._hands))))
        job = _Job(next(self._numbers), [ray.put(cloudpickle.dumps(work))], window // shard)
        self._watch(job)
        most = 2 * job.most_each * len(self._hands)
        pending: deque[asyncio.Task[list[Result]]] = deque()
        try:
            for part in _shards(items, shard):
                pending.append(asyncio.ensure_future(self._done(job, part)))
                if len(pending) >= most:
                    for result in await pending.popleft():
                        yield result
            while pending:
                for result in await pending.popleft():
                    yield result
        finally:
            left = [*pending, *job.watchers]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def close(self) -> None:
        """Let the workers finish what endpoints are answering, and end them."""
        if not self._hands:
            return
        try:
            ready = [hand.actor.leave.remote() for hand in self._hands if hand.is_ready]
            ray.wait(ready, num_returns=len(ready), timeout=LEAVE_S) if ready else None
        finally:
            for hand in self._hands:
                ray.kill(hand.actor)
            self._hands.clear()
            if self._is_ours:
                ray.shutdown()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        with self._lock:
            if self._hands:
                return
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            section, here = self._section, {}
            if not section.address:
                here = {"num_cpus": max(section.workers, os.cpu_count() or 1), "include_dashboard": False}
            self._is_ours = not ray.is_initialized()
            try:
                if self._is_ours:
                    _check_answers(section.address)
                    ray.init(address=section.address or "local", configure_logging=False, **here)
            except (OSError, ray.exceptions.RayError, ValueError) as error:
                raise ModelError(
                    f"ray.address {section.address!r}: no Ray cluster there ({error}). Start one with `ray start`, on "
                    "this machine too."
                ) from error
            ray.util.register_serializer(HttpModel, serializer=_closed, deserializer=_reopened)
            self._hands += [_Hand(_hired()) for _ in range(section.workers)]

    async def _done(self, job: _Job, shard: Sequence[Item]) -> list[Any]:
        """What came of one shard, at whichever worker does it."""
        packed = cloudpickle.dumps(shard)
        for _ in range(MOST_TRIES):
            hand = await self._free(job)
            hand.shards += 1
            reference = hand.actor.do.remote(job.number, job.work, packed)
            try:
                results: list[Any] = await reference
                return results
            except asyncio.CancelledError:
                ray.cancel(reference)
                raise
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                self._replace(job, hand, error)
            finally:
                hand.shards -= 1
                job.changed.set()
        raise ModelError(
            f"{MOST_TRIES} Ray workers in a row died with the same {len(shard)} records. Look at their logs (memory?), "
            "then run the same command again to continue."
        )

    async def _free(self, job: _Job) -> _Hand:
        """The ready worker with the fewest shards, once there is one that takes another."""
        while True:
            job.changed.clear()
            ready = [hand for hand in self._hands if hand.is_ready and hand.shards < job.most_each]
            if ready:
                return min(ready, key=lambda hand: hand.shards)
            await job.changed.wait()
            for watcher in [watcher for watcher in job.watchers if watcher.done()]:
                watcher.result()  # raises where no worker could be started

    def _replace(self, job: _Job, hand: _Hand, error: Exception) -> None:
        """Put a new worker in the place of one that died; each of its shards comes here."""
        if hand not in self._hands:
            return
        log.warning("a Ray worker died (%s); its records go to another", str(error).strip().splitlines()[0])
        ray.kill(hand.actor)
        self._hands[self._hands.index(hand)] = _Hand(_hired())
        self._watch(job)

    def _watch(self, job: _Job) -> None:
        for hand in self._hands:
            if not hand.is_ready:
                job.watchers.add(asyncio.ensure_future(self._await_ready(job, hand)))

    async def _await_ready(self, job: _Job, hand: _Hand) -> None:
        started = time.monotonic()
        try:
            while not hand.is_ready and hand in self._hands:
                reference = hand.actor.ready.remote()
                try:
                    await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(reference.future())), timeout=START_S)
                    hand.is_ready = True
                except asyncio.TimeoutError:
                    if not any(other.is_ready for other in self._hands):
                        raise ModelError(
                            f"Ray started no worker within {START_S:.0f} s. Each takes one CPU of the cluster: see "
                            "`ray status`."
                        ) from None
                except ray.exceptions.RayError as error:
                    if time.monotonic() - started > START_S:
                        raise ModelError(f"Ray starts no worker: {error}") from error
                    if hand in self._hands:
                        replaced = _Hand(_hired())
                        self._hands[self._hands.index(hand)] = replaced
                        hand = replaced
                    await asyncio.sleep(1.0)
        finally:
            job.changed.set()


def _check_answers(address: str) -> None:
    """Ask at HOST:PORT, where Ray itself would go on asking for two minutes and then end the process."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()


def _hired() -> Any:
    options = {"num_cpus": 1, "max_concurrency": _SHARDS_AT_ONCE, "scheduling_strategy": "SPREAD"}
    return ray.remote(**options)(_Worker).remote()


def _shards(items: Iterable[Item], size: int) -> Iterable[list[Item]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part
