import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hrlaif.errors import DataError
from hrlaif.models.base import ChatReply
from hrlaif.models.ledger import Ledger
from hrlaif.types import Cost, Finish

REPLY = ChatReply("Ä \ud83d", Finish.LENGTH, "m", ({"A": -0.1, " B": -2.30258509299}, {}), Cost(1, 300, 4, 0.00125))

PUTS_AND_SAYS_SO = """
import asyncio, pathlib, sys
from hrlaif.models.base import ChatReply
from hrlaif.types import Cost, Finish

async def main():
    if sys.argv[1].startswith("postgresql:"):
        from hrlaif.models.shared_ledger import SharedLedger
        ledger = SharedLedger(sys.argv[1])
    else:
        from hrlaif.models.ledger import Ledger
        ledger = Ledger(pathlib.Path(sys.argv[1]))
    async def put(number):
        reply = ChatReply(str(number), Finish.STOP, "m", (), Cost(1, 1, 1, 1.0))
        await ledger.put(f"{sys.argv[2]}{number}".encode(), reply, purpose=sys.argv[2], seconds=0.0)
        print(number, flush=True)
    numbers = iter(range(int(sys.argv[3])))
    async def work():
        for number in numbers:
            await put(number)
    await asyncio.gather(*(work() for _ in range(8)))
asyncio.run(main())
"""


OpenLedger = Callable[[], Any]


def put(ledger: Any, key: bytes, reply: ChatReply = REPLY, purpose: str = "labels") -> None:
    asyncio.run(ledger.put(key, reply, purpose=purpose, seconds=0.5))


def process(ledger: Any, name: str, count: int) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-c",
        PUTS_AND_SAYS_SO,
        getattr(ledger, "place", None) or str(ledger.path),
        name,
        str(count),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_a_reply_comes_back_exactly_as_it_was_paid_and_marked_as_paid_earlier(open_ledger: OpenLedger) -> None:
    with open_ledger() as ledger:
        put(ledger, b"key")
    with open_ledger() as ledger:
        found = ledger.get(b"key")
        assert found is not None
        assert found.cached
        assert (found.text, found.finish, found.model) == (REPLY.text, REPLY.finish, REPLY.model)
        assert (found.top_logprobs, found.cost) == (REPLY.top_logprobs, REPLY.cost)
        assert ledger.get(b"other") is None


def test_accounts_add_up_by_purpose_and_count_what_was_really_paid(open_ledger: OpenLedger) -> None:
    with open_ledger() as ledger:
        put(ledger, b"1")
        put(ledger, b"2")
        put(ledger, b"2", purpose="evaluation")  # paid twice, by two processes at once say
        assert ledger.by_purpose() == {"evaluation": Cost(1, 300, 4, 0.00125), "labels": Cost(2, 600, 8, 0.0025)}
        assert ledger.totals("labels") == Cost(2, 600, 8, 0.0025)
        assert ledger.totals("nothing") == Cost()
        assert ledger.totals().calls == 3
        assert ledger.paid_usd == pytest.approx(0.00375)
    with open_ledger() as ledger:
        assert ledger.paid_usd == pytest.approx(0.00375)


def test_the_first_reply_to_a_request_stays(open_ledger: OpenLedger) -> None:
    with open_ledger() as ledger:
        put(ledger, b"key")
        put(ledger, b"key", ChatReply("another", Finish.STOP, "m"))
        found = ledger.get(b"key")
        assert found is not None
        assert found.text == REPLY.text


def test_what_was_reported_before_a_kill_is_on_disk(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    writer = process(ledger, "killed", 1_000_000)
    assert writer.stdout is not None
    reported = [writer.stdout.readline() for _ in range(200)]
    os.kill(writer.pid, signal.SIGKILL)
    reported += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    writer.wait()
    with ledger:
        replies = [ledger.get(b"killed" + line.strip()) for line in reported]
        assert [reply.text.encode() if reply else None for reply in replies] == [line.strip() for line in reported]
        assert ledger.totals().calls >= len(reported) >= 200


def test_two_processes_write_one_ledger_at_once(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    writers = [process(ledger, name, 300) for name in ("one", "two")]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with ledger:
        assert ledger.by_purpose() == {"one": Cost(300, 300, 300, 300.0), "two": Cost(300, 300, 300, 300.0)}


def test_many_may_make_the_same_ledger_at_the_same_moment(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=10)

    def make() -> None:
        for number in range(60):
            together.wait()
            Ledger(tmp_path / f"{number}.sqlite").close()

    with ThreadPoolExecutor(3) as pool:
        for made in [pool.submit(make) for _ in range(3)]:
            made.result(timeout=60)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at " * 50)
    with pytest.raises(DataError, match=r"calls\.sqlite: the ledger is damaged .*move it away"):
        Ledger(path)


def test_a_damaged_reply_is_named_instead_of_used(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with Ledger(path) as ledger:
        put(ledger, b"key")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE calls SET reply = x'00'")
    with Ledger(path) as ledger, pytest.raises(DataError, match="damaged"):
        ledger.get(b"key")


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE photos (id)")
    with pytest.raises(DataError, match="not a ledger"):
        Ledger(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/calls\.sqlite: the ledger cannot be read or written"):
        Ledger(tmp_path / "file" / "calls.sqlite")


def test_a_full_disk_stops_the_call_that_could_not_be_recorded(tmp_path: Path) -> None:
    with Ledger(tmp_path / "calls.sqlite") as ledger:
        put(ledger, b"before")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (tmp_path / "calls.sqlite-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(DataError, match="free some space"):
                put(ledger, b"after")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        put(ledger, b"with space again")
        assert [ledger.get(key) is None for key in (b"before", b"after", b"with space again")] == [False, True, False]


def test_a_record_that_cannot_be_stored_fails_alone(open_ledger: OpenLedger) -> None:
    with open_ledger() as ledger:
        with pytest.raises(UnicodeEncodeError):
            put(ledger, b"1", purpose="\ud800")
        put(ledger, b"2")
        assert ledger.totals().calls == 1
