"""The study on disk: one SQLite file with the items, the raters' links, who rates what, and every vote ever cast.

WAL with `synchronous = FULL`: a vote that is committed has reached the disk, and neither kill -9 nor a power cut takes
it back. Votes are only ever added; the one with the highest version counts. Of links and sessions the file holds the
SHA-256 alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from hrlaif.artifacts import adapter, fingerprint
from hrlaif.errors import ConfigError, DataError
from hrlaif.human_eval.dealing import Dealable, deal, place
from hrlaif.human_eval.items import Item, named
from hrlaif.human_eval.records import Ballot, HumanVote, Rater, Rating, Shown, TakenError
from hrlaif.types import Task, Verdict

VOTES = "votes.sqlite"
"""The file in a run folder of the study of the arms' answers."""
TRAINING_VOTES = "training_votes.sqlite"
"""The file of the study of training responses, whose votes train the human arm."""
FORMAT = 1
DAY_S = 86_400.0
_SCHEMA = """
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, is_red_team INTEGER NOT NULL, is_check INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE raters (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, link BLOB UNIQUE, expires REAL NOT NULL, reads_red_team INTEGER);
CREATE TABLE sessions (hash BLOB PRIMARY KEY, rater INTEGER NOT NULL);
CREATE TABLE places (
    rater INTEGER NOT NULL, item INTEGER NOT NULL, place INTEGER NOT NULL, is_swapped INTEGER NOT NULL,
    is_done INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (rater, item)) WITHOUT ROWID;
CREATE INDEX places_in_order ON places (rater, is_done, place);
CREATE TABLE votes (
    id TEXT PRIMARY KEY, rater INTEGER NOT NULL, item INTEGER NOT NULL, version INTEGER NOT NULL, verdict TEXT NOT NULL,
    first TEXT NOT NULL, second TEXT NOT NULL, seconds REAL NOT NULL, time REAL NOT NULL, source TEXT NOT NULL,
    UNIQUE (rater, item, version));
"""
_PLACE = "INSERT OR IGNORE INTO places (rater, item, place, is_swapped, is_done) VALUES (?, ?, ?, ?, ?)"
_CURRENT = "version = (SELECT max(version) FROM votes o WHERE o.rater = votes.rater AND o.item = votes.item)"


class Study:
    """An open study; one process may serve it while another adds raters.

    Without `is_flushed` a power cut may take back what was changed last: for sessions, not for votes.

    Raises (from every method):
        DataError: The file is missing, damaged or no study, or the disk is full; the message says what to do.
    """

    def __init__(self, path: Path, *, is_flushed: bool = True) -> None:
        self.path = path
        if not path.exists():
            on = " --on training" if path.name == TRAINING_VOTES else ""
            raise DataError(f"{path}: no study here yet. Make one with `hrlaif annotate RUN --raters NAME,NAME{on}`.")
        self._lock = threading.RLock()
        with self.explained():
            self.db = connect(path, is_flushed=is_flushed)
            if self.db.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                raise DataError(f"{path}: not a study of this version. Move it away, or choose another run folder.")
        about = dict(self.db.execute("SELECT key, value FROM study"))
        self.seed, self.overlap = int(about["seed"]), int(about["overlap"])
        self.id, self.compare = about["id"], about["compare"]
        self.same: tuple[tuple[str, str, str], ...] = tuple(tuple(one) for one in json.loads(about["same"]))
        self._items: dict[int, Item] = {}

    @classmethod
    def create(
        cls,
        path: Path,
        items: Sequence[Item],
        *,
        seed: int,
        overlap: int,
        compare: str = "",
        same: Sequence[tuple[str, str, str]] = (),
    ) -> Study:
        """A new study of these items, with no raters yet; half of one is never left behind.

        `same` are pairs of equal texts (prompt id, named ids), which count as ties.
        """
        temporary = path.with_name(path.name + ".new")
        temporary.unlink(missing_ok=True)
        with _explained(path):
            db = sqlite3.connect(temporary)
            db.executescript(_SCHEMA)
            about = {"id": secrets.token_hex(8), "seed": str(seed), "overlap": str(overlap), "compare": compare}
            about["same"] = json.dumps(same)
            db.executemany("INSERT INTO study VALUES (?, ?)", about.items())
            kinds = ((int(one.prompt.task is Task.RED_TEAM), int(one.known is not None)) for one in items)
            rows = [(*kind, adapter(Item).dump_json(one).decode()) for kind, one in zip(kinds, items, strict=True)]
            db.executemany("INSERT INTO items (is_red_team, is_check, body) VALUES (?, ?, ?)", rows)
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.commit()
            db.close()
            temporary.replace(path)
        return cls(path)

    # --- raters ---

    def raters(self) -> list[Rater]:
        """Everyone, in the order in which they came."""
        rows = self._all("SELECT id, name, expires, reads_red_team FROM raters ORDER BY id")
        return [_rater(row) for row in rows]

    def add(self, names: Sequence[str], *, days: float) -> dict[str, str]:
        """New raters with a link token each, by name; what nobody has rated yet is dealt out again among all."""
        known = {rater.name for rater in self.raters()}
        if taken := [name for name in names if name in known]:
            raise ConfigError(f"rater {taken[0]!r} is there already. --renew {taken[0]} gives a new link.")
        tokens = {name: secrets.token_urlsafe(32) for name in names}
        with self._transaction():
            for name, token in tokens.items():
                row = (name, hashed(token), time.time() + days * DAY_S)
                self.db.execute("INSERT INTO raters (name, link, expires) VALUES (?, ?, ?)", row)
            self.db.execute("DELETE FROM places WHERE is_done = 0")
            self._deal()
        return tokens

    def renew(self, names: Sequence[str], *, days: float) -> dict[str, str]:
        """New link tokens for raters that are there; their old links and open pages end."""
        known = {rater.name: rater.id for rater in self.raters()}
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"there is no rater {unknown[0]!r} in {self.path}. There are: {', '.join(known) or 'none'}."
            )
        tokens = {name: secrets.token_urlsafe(32) for name in names}
        with self._transaction():
            for name, token in tokens.items():
                row = (hashed(token), time.time() + days * DAY_S, known[name])
                self.db.execute("UPDATE raters SET link = ?, expires = ? WHERE id = ?", row)
                self.db.execute("DELETE FROM sessions WHERE rater = ?", (known[name],))
        return tokens

    def open_session(self, token: str) -> tuple[str, Rater] | None:
        """A session's own secret for a link that is valid, else None."""
        rows = self._all("SELECT id, name, expires, reads_red_team FROM raters WHERE link = ?", hashed(token))
        if not rows or rows[0][2] <= time.time():
            return None
        secret = secrets.token_urlsafe(32)
        with self._transaction():
            self.db.execute("INSERT INTO sessions VALUES (?, ?)", (hashed(secret), rows[0][0]))
        return secret, _rater(rows[0])

    def rater_of(self, secret: str) -> Rater | None:
        """Whose session it is; None for one that is unknown or whose link has ended."""
        rows = self._all(
            "SELECT id, name, expires, reads_red_team FROM sessions JOIN raters ON id = rater WHERE hash = ?",
            hashed(secret),
        )
        return _rater(rows[0]) if rows and rows[0][2] > time.time() else None

    def set_reads_red_team(self, rater: int, reads: bool) -> None:
        """Whether the rater reads red-team items; what they leave goes to others."""
        with self._transaction():
            self.db.execute("UPDATE raters SET reads_red_team = ? WHERE id = ?", (int(reads), rater))
            if not reads:
                self.db.execute(
                    "DELETE FROM places WHERE rater = ? AND is_done = 0"
                    " AND item IN (SELECT id FROM items WHERE is_red_team)",
                    (rater,),
                )
            self._deal()

    def _deal(self) -> None:
        items = self.db.execute("SELECT id, is_red_team, is_check FROM items ORDER BY id").fetchall()
        kept: dict[int, list[int]] = {}
        for item, rater in self.db.execute("SELECT item, rater FROM places ORDER BY item, rater"):
            kept.setdefault(item, []).append(rater)
        places = deal(
            [Dealable(number, bool(red_team), bool(check)) for number, red_team, check in items],
            {rater.id: rater.reads_red_team is not False for rater in self.raters() if rater.expires > time.time()},
            overlap=self.overlap,
            seed=self.seed,
            kept=kept,
        )
        self.db.executemany(_PLACE, [(one.rater, one.item, one.order, int(one.is_swapped), 0) for one in places])

    # --- what a rater sees ---

    def progress(self, rater: int) -> tuple[int, int]:
        """How many of the rater's items are rated, and how many there are."""
        ((done, total),) = self._all("SELECT coalesce(sum(is_done), 0), count(*) FROM places WHERE rater = ?", rater)
        return done, total

    def done(self, rater: int) -> list[int]:
        """The items that the rater has rated, in the order of their list."""
        return [
            item for (item,) in self._all("SELECT item FROM places WHERE rater = ? AND is_done ORDER BY place", rater)
        ]

    def upcoming(self, rater: int, count: int, *, leaving_out: frozenset[int] = frozenset()) -> list[int]:
        """The next items of the rater's list that are not rated."""
        rows = self._all(
            "SELECT item FROM places WHERE rater = ? AND is_done = 0 ORDER BY place LIMIT ?",
            rater,
            count + len(leaving_out),
        )
        return [item for (item,) in rows if item not in leaving_out][:count]

    def shown(self, rater: int, item: int) -> Shown:
        """An item as this rater sees it."""
        found = self.item(item)
        is_red_team = found.prompt.task is Task.RED_TEAM
        return Shown(item, found, self.is_swapped(rater, item), is_red_team)

    def is_swapped(self, rater: int, item: int) -> bool:
        """Whether this rater sees the item's second response on the left."""
        rows = self._all("SELECT is_swapped FROM places WHERE rater = ? AND item = ?", rater, item)
        return bool(rows[0][0]) if rows else place(rater, Dealable(item), seed=self.seed).is_swapped

    def item(self, number: int) -> Item:
        """One item; a DataError where there is none of that number."""
        if number not in self._items:
            rows = self._all("SELECT body FROM items WHERE id = ?", number)
            if not rows:
                raise DataError(f"there is no item {number}")
            self._items[number] = adapter(Item).validate_json(rows[0][0])
        return self._items[number]

    def items(self) -> dict[int, Item]:
        """All items by number."""
        return {number: self.item(number) for (number,) in self._all("SELECT id FROM items ORDER BY id")}

    # --- votes ---

    def cast(self, ballots: Sequence[Ballot]) -> list[int]:
        """Add votes in one commit and return each one's version; an id that is there already adds nothing.

        Raises:
            TakenError: An id is there with another rater or item; nothing of the batch is added.
        """
        with self._transaction():
            return [self._cast(ballot) for ballot in ballots]

    def _cast(self, ballot: Ballot) -> int:
        there = self.db.execute("SELECT rater, item, version FROM votes WHERE id = ?", (ballot.id,)).fetchone()
        if there is not None:
            if there[:2] != (ballot.rater, ballot.item):
                raise TakenError(f"vote {ballot.id!r} is there already, on another item")
            return int(there[2])
        rater_item = (ballot.rater, ballot.item)
        ((version,),) = self.db.execute(
            "SELECT 1 + coalesce(max(version), 0) FROM votes WHERE rater = ? AND item = ?", rater_item
        ).fetchall()
        ratings = [json.dumps(asdict(one)) for one in (ballot.first, ballot.second)]
        self.db.execute(
            "INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (ballot.id, *rater_item, version, ballot.verdict, *ratings, ballot.seconds, time.time(), ballot.source),
        )
        changed = self.db.execute("UPDATE places SET is_done = 1 WHERE rater = ? AND item = ?", rater_item).rowcount
        if not changed:
            # It was given to somebody else while this rater had it on the screen; the vote counts all the same.
            one = place(ballot.rater, Dealable(ballot.item), seed=self.seed)
            is_swapped = one.is_swapped if ballot.is_swapped is None else ballot.is_swapped
            self.db.execute(_PLACE, (one.rater, one.item, one.order, int(is_swapped), 1))
        return int(version)

    def vote_of(self, rater: int, item: int) -> tuple[Verdict, Rating, Rating] | None:
        """The rater's current vote on an item."""
        rows = self._all(
            "SELECT verdict, first, second FROM votes WHERE rater = ? AND item = ? ORDER BY version DESC LIMIT 1",
            rater,
            item,
        )
        return (Verdict(rows[0][0]), _rating(rows[0][1]), _rating(rows[0][2])) if rows else None

    def votes(self) -> list[HumanVote]:
        """Every rater's current vote on every item, by item and rater."""
        names = {rater.id: rater.name for rater in self.raters()}
        swapped = {(r, i): bool(s) for r, i, s in self._all("SELECT rater, item, is_swapped FROM places")}
        rows = self._all(
            "SELECT id, rater, item, version, verdict, first, second, seconds, time, source FROM votes"
            f" WHERE {_CURRENT} ORDER BY item, rater"
        )
        return [
            _vote(self.item(row[2]), row, rater=names[row[1]], is_swapped=swapped.get((row[1], row[2]), False))
            for row in rows
        ]

    def raters_without_links(self, names: Sequence[str]) -> Mapping[str, int]:
        """The raters of these names, made where they are not there, for votes that were cast elsewhere."""
        with self._transaction():
            self.db.executemany("INSERT OR IGNORE INTO raters (name, expires) VALUES (?, 0)", [(n,) for n in names])
        return {rater.name: rater.id for rater in self.raters()}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.db.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self.explained(), self._lock:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back already.
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def _all(self, query: str, *values: object) -> list[Any]:
        with self.explained(), self._lock:
            return self.db.execute(query, values).fetchall()

    def explained(self) -> contextlib.AbstractContextManager[None]:
        """Turn what SQLite says into one message that says what to do."""
        return _explained(self.path)


def connect(path: Path, *, is_flushed: bool) -> sqlite3.Connection:
    """The file; where `is_flushed`, a commit has reached the disk when it returns."""
    db = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if is_flushed else 'NORMAL'}")
    return db


def digest(path: Path) -> str:
    """What tells one state of the votes from another; the same for no study and a study without votes."""
    if not path.exists():
        return ""
    with Study(path) as study:
        return fingerprint([[vote.id, vote.item, vote.rater, vote.version] for vote in study.votes()])


def hashed(secret: str) -> bytes:
    """What is kept of a link or a session: 256 random bits need no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(
            f"{path}: {error}. What was saved before is safe. Where the disk is full or the folder cannot be written, "
            "mend that and try again; a file that is damaged has to be moved away."
        ) from error


def _rater(row: Sequence[Any]) -> Rater:
    number, name, expires, reads = row
    return Rater(number, name, expires, None if reads is None else bool(reads))


def _rating(text: str) -> Rating:
    return adapter(Rating).validate_json(text)


def _vote(item: Item, row: Sequence[Any], *, rater: str, is_swapped: bool) -> HumanVote:
    return HumanVote(
        id=row[0],
        item=row[2],
        rater=rater,
        prompt_id=item.prompt.id,
        category=item.prompt.category,
        task=item.prompt.task,
        first_id=named(item.first_arm, item.first),
        second_id=named(item.second_arm, item.second),
        first_arm=item.first_arm,
        second_arm=item.second_arm,
        verdict=Verdict(row[4]),
        first=_rating(row[5]),
        second=_rating(row[6]),
        is_swapped=is_swapped,
        version=row[3],
        seconds=row[7],
        time=row[8],
        source=row[9],
        known=item.known,
    )
