import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hrlaif.config import EndpointSection
from hrlaif.errors import BudgetError, ConfigError, DataError
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.http import HttpModel
from hrlaif.models.scripted import ScriptedServer, completion
from hrlaif.types import Cost, Finish, Message

pytest.importorskip("psycopg", reason="needs the scale extra: pip install 'hrlaif[scale]'")

from hrlaif.models.shared_ledger import SharedLedger

REPLY = ChatReply("A", Finish.STOP, "m", (), Cost(1, 10, 1, 1.0))

ASKS = """
import asyncio, sys
from hrlaif.config import EndpointSection
from hrlaif.errors import BudgetError
from hrlaif.models.base import ChatRequest
from hrlaif.models.http import HttpModel
from hrlaif.models.shared_ledger import SharedLedger
from hrlaif.types import Message

place, url, questions, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), eval(sys.argv[4])

async def main():
    with SharedLedger(place, lease_s=1.0) as ledger:
        budget_usd = options.pop("budget_usd", 0.0)
        model = HttpModel(EndpointSection(url=url, model="judge", **options), ledger=ledger, budget_usd=budget_usd)
        requests = [ChatRequest((Message("user", str(n)),), max_tokens=4, purpose="test") for n in range(questions)]
        async with model:
            outcomes = await asyncio.gather(*map(model.chat, requests), return_exceptions=True)
        print(sum(not isinstance(outcome, BaseException) for outcome in outcomes), end=" ")
        print(*{str(o) for o in outcomes if isinstance(o, BaseException) and not isinstance(o, BudgetError)})

asyncio.run(main())
"""


@pytest.fixture
def place(postgres: Any) -> str:
    return str(postgres.database())


@pytest.fixture
def ledgers(place: str) -> Iterator[tuple[SharedLedger, SharedLedger]]:
    """Two that share one database, as two hosts would."""
    with SharedLedger(place, lease_s=1.0) as one, SharedLedger(place, lease_s=1.0) as other:
        yield one, other


async def claim(ledger: SharedLedger, key: bytes, usd: float = 0.0, limit_usd: float = 0.0) -> ChatReply | None:
    return await asyncio.wait_for(ledger.claim(key, usd=usd, limit_usd=limit_usd), timeout=10)


async def is_waiting(task: "asyncio.Task[Any]") -> bool:
    await asyncio.sleep(0.3)
    return not task.done()


def asking(place: str, url: str, questions: int, **options: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", ASKS, place, url, str(questions), repr(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def answers_of(process: "subprocess.Popen[bytes]") -> int:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    answers, _, failures = out.decode().strip().partition(" ")
    assert not failures
    return int(answers)


def text_of(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def test_a_request_in_flight_elsewhere_is_not_asked_again_and_its_reply_serves_both(ledgers: Any) -> None:
    async def both() -> ChatReply | None:
        one, other = ledgers
        assert await claim(one, b"key") is None
        waiting = asyncio.ensure_future(claim(other, b"key"))
        assert await is_waiting(waiting)
        await one.put(b"key", REPLY, purpose="test", seconds=0.0)
        return await waiting

    found = asyncio.run(both())
    assert found is not None
    assert (found.text, found.cached, found.cost) == ("A", True, REPLY.cost)


def test_a_call_that_failed_or_was_cancelled_is_free_for_others(ledgers: Any) -> None:
    async def both() -> None:
        one, other = ledgers
        assert await claim(one, b"key") is None
        one.release(b"key")
        assert await claim(other, b"key") is None
        cancelled = asyncio.ensure_future(claim(one, b"2"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0.05)
        assert await claim(other, b"2") is None
        assert await claim(other, b"3") is None

    asyncio.run(both())


def test_what_a_dead_process_was_asking_is_asked_again_after_its_lease(place: str) -> None:
    with ScriptedServer(lambda body: "A", latency_s=60.0) as server:
        victim = asking(place, server.url, 3)
        while server.calls < 3:
            time.sleep(0.01)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
    with ScriptedServer(lambda body: "A") as server:
        assert answers_of(asking(place, server.url, 3)) == 3
        assert server.calls == 3


def test_a_silent_process_keeps_its_claims_as_long_as_it_lives(ledgers: Any) -> None:
    async def both() -> bool:
        one, other = ledgers
        assert await claim(one, b"key") is None
        waiting = asyncio.ensure_future(other.claim(b"key", usd=0.0, limit_usd=0.0))
        await asyncio.sleep(2.5)  # two and a half leases
        is_kept = not waiting.done()
        waiting.cancel()
        return is_kept

    assert asyncio.run(both())


def test_three_processes_with_the_same_questions_pay_for_each_once(place: str) -> None:
    asked: Counter[str] = Counter()

    def script(body: dict[str, Any]) -> str:
        asked[text_of(body)] += 1
        return "A"

    with ScriptedServer(script, latency_s=0.05) as server:
        processes = [asking(place, server.url, 300, in_flight=16) for _ in range(3)]
        assert [answers_of(process) for process in processes] == [300] * 3
    assert asked == {str(number): 1 for number in range(300)}
    with SharedLedger(place) as ledger:
        assert ledger.totals().calls == 300


def test_one_budget_holds_over_all_processes(place: str) -> None:
    # 1 USD a call (a million prompt tokens at 1 USD a million): 20 of them, and not 21.
    priced = {"usd_per_million_prompt_tokens": 100_000.0, "budget_usd": 20.0}
    with ScriptedServer(lambda body: completion("A", prompt_tokens=10), latency_s=0.05) as server:
        processes = [asking(place, server.url, 40 + number, **priced) for number in range(3)]
        for process in processes:
            answers_of(process)
        assert server.calls == 20
    with SharedLedger(place) as ledger:
        assert ledger.totals().usd == pytest.approx(20.0)


def test_the_price_of_calls_in_flight_counts_everywhere_before_they_are_paid(ledgers: Any) -> None:
    async def both() -> None:
        one, other = ledgers
        assert await claim(one, b"1", usd=6.0, limit_usd=10.0) is None
        waiting = asyncio.ensure_future(claim(other, b"2", usd=6.0, limit_usd=10.0))
        assert await is_waiting(waiting)
        await one.put(b"1", REPLY, purpose="test", seconds=0.0)  # it cost 1 USD in the end
        assert await waiting is None
        other.release(b"2")
        await one.put(b"3", ChatReply("A", Finish.STOP, "m", (), Cost(1, 1, 1, 9.0)), purpose="test", seconds=0.0)
        with pytest.raises(BudgetError, match=r"10\.0000 USD of judge\.budget_usd = 10 are paid"):
            await claim(other, b"4", usd=1.0, limit_usd=10.0)

    asyncio.run(both())


def test_limits_per_minute_hold_over_all_who_share_the_ledger(ledgers: Any) -> None:
    section = EndpointSection(
        url="http://127.0.0.1:1/v1", model="m", requests_per_minute=1200, tokens_per_minute=60_000
    )

    async def both() -> list[float]:
        started = time.monotonic()

        async def turn(ledger: SharedLedger) -> float:
            await ledger.turn(section, 10)
            return time.monotonic() - started

        return sorted(await asyncio.gather(*(turn(ledger) for ledger in ledgers for _ in range(10))))

    moments = asyncio.run(both())
    # One every 50 ms; the first three may come at once, as a tenth of a second may be made up.
    assert all(moment >= 0.05 * (place - 2) - 0.02 for place, moment in enumerate(moments))
    assert moments[-1] >= 0.83


def test_models_at_one_address_have_limits_of_their_own(ledgers: Any) -> None:
    one, other = (
        EndpointSection(url="http://127.0.0.1:1/v1", model=model, requests_per_minute=1) for model in ("one", "other")
    )

    async def both() -> list[bool]:
        await ledgers[0].turn(one, 10)
        await asyncio.wait_for(ledgers[1].turn(other, 10), timeout=10)
        waiting = [asyncio.ensure_future(ledgers[1].turn(section, 10)) for section in (one, other)]
        found = [await is_waiting(task) for task in waiting]
        for task in waiting:
            task.cancel()
        return found

    assert asyncio.run(both()) == [True, True]


def test_tokens_that_were_not_used_shorten_the_wait_of_others(ledgers: Any) -> None:
    section = EndpointSection(url="http://127.0.0.1:1/v1", model="m", tokens_per_minute=600)

    async def both() -> float:
        one, other = ledgers
        await one.turn(section, 600)  # a minute's worth
        one.unused(section, 599)
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await asyncio.wait_for(other.turn(section, 1), timeout=10)
        return time.monotonic() - started

    assert asyncio.run(both()) < 5


def test_calls_go_on_when_the_database_is_killed_and_comes_back(postgres: Any, place: str) -> None:
    asked: Counter[str] = Counter()

    def script(body: dict[str, Any]) -> str:
        asked[text_of(body)] += 1
        return "A"

    with ScriptedServer(script, latency_s=0.1) as server:
        process = asking(place, server.url, 400, in_flight=20)
        while server.calls < 100:
            time.sleep(0.01)
        postgres.kill()
        postgres.start()
        assert answers_of(process) == 400
    assert asked == {str(number): 1 for number in range(400)}
    with SharedLedger(place) as ledger:
        assert ledger.totals().calls == 400


def test_a_ledger_that_has_been_reached_is_waited_for_before_its_first_call_too(
    postgres: Any, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrlaif.models.postgres.FIRST_CONTACT_S", 0.0)
    with SharedLedger(place) as ledger:
        postgres.kill()
        back = threading.Timer(1.0, postgres.start)
        back.start()
        asyncio.run(ledger.put(b"key", REPLY, purpose="test", seconds=0.0))
        back.join()
        assert ledger.totals() == REPLY.cost


def test_a_transaction_whose_end_was_not_seen_counts_once(place: str) -> None:
    with SharedLedger(place) as ledger:
        seen = threading.Event()
        run = ledger._writer.run

        def twice(work: Any) -> Any:
            # As if the connection broke after the commit: the work is done, and then asked for again.
            run(work)
            seen.set()
            return run(lambda db, _: work(db, True))

        ledger._writer.run = twice  # type: ignore[method-assign]

        async def pay() -> None:
            assert await claim(ledger, b"key", usd=1.0, limit_usd=10.0) is None
            await ledger.put(b"key", REPLY, purpose="test", seconds=0.0)

        asyncio.run(pay())
        assert seen.is_set()
        assert ledger.totals() == REPLY.cost


@pytest.mark.parametrize("user", ["hrlaif:wr%40ng", "nobody:wr%40ng"])
def test_no_message_shows_a_password(place: str, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrlaif.models.postgres.FIRST_CONTACT_S", 0.2)
    with pytest.raises(DataError) as caught:
        SharedLedger(place.replace("hrlaif", user, 1))
    assert "cannot be read or written" in str(caught.value)
    assert caught.value.__cause__ is None
    assert not {"wr@ng", "wr%40ng"} & set(str(caught.value).split())
    assert "wr" not in str(caught.value).replace("written", "")


def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"postgresql://host:port/db is not a PostgreSQL address") as caught:
        SharedLedger("postgresql://user:secret@host:port/db?sslmode=%zz")
    assert "secret" not in str(caught.value)


def test_a_database_of_another_version_is_left_alone(postgres: Any, place: str) -> None:
    SharedLedger(place).close()
    postgres.query("UPDATE hrlaif_format SET version = 99", place)
    with pytest.raises(DataError, match="not a ledger of this version"):
        SharedLedger(place)


def test_a_judge_of_two_hosts_answers_alike(place: str) -> None:
    request = ChatRequest((Message("user", "?"),), max_tokens=4, purpose="test")

    async def ask(model: HttpModel) -> ChatReply:
        async with model:
            return await model.chat(request)

    with ScriptedServer(lambda body: "A") as server:
        section = EndpointSection(url=server.url, model="judge")
        with SharedLedger(place) as ledger:
            first = asyncio.run(ask(HttpModel(section, ledger=ledger)))
        with SharedLedger(place) as ledger:
            second = asyncio.run(ask(HttpModel(section, ledger=ledger)))
    assert (first.cached, second.cached) == (False, True)
    assert (first.text, first.cost, first.model) == (second.text, second.cost, second.model)
    assert os.environ["PGPASSWORD"]
