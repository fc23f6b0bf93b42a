"""Many calls at once, results in the order of the inputs, memory bounded by the window."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
COLLECT_EVERY = 50_000
# The place of the item that a task works for, in its flow and in the flows around that, so that the calls of an earlier
# item go first: items then end one by one, and not all at the very end.
PLACE: ContextVar[tuple[int, ...]] = ContextVar("place", default=())


async def ordered(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], *, window: int
) -> AsyncIterator[Result]:
    """Yield `await work(item)` for each item, in input order, with at most `window` items under way.

    Choose the window a few times larger than the calls in flight, so that one slow item does not hold up the others.
    If a worker raises, or the caller stops early, the items under way are cancelled and awaited.
    """
    pending: deque[asyncio.Task[Result]] = deque()
    with _rare_collections():
        try:
            for number, item in enumerate(items):
                outer = PLACE.set((*PLACE.get(), number))
                pending.append(asyncio.ensure_future(work(item)))
                PLACE.reset(outer)
                if len(pending) >= window:
                    yield await pending.popleft()
            while pending:
                yield await pending.popleft()
        finally:
            await _end(pending)


class Engine(Protocol):
    """Who does the work that `spread` gets, in place of this process."""

    def spread(
        self, items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], *, window: int
    ) -> AsyncIterator[Result]:
        """As `ordered`, with at most `window` items under way in each of its processes."""


class _Engines:
    """The engine of the run that is open, None where this process does all by itself."""

    used: Engine | None = None


@contextlib.contextmanager
def spreading(engine: Engine) -> Iterator[None]:
    """Have an engine do what `spread` gets, as long as the context is open."""
    before, _Engines.used = _Engines.used, engine
    try:
        yield
    finally:
        _Engines.used = before


def spread(items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], *, window: int) -> AsyncIterator[Result]:
    """As `ordered`, over many processes where the run has an engine. `work` may then be called in another process:
    it takes what it needs (models too) from its item and from what it is bound to, and changes nothing outside.
    """
    return (ordered if _Engines.used is None else _Engines.used.spread)(items, work, window=window)


async def together(first: Coroutine[Any, Any, Result], *others: Coroutine[Any, Any, Result]) -> list[Result]:
    """The results of all, in their order, as `asyncio.gather` gives them; the first runs in the caller's own task.

    If one raises, or the caller is cancelled, those under way are cancelled and awaited.
    """
    tasks = [asyncio.ensure_future(other) for other in others]
    try:
        return [await first, *[await task for task in tasks]]
    except BaseException:
        await _end(tasks)
        raise


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Collections:
    """How many flows are under way, and how often Python collected its garbage before the first of them."""

    flows = 0
    before = gc.get_threshold()


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the garbage collector run seldom: a flow makes no cycles to speak of, and holds thousands of objects that
    the collector would go through again and again, for a quarter of the processor time.
    """
    if not _Collections.flows:
        _Collections.before = gc.get_threshold()
        first, *later = _Collections.before
        gc.set_threshold(first and max(first, COLLECT_EVERY), *later)  # 0 means that it is switched off
    _Collections.flows += 1
    try:
        yield
    finally:
        _Collections.flows -= 1
        if not _Collections.flows:
            gc.set_threshold(*_Collections.before)
