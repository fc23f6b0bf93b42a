"""The ledger: every paid call once, on disk before its reply is used.

One SQLite file in WAL mode. Replies are committed in groups by a writer thread, so that hundreds of calls a second
share a few commits; a call waits for the commit that holds it. A commit has reached the operating system when it
returns: killing the process loses nothing (a power cut may lose the last moments, but never damages the file).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from hrlaif.config import EndpointSection
from hrlaif.errors import DataError
from hrlaif.models.base import ChatReply
from hrlaif.models.commits import GroupCommits
from hrlaif.models.stored import pack, unpack
from hrlaif.types import Cost

FORMAT = 1
_LOCK_TIMEOUT_S = 60.0
_LOCK_RETRY_S = 0.01
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key BLOB PRIMARY KEY, purpose TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usd REAL NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL,
    reply BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (
    purpose TEXT PRIMARY KEY, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usd REAL NOT NULL);
"""
_FIND = "SELECT reply, model, prompt_tokens, completion_tokens, usd FROM calls WHERE key = ?"
_INSERT = "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ACCOUNT = (
    "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) ON CONFLICT (purpose) DO UPDATE SET calls = calls + excluded.calls,"
    " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
    " completion_tokens = completion_tokens + excluded.completion_tokens, usd = usd + excluded.usd"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    key: bytes
    purpose: str
    seconds: float
    reply: ChatReply


class Ledger:
    """Replies by the key of their request, with what they cost. Several processes may use the same file at once.

    With `read_only` the file has to be there, and neither it nor its folder is changed.

    Raises (from every method):
        DataError: The file is damaged or no ledger, the disk is full or read-only; the message says what to do.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._read_only = read_only
        self._commits: GroupCommits[_Entry] = GroupCommits(self._write, name="ledger")
        self._writer: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        with self._explained():
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
            self._check_format()
            if not read_only:
                self._create()
        self._paid_usd = self.totals().usd

    @property
    def paid_usd(self) -> float:
        """All that was paid so far, as of this process's last commit."""
        return self._paid_usd

    def get(self, key: bytes) -> ChatReply | None:
        """The reply that was paid for earlier (`cached` is True), None where there is none."""
        try:
            with self._lock:
                row = self._db.execute(_FIND, (key,)).fetchone()
        except sqlite3.Error:
            with self._explained():
                raise
        if row is None:
            return None
        try:
            return unpack(row)
        except ValueError as error:
            raise self._damaged(error) from error

    peek = get

    async def claim(self, key: bytes, *, usd: float, limit_usd: float) -> ChatReply | None:
        """Nothing to do: whoever asks has peeked, and one process has the file to itself."""
        return None

    def release(self, key: bytes) -> None:
        """Nothing to do, as there are no claims."""

    async def turn(self, section: EndpointSection, tokens: int) -> None:
        """Nothing to do: this process keeps the pace of an endpoint that it has to itself."""

    def unused(self, section: EndpointSection, tokens: int) -> None:
        """Nothing to do, as in `turn`."""

    async def put(self, key: bytes, reply: ChatReply, *, purpose: str, seconds: float) -> None:
        """Record a paid reply; returns once it is committed."""
        await self._commits.do(_Entry(key, purpose, seconds, reply))

    def totals(self, purpose: str | None = None) -> Cost:
        """What was paid in total, or for one purpose."""
        return sum((cost for name, cost in self.by_purpose().items() if purpose in (None, name)), Cost())

    def by_purpose(self) -> dict[str, Cost]:
        """What was paid for each purpose."""
        with self._explained(), self._lock:
            rows = self._db.execute("SELECT * FROM accounts ORDER BY purpose").fetchall()
        return {purpose: Cost(*cost) for purpose, *cost in rows}

    def seconds_by_purpose(self) -> dict[str, tuple[int, float]]:
        """How many calls there were for each purpose, and how many seconds they took together."""
        with self._explained(), self._lock:
            rows = self._db.execute("SELECT purpose, count(*), sum(seconds) FROM calls GROUP BY purpose").fetchall()
        return {purpose: (calls, seconds) for purpose, calls, seconds in rows}

    def close(self) -> None:
        """Commit what is left and close the file."""
        self._commits.close()
        with self._explained(), self._lock:
            self._db.close()
            if self._writer is not None:
                self._writer.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> sqlite3.Connection:
        source: Path | str = self.path
        if self._read_only:
            # Reading a WAL file makes files beside it, unless it is said that nobody writes.
            is_open = self.path.with_name(self.path.name + "-wal").exists()
            source = f"{self.path.resolve().as_uri()}?mode=ro" + ("" if is_open else "&immutable=1")
        db = sqlite3.connect(
            source,
            timeout=_LOCK_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=16,
            uri=self._read_only,
        )
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _check_format(self) -> None:
        # Tables first: another process may be making the ledger now, and commits both at once.
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found != FORMAT and (found or tables):
            raise DataError(
                f"{self.path}: a SQLite file, but not a ledger of this version (format {found}, expected {FORMAT}). "
                "Move it away or choose another run folder."
            )

    def _create(self) -> None:
        self._use_wal()
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")

    def _use_wal(self) -> None:
        """Switch the file to WAL. Two processes that do so at once would deadlock, so SQLite fails one of them without
        waiting as it does elsewhere: that one tries again.
        """
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_LOCK_RETRY_S)

    def _write(self, entries: list[_Entry]) -> list[None]:
        with self._explained():
            self._writer = self._writer or self._connect()
            self._commit(self._writer, entries)
        return [None] * len(entries)

    def _commit(self, db: sqlite3.Connection, entries: list[_Entry]) -> None:
        rows, paid, now = [], dict[str, Cost](), time.time()
        for entry in entries:
            reply, cost = entry.reply, entry.reply.cost
            figures = (cost.prompt_tokens, cost.completion_tokens, cost.usd, entry.seconds, now)
            rows.append((entry.key, entry.purpose, reply.model, *figures, pack(reply)))
            paid[entry.purpose] = paid.get(entry.purpose, Cost()) + cost
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(_INSERT, rows)
            for purpose, cost in paid.items():
                db.execute(_ACCOUNT, (purpose, cost.calls, cost.prompt_tokens, cost.completion_tokens, cost.usd))
            (paid_usd,) = db.execute("SELECT sum(usd) FROM accounts").fetchone()
            db.execute("COMMIT")
        except Exception:
            with contextlib.suppress(sqlite3.Error):  # a full disk has ended the transaction already
                db.execute("ROLLBACK")
            raise
        self._paid_usd = paid_usd

    def _damaged(self, error: Exception) -> DataError:
        return DataError(
            f"{self.path}: the ledger is damaged ({error}). Restore it from a copy, or move it away: "
            "the run then starts a new one and pays for its calls again."
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise DataError(
                f"{self.path}: the ledger cannot be read or written ({error}). Everything recorded so far is safe: "
                "free some space, make the folder writable or choose another, then run the same command again."
            ) from error
        except sqlite3.Error as error:
            raise self._damaged(error) from error
