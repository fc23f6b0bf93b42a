"""Many calls at once, results in the order of the inputs, memory bounded by the window."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def ordered(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]], *, window: int
) -> AsyncIterator[Result]:
    """Yield `await work(item)` for each item, in input order, with at most `window` items under way.

    Choose the window a few times larger than the calls in flight, so that one slow item does not hold up the others.
    If a worker raises, or the caller stops early, the items under way are cancelled and awaited.
    """
    pending: deque[asyncio.Task[Result]] = deque()
    try:
        for item in items:
            pending.append(asyncio.ensure_future(work(item)))
            if len(pending) >= window:
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
