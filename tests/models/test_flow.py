import asyncio
import gc
from collections.abc import Iterator

import pytest

from hrlaif.models.flow import COLLECT_EVERY, ordered, together


def collect(count: int, window: int, *, delay: dict[int, int] | None = None) -> tuple[list[int], int]:
    """The results of doubling 0..count-1 with some items slow by so many turns of the loop, and the most under way."""
    under_way, most = 0, 0

    async def work(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range((delay or {}).get(item, 1)):
            await asyncio.sleep(0)
        under_way -= 1
        return item * 2

    async def run() -> list[int]:
        return [result async for result in ordered(range(count), work, window=window)]

    return asyncio.run(run()), most


@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_results_come_in_the_order_of_the_items_whichever_is_done_first(window: int) -> None:
    results, _ = collect(9, window, delay={0: 30, 4: 20})
    assert results == [0, 2, 4, 6, 8, 10, 12, 14, 16]


@pytest.mark.parametrize("window", [1, 3, 8])
def test_no_more_than_the_window_is_under_way(window: int) -> None:
    _, most = collect(20, window, delay=dict.fromkeys(range(20), 10))
    assert most == window


def test_no_items_are_no_results() -> None:
    assert collect(0, 3) == ([], 0)


def test_items_are_read_only_as_they_are_needed() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            read.append(item)
            yield item

    async def work(item: int) -> int:
        return item

    async def run() -> int:
        results = ordered(items(), work, window=4)
        first = await anext(results)
        await results.aclose()
        return first

    assert asyncio.run(run()) == 0
    assert read == [0, 1, 2, 3]


def test_an_error_reaches_the_caller_at_its_place_and_ends_what_is_under_way() -> None:
    ended: list[int] = []

    async def work(item: int) -> int:
        if item == 2:
            raise LookupError("two")
        try:
            if item > 2:
                await asyncio.sleep(3600)
        finally:
            ended.append(item)
        return item

    got: list[int] = []

    async def run() -> None:
        async for result in ordered(range(100), work, window=5):
            got.append(result)

    with pytest.raises(LookupError, match="two"):
        asyncio.run(run())
    assert got == [0, 1]
    assert set(ended) >= {0, 1, 3, 4}
    assert max(ended) <= 7


def test_a_caller_that_stops_early_leaves_nothing_running() -> None:
    cancelled: list[int] = []

    async def work(item: int) -> int:
        try:
            await asyncio.sleep(0 if item == 0 else 3600)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    async def run() -> int:
        results = ordered(range(10), work, window=3)
        assert await anext(results) == 0
        await results.aclose()
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(run()) == 0
    assert cancelled == [1, 2]


def test_garbage_is_collected_seldom_while_any_flow_is_under_way_and_as_before_afterwards() -> None:
    async def threshold(item: int) -> int:
        return gc.get_threshold()[0]

    async def run() -> list[int]:
        outer = ordered(range(3), threshold, window=1)
        seen = [await anext(outer)]
        seen += [within async for within in ordered(range(2), threshold, window=1)]
        seen.append(await anext(outer))
        await outer.aclose()
        return seen

    before = gc.get_threshold()
    assert before[0] < COLLECT_EVERY
    assert asyncio.run(run()) == [COLLECT_EVERY] * 4
    assert gc.get_threshold() == before


def test_works_together_run_at_once_and_answer_in_their_order() -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def work(mine: asyncio.Event, other: asyncio.Event, name: str) -> str:
        mine.set()
        await other.wait()
        return name

    async def run() -> list[str]:
        return await together(work(first, second, "a"), work(second, first, "b"))

    assert asyncio.run(run()) == ["a", "b"]


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_when_one_work_fails_or_its_caller_leaves_the_others_end(fails: int) -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            if number > 0 or fails == 2:
                await asyncio.sleep(0 if number == 1 == fails else 3600)
            if number == fails:
                raise LookupError(number)
        finally:
            ended.append(number)

    async def run() -> int:
        running = asyncio.ensure_future(together(work(0), work(1), work(2)))
        for _ in range(5):
            await asyncio.sleep(0)
        if fails == 2:
            running.cancel()
        with pytest.raises(asyncio.CancelledError if fails == 2 else LookupError):
            await running
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(run()) == 0
    # A task that never began has nothing to end: with the first work failing at once, the others had not begun.
    assert sorted(ended) == ([0] if fails == 0 else [0, 1, 2])
