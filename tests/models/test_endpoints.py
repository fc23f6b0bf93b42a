import asyncio
import math
from collections import Counter

import pytest

from hrlaif.config import EndpointSection
from hrlaif.models.endpoints import CallQueue, Endpoint
from hrlaif.models.flow import ordered, together
from hrlaif.models.wire import Secret


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def endpoint(**options: object) -> Endpoint:
    section = EndpointSection.model_validate({"url": "http://127.0.0.1:1/v1", "model": "m", **options})
    return Endpoint(section, Secret(""))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Caller:
    """Calls through a queue one after another, and notes in which order they got their place."""

    def __init__(self, one: Endpoint) -> None:
        self.calls, self.order = CallQueue([one]), list[str]()

    async def call(self, name: str) -> None:
        taken = await self.calls.acquire(1)
        self.order.append(name)
        await settle()
        assert taken.in_flight == 1
        self.calls.release(taken)


def test_an_endpoint_that_is_full_hands_its_place_to_the_next_in_line() -> None:
    async def scenario() -> list[str]:
        caller = Caller(endpoint(in_flight=1))
        await asyncio.gather(*(caller.call(name) for name in "abc"))
        return caller.order

    assert asyncio.run(scenario()) == ["a", "b", "c"]


def test_a_call_that_is_cancelled_gives_its_place_back() -> None:
    async def scenario() -> None:
        one = endpoint(in_flight=1)
        calls = CallQueue([one])
        taken = await calls.acquire(1)
        waiting = [asyncio.ensure_future(calls.acquire(1)) for _ in range(3)]
        await settle()
        waiting[0].cancel()  # while it waits
        calls.release(taken)
        waiting[1].cancel()  # when the place was already its own
        assert await waiting[2] is one
        assert one.in_flight == 1

    asyncio.run(scenario())


def test_three_failures_in_a_row_back_an_endpoint_off_and_one_call_probes_it() -> None:
    one, now = endpoint(in_flight=8), 1000.0
    one.works()
    one.fails("boom", now)
    one.fails("boom", now)
    assert one.wait_s(now) == 0
    one.fails("boom", now)
    later = now + 10.0
    assert one.wait_s(later) == 0
    one.take(1, later)
    assert one.wait_s(later) == math.inf  # one probe at a time
    one.in_flight -= 1
    one.works()
    one.take(1, later)
    assert one.wait_s(later) == 0


def test_an_answer_between_failures_keeps_an_endpoint_in_use() -> None:
    one, now = endpoint(in_flight=8), 1000.0
    for _ in range(10):
        one.fails("boom", now)
        one.fails("boom", now)
        one.works()
    one.take(1, now)
    assert one.wait_s(now) == 0


def test_an_endpoint_says_how_long_its_limits_make_a_call_wait() -> None:
    now = 1000.0
    one = endpoint(requests_per_minute=60)
    one.take(1, now)
    assert one.wait_s(now) == pytest.approx(0.9)  # one a second, a tenth of which may be made up
    one.not_before(now + 7)
    assert one.wait_s(now) == pytest.approx(7)
    many = endpoint(tokens_per_minute=6000)
    many.take(300, now)
    assert many.wait_s(now) == pytest.approx(2.9)  # 100 a second
    many.unused(100)
    assert many.wait_s(now) == pytest.approx(1.9)


def test_a_queue_paces_calls_and_shares_them_by_weight() -> None:
    async def scenario() -> Counter[str]:
        clock = Clock()
        light, heavy = endpoint(weight=1), endpoint(weight=4)
        calls = CallQueue([light, heavy], clock=clock)
        taken = [await calls.acquire(1) for _ in range(25)]
        return Counter("light" if one is light else "heavy" for one in taken)

    assert asyncio.run(scenario()) == {"light": 5, "heavy": 20}


def test_an_endpoint_that_waits_leaves_its_calls_to_the_others() -> None:
    async def scenario() -> None:
        clock = Clock()
        resting, ready = endpoint(), endpoint()
        resting.not_before(clock.now + 60)
        calls = CallQueue([resting, ready], clock=clock)
        assert {await calls.acquire(1) for _ in range(10)} == {ready}
        clock.now += 61
        assert await calls.acquire(1) is resting

    asyncio.run(scenario())


def test_another_try_goes_to_another_endpoint_while_one_is_ready() -> None:
    async def scenario() -> None:
        failed, other = endpoint(), endpoint(in_flight=3)
        for endpoints in ([failed, other], [other, failed]):
            calls = CallQueue(endpoints)
            # The one that failed has the least to do, and would come first for any other call.
            taken = [await calls.acquire(1, last=failed) for _ in range(3)]
            assert taken == [other] * 3
            assert await calls.acquire(1, last=failed) is failed  # the other one is full
            for one in (*taken, failed):
                calls.release(one)

    asyncio.run(scenario())


def test_the_calls_of_an_earlier_item_go_first_so_that_items_end_one_by_one() -> None:
    async def scenario() -> list[str]:
        caller = Caller(endpoint(in_flight=1))
        call, order = caller.call, caller.order

        async def part(name: str) -> None:
            inner = ordered("xy", lambda letter: call(f"{name}{letter}"), window=2)
            assert [done async for done in inner] == [None, None]

        async def work(item: int) -> None:
            await together(call(f"{item}a"), call(f"{item}b"))
            await part(str(item))

        async for _ in ordered(range(6), work, window=6):
            order.append("done")
        return order

    # All items start at once; a call that ends is followed by one of the next item before its own item asks again.
    order = asyncio.run(scenario())
    for item in range(6):
        asked = order[: [place for place, name in enumerate(order) if name == "done"][item]]
        assert {int(name[0]) for name in asked if name != "done"} <= set(range(item + 3))


def test_a_failure_for_all_reaches_every_call_that_waits_or_rests() -> None:
    async def scenario() -> None:
        one = endpoint(in_flight=1)
        calls = CallQueue([one])
        await calls.acquire(1)
        waiting = [asyncio.ensure_future(calls.acquire(1)) for _ in range(3)]
        waiting.append(asyncio.ensure_future(calls.rest(1000.0)))
        await settle()
        calls.fail_all(ValueError("over"))
        assert [str(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == ["over"] * 4

    asyncio.run(scenario())
