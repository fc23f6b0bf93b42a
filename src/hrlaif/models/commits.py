"""A thread that commits entries in groups: hundreds of calls a second share a few commits; each waits for its own."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")
_Waiting = tuple[Entry, "asyncio.Future[Any] | None"]
_LINGER_S = 0.002
_MOST_AT_ONCE = 1024


class GroupCommits(Generic[Entry]):
    """One thread, started by the first entry, that hands all waiting entries to `commit` at once.

    `commit` returns one result per entry, in their order; what it raises, each of them gets. With `idle_s` it is called
    with no entries after so many seconds without any.
    """

    def __init__(
        self, commit: Callable[[list[Entry]], Sequence[Any]], *, name: str, idle_s: float | None = None
    ) -> None:
        self._commit, self._name, self._idle_s = commit, name, idle_s
        self._waiting: queue.SimpleQueue[_Waiting[Entry] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, entry: Entry) -> Any:
        """Have an entry committed, and return its result once it is."""
        future = asyncio.get_running_loop().create_future()
        self.send(entry, future)
        return await future

    def send(self, entry: Entry, future: asyncio.Future[Any] | None = None) -> None:
        """Have an entry committed, in its turn, without waiting for it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._waiting.put((entry, future))

    def close(self) -> None:
        """Commit what is left and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            outcomes: Sequence[Any]
            try:
                outcomes = self._commit([entry for entry, _ in group])
            except Exception as error:  # whatever it is, the calls must not wait for ever
                outcomes = [error] * len(group)
            _wake([future for _, future in group], outcomes)

    def _next_group(self) -> list[_Waiting[Entry]] | None:
        """All that waits, empty after an idle time; None at the end."""
        try:
            entry = self._waiting.get(timeout=self._idle_s)
        except queue.Empty:
            return []
        if entry is None:
            return None
        time.sleep(_LINGER_S)  # a commit costs as much as many rows: let some gather
        group = [entry]
        while len(group) < _MOST_AT_ONCE and not self._waiting.empty():
            if (entry := self._waiting.get()) is None:
                self._waiting.put(None)
                break
            group.append(entry)
        return group


def _wake(futures: Sequence[asyncio.Future[Any] | None], outcomes: Sequence[Any]) -> None:
    """Tell the waiting calls, each in its own event loop, with one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, outcome in zip(futures, outcomes, strict=True):
        if future is not None:
            by_loop.setdefault(future.get_loop(), []).append((future, outcome))
    for loop, settled in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
