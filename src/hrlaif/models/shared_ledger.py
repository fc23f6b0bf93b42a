"""The ledger of many processes and hosts, in PostgreSQL: every paid call once, one budget, one pace for each endpoint.

What asks for a request's reply holds a claim on its key, with the highest price that the call may have, from before the
call until its reply is recorded. All that one process wants is sent in groups, one transaction each. A process says
every few seconds that it is alive; the claims of one that has not for `lease_s` are free again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar

from hrlaif.config import EndpointSection
from hrlaif.errors import DataError
from hrlaif.models.base import ChatReply
from hrlaif.models.commits import GroupCommits
from hrlaif.models.limits import Pace, spent
from hrlaif.models.postgres import PATIENCE_S, Link
from hrlaif.models.stored import pack, unpack
from hrlaif.types import Cost

FORMAT = 1
LEASE_S = 10.0
_FIRST_PAUSE_S = 0.02
_MOST_PAUSE_S = 1.0
Connection = Any  # psycopg's, which need not be installed where types are checked
# One number for whoever makes the tables, and one for whoever takes from the budget, among PostgreSQL's advisory locks.
_MAKING, _BUDGETING = 0x68726C61, 0x68726C62
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hrlaif_format (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS hrlaif_calls (
    key BYTEA PRIMARY KEY, purpose TEXT NOT NULL, model TEXT NOT NULL, prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL, usd FLOAT8 NOT NULL, seconds FLOAT8 NOT NULL, created FLOAT8 NOT NULL,
    reply BYTEA NOT NULL, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS hrlaif_accounts (
    purpose TEXT, owner TEXT, calls BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
    usd FLOAT8 NOT NULL, PRIMARY KEY (purpose, owner));
CREATE TABLE IF NOT EXISTS hrlaif_owners (owner TEXT PRIMARY KEY, seen TIMESTAMPTZ NOT NULL);
CREATE TABLE IF NOT EXISTS hrlaif_claims (
    key BYTEA PRIMARY KEY, owner TEXT NOT NULL, number BIGINT NOT NULL, usd FLOAT8 NOT NULL);
CREATE TABLE IF NOT EXISTS hrlaif_paces (name TEXT PRIMARY KEY, due FLOAT8 NOT NULL);
"""
_FIND = "SELECT key, reply, model, prompt_tokens, completion_tokens, usd FROM hrlaif_calls WHERE key = ANY(%s)"
_INSERT = """INSERT INTO hrlaif_calls SELECT * FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::bigint[],
    %s::bigint[], %s::float8[], %s::float8[], %s::float8[], %s::bytea[], %s::text[]) ON CONFLICT (key) DO NOTHING"""
_RECORDED = "SELECT id FROM hrlaif_calls WHERE key = ANY(%s)"
# A row for each process, so that they do not wait for each other.
_ACCOUNT = """INSERT INTO hrlaif_accounts AS known VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (purpose, owner)
    DO UPDATE SET calls = known.calls + excluded.calls, prompt_tokens = known.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = known.completion_tokens + excluded.completion_tokens, usd = known.usd + excluded.usd"""
# A claim that this process made, and whose transaction's end it did not see, is still its own.
_CLAIM = """INSERT INTO hrlaif_claims AS known SELECT * FROM unnest(%s::bytea[], %s::text[], %s::bigint[], %s::float8[])
    ON CONFLICT (key) DO UPDATE SET usd = excluded.usd
    WHERE known.owner = excluded.owner AND known.number = excluded.number RETURNING key"""
_RELEASE = "DELETE FROM hrlaif_claims WHERE owner = %s AND number = ANY(%s)"
_PAID = "SELECT coalesce(sum(usd), 0) FROM hrlaif_accounts"
_HELD = f"SELECT ({_PAID}), coalesce(sum(usd), 0), count(*) FROM hrlaif_claims"
_ALIVE = """INSERT INTO hrlaif_owners VALUES (%s, now()) ON CONFLICT (owner) DO UPDATE SET seen = excluded.seen"""
# Just after the database's start nobody has been able to say that it is alive.
_REAP = """DELETE FROM hrlaif_claims USING hrlaif_owners AS owners WHERE hrlaif_claims.owner = owners.owner
    AND owners.seen < now() - %(lease)s::interval AND pg_postmaster_start_time() < now() - %(lease)s::interval"""
_TAKE = """INSERT INTO hrlaif_paces AS known SELECT %(name)s, now.s - %(late)s::float8 + %(units)s::float8 FROM
    (SELECT extract(epoch FROM clock_timestamp())::float8 AS s) AS now ON CONFLICT (name)
    DO UPDATE SET due = greatest(known.due, excluded.due - %(units)s::float8) + %(units)s::float8
    RETURNING due - %(units)s::float8 - extract(epoch FROM clock_timestamp())::float8"""
_GIVE_BACK = "UPDATE hrlaif_paces SET due = due - %s::float8 WHERE name = %s"


@dataclass(frozen=True, slots=True)
class _Put:
    key: bytes
    purpose: str
    seconds: float
    reply: ChatReply
    id: str
    number: int  # of the claim that it ends


@dataclass(frozen=True, slots=True)
class _Claim:
    key: bytes
    number: int
    usd: float
    limit_usd: float


@dataclass(frozen=True, slots=True)
class _Release:
    number: int


@dataclass(frozen=True, slots=True)
class _Turn:
    """Seconds to take of each pace, by its name."""

    seconds: Mapping[str, float]
    is_returned: bool = False


@dataclass(slots=True)
class _Group:
    """Entries of one kind with their places among all."""

    puts: list[_Put] = field(default_factory=list)
    releases: list[_Release] = field(default_factory=list)
    claims: list[_Claim] = field(default_factory=list)
    turns: list[_Turn] = field(default_factory=list)
    lists: ClassVar[dict[type, str]] = {_Put: "puts", _Release: "releases", _Claim: "claims", _Turn: "turns"}


_OURS, _BUSY = "ours", "busy"


class SharedLedger:
    """A ledger at a PostgreSQL url; it makes its tables where there are none. As `Calls` says.

    Args:
        url: As in `postgresql://user@host/database`; the password comes from PGPASSWORD or ~/.pgpass.
        lease_s: How long a process may be silent before its claims are free.
        patience_s: How long the database may be away before a call gives up.

    Raises (from every method):
        DataError: The database cannot be reached, or refuses what is asked of it.
        ConfigError: The url is not one.
    """

    def __init__(self, url: str, *, lease_s: float = LEASE_S, patience_s: float = PATIENCE_S) -> None:
        self.place = url
        self.lease_s = lease_s
        self._reader, self._writer = Link(url, patience_s=patience_s), Link(url, patience_s=patience_s)
        self._owner = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._claimed: dict[bytes, int] = {}
        self._said_s = float("-inf")
        self._commits: GroupCommits[Any] = GroupCommits(self._commit, name="ledger", idle_s=lease_s / 5)
        self._writer.run(self._create)
        self._paid_usd = self.totals().usd

    @property
    def paid_usd(self) -> float:
        """All that everyone has paid so far, as of this process's last commit."""
        return self._paid_usd

    def get(self, key: bytes) -> ChatReply | None:
        """The reply that was paid for earlier (`cached` is True), None where there is none."""
        return self._reader.run(lambda db, _: self._found(db, [key])).get(key)

    def peek(self, key: bytes) -> ChatReply | None:
        """None: a call does not wait for the database by itself, `claim` asks for many at once."""
        return None

    async def claim(self, key: bytes, *, usd: float, limit_usd: float) -> ChatReply | None:
        """Wait until nobody else is asking this and the budget has room; the reply, where it is there by then."""
        claim = _Claim(key, next(self._numbers), usd, limit_usd)
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                outcome = await self._commits.do(claim)
            except asyncio.CancelledError:
                self._commits.send(_Release(claim.number))
                raise
            if isinstance(outcome, ChatReply):
                return outcome
            if outcome is _OURS:
                self._claimed[key] = claim.number
                return None
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(_MOST_PAUSE_S, pause_s * 2)

    def release(self, key: bytes) -> None:
        """Give a claim up: the call has failed."""
        if (number := self._claimed.pop(key, None)) is not None:
            self._commits.send(_Release(number))

    async def turn(self, section: EndpointSection, tokens: int) -> None:
        """Wait until the endpoint's limits per minute, over all who share the ledger, allow a call of `tokens`."""
        if seconds := _seconds(section, calls=1, tokens=tokens):
            await asyncio.sleep(await self._commits.do(_Turn(seconds)))

    def unused(self, section: EndpointSection, tokens: int) -> None:
        """Give back tokens that a call was expected to use and did not."""
        if seconds := _seconds(section, calls=0, tokens=tokens):
            self._commits.send(_Turn(seconds, is_returned=True))

    async def put(self, key: bytes, reply: ChatReply, *, purpose: str, seconds: float) -> None:
        """Record a paid reply; returns once it is committed."""
        name = f"{self._owner}:{next(self._numbers)}"
        await self._commits.do(_Put(key, purpose, seconds, reply, name, self._claimed.get(key, 0)))
        self._claimed.pop(key, None)

    def totals(self, purpose: str | None = None) -> Cost:
        """What was paid in total, or for one purpose."""
        return sum((cost for name, cost in self.by_purpose().items() if purpose in (None, name)), Cost())

    def by_purpose(self) -> dict[str, Cost]:
        """What was paid for each purpose."""
        sums = "sum(calls)::bigint, sum(prompt_tokens)::bigint, sum(completion_tokens)::bigint, sum(usd)"
        rows = self._rows(f"SELECT purpose, {sums} FROM hrlaif_accounts GROUP BY purpose ORDER BY purpose")
        return {purpose: Cost(*cost) for purpose, *cost in rows}

    def seconds_by_purpose(self) -> dict[str, tuple[int, float]]:
        """How many calls there were for each purpose, and how many seconds they took together."""
        rows = self._rows("SELECT purpose, count(*), sum(seconds) FROM hrlaif_calls GROUP BY purpose")
        return {purpose: (calls, seconds) for purpose, calls, seconds in rows}

    def close(self) -> None:
        """Commit what is left, give up the claims, and close the connections."""
        self._commits.close()
        if self._said_s > float("-inf"):
            with contextlib.suppress(DataError):  # the lease ends them all the same
                self._reader.run(self._leave)
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> SharedLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, query: str) -> list[Any]:
        return self._reader.run(lambda db, _: db.execute(query).fetchall())

    def _create(self, db: Connection, is_retry: bool) -> None:
        (found,) = db.execute("SELECT to_regclass('hrlaif_paces')").fetchone() or (None,)
        if found is None:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            db.execute(_SCHEMA)
            db.execute(
                "INSERT INTO hrlaif_format SELECT %s::integer WHERE NOT EXISTS (SELECT FROM hrlaif_format)", (FORMAT,)
            )
        versions = [version for (version,) in db.execute("SELECT version FROM hrlaif_format").fetchall()]
        if versions != [FORMAT]:
            raise DataError(
                f"{self._reader.shown}: not a ledger of this version (format {versions}, expected {FORMAT}). "
                "Choose another database."
            )

    def _leave(self, db: Connection, is_retry: bool) -> None:
        db.execute("DELETE FROM hrlaif_claims WHERE owner = %s", (self._owner,))
        db.execute("DELETE FROM hrlaif_owners WHERE owner = %s", (self._owner,))

    def _say_alive(self, db: Connection, is_retry: bool) -> None:
        db.execute(_ALIVE, (self._owner,))
        db.execute(_REAP, {"lease": f"{self.lease_s} seconds"})

    def _commit(self, entries: list[Any]) -> Sequence[Any]:
        """In the thread: one group, in one transaction; returns what each entry waits for."""
        if time.monotonic() - self._said_s > self.lease_s / 5:
            self._writer.run(self._say_alive)
            self._said_s = time.monotonic()
        if not entries:
            return []
        group = _Group()
        for entry in entries:
            getattr(group, _Group.lists[type(entry)]).append(entry)

        # Always in this order, and by key: transactions that lock in the same order do not lock each other out.
        def work(db: Connection, is_retry: bool) -> dict[int, Any]:
            self._put(db, group.puts, is_retry)
            given_up = {release.number for release in group.releases}
            if ended := [*given_up, *(put.number for put in group.puts)]:
                db.execute(_RELEASE, (self._owner, ended))
            outcomes = self._claim(db, [claim for claim in group.claims if claim.number not in given_up])
            return outcomes | _take(db, group.turns)

        outcomes = self._writer.run(work)
        return [outcomes.get(id(entry)) for entry in entries]

    def _put(self, db: Connection, puts: Sequence[_Put], is_retry: bool) -> None:
        if not puts:
            return
        puts, now = sorted(puts, key=lambda put: put.key), time.time()
        counted = puts
        if is_retry:  # of a transaction that may have been committed
            recorded = {name for (name,) in db.execute(_RECORDED, ([put.key for put in puts],))}
            counted = [put for put in puts if put.id not in recorded]
        rows = [
            (
                put.key,
                put.purpose,
                put.reply.model,
                *_figures(put.reply.cost),
                put.seconds,
                now,
                pack(put.reply),
                put.id,
            )
            for put in puts
        ]
        db.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
        paid: dict[str, Cost] = {}
        for put in counted:
            paid[put.purpose] = paid.get(put.purpose, Cost()) + put.reply.cost
        for purpose, cost in sorted(paid.items()):
            db.execute(_ACCOUNT, (purpose, self._owner, cost.calls, *_figures(cost)))
        (self._paid_usd,) = db.execute(_PAID).fetchone() or (0.0,)

    def _claim(self, db: Connection, claims: Sequence[_Claim]) -> dict[int, Any]:
        """Whose replies are there already, whose keys are now ours, and who has to ask again."""
        if not claims:
            return {}
        found = self._found(db, [claim.key for claim in claims])
        outcomes: dict[int, Any] = {id(claim): found.get(claim.key, _BUSY) for claim in claims}
        wanted = [claim for claim in claims if claim.key not in found]
        affordable, refused = self._affordable(db, wanted)
        outcomes |= refused
        asked = sorted({claim.key: claim for claim in reversed(affordable)}.items())
        if not asked:
            return outcomes
        columns = [[key for key, _ in asked], [self._owner] * len(asked)]
        values = [[claim.number for _, claim in asked], [claim.usd for _, claim in asked]]
        ours = {bytes(key) for (key,) in db.execute(_CLAIM, (*columns, *values))}
        # Another process may have put its reply, and ended its claim, after we looked.
        meanwhile = self._found(db, list(ours))
        for key, claim in asked:
            if key in meanwhile:
                outcomes[id(claim)] = meanwhile[key]
            elif key in ours:
                outcomes[id(claim)] = _OURS
        if meanwhile:
            db.execute(_RELEASE, (self._owner, [claim.number for key, claim in asked if key in meanwhile]))
        return outcomes

    def _affordable(self, db: Connection, claims: Sequence[_Claim]) -> tuple[list[_Claim], dict[int, Exception]]:
        """The claims that the budget has room for, and those that it never will; the others wait for calls in flight.

        Where nothing is held, one call may go over by its own price, as the last one of a budget does.
        """
        limited = [claim for claim in claims if claim.limit_usd]
        affordable = [claim for claim in claims if not claim.limit_usd]
        refused: dict[int, Exception] = {}
        if limited:
            db.execute("SELECT pg_advisory_xact_lock(%s)", (_BUDGETING,))
            self._paid_usd, held_usd, held = db.execute(_HELD).fetchone() or (0.0, 0.0, 0)
            for claim in limited:
                if self._paid_usd >= claim.limit_usd:
                    refused[id(claim)] = spent(self._paid_usd, claim.limit_usd)
                elif not held or self._paid_usd + held_usd + claim.usd <= claim.limit_usd:
                    affordable.append(claim)
                    held_usd, held = held_usd + claim.usd, held + 1
        return affordable, refused

    def _found(self, db: Connection, keys: Sequence[bytes]) -> dict[bytes, ChatReply]:
        rows = db.execute(_FIND, (list(keys),)).fetchall() if keys else []
        try:
            return {bytes(row[0]): unpack(row[1:]) for row in rows}
        except ValueError as error:
            raise DataError(
                f"{self._reader.shown}: the ledger is damaged ({error}). Restore it from a copy, or choose another "
                "database: the run then pays for its calls again."
            ) from error


def _figures(cost: Cost) -> tuple[int, int, float]:
    return cost.prompt_tokens, cost.completion_tokens, cost.usd


def _seconds(section: EndpointSection, *, calls: int, tokens: int) -> dict[str, float]:
    """How long a call keeps each limit of its endpoint busy: of one model at one address, as within one process."""
    limits = {"requests": (calls, section.requests_per_minute), "tokens": (tokens, section.tokens_per_minute)}
    return {
        f"{kind} of {section.model} at {section.url}": units * 60.0 / per_minute
        for kind, (units, per_minute) in limits.items()
        if units and per_minute
    }


def _take(db: Connection, turns: Sequence[_Turn]) -> dict[int, float]:
    """Seconds that each call has to wait for its turn, in the order in which they asked."""
    waits_s = {id(turn): 0.0 for turn in turns}
    for name in sorted({name for turn in turns for name in turn.seconds}):
        taken = [turn for turn in turns if not turn.is_returned and name in turn.seconds]
        if returned := sum(turn.seconds.get(name, 0.0) for turn in turns if turn.is_returned):
            db.execute(_GIVE_BACK, (returned, name))
        if not taken:
            continue
        units = sum(turn.seconds[name] for turn in taken)
        (wait_s,) = db.execute(_TAKE, {"name": name, "units": units, "late": Pace.LATE_S}).fetchone() or (0.0,)
        for turn in taken:
            waits_s[id(turn)] = max(waits_s[id(turn)], wait_s)
            wait_s += turn.seconds[name]
    return waits_s
