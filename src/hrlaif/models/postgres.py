"""One connection to a PostgreSQL database that survives the database's restart, and shows no password."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from hrlaif.errors import ConfigError, DataError

Result = TypeVar("Result")
Work = Callable[["psycopg.Connection[Any]", bool], Result]
log = logging.getLogger("hrlaif.models")
FIRST_CONTACT_S = 5.0
PATIENCE_S = 300.0
_MOST_PAUSE_S = 5.0
# A server that is gone without a word is noticed within seconds, not after the system's two hours.
_NOTICE_LOSS = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3}
_ADVICE = "Everything recorded so far is safe: make it available, then run the same command again."


class Link:
    """Transactions over one connection, opened again when it breaks.

    Args:
        url: As in `postgresql://user@host/database`; the password comes from PGPASSWORD or ~/.pgpass.
        patience_s: Give up when the database was away for so long.

    Raises:
        ConfigError: The url is none that PostgreSQL's library can read.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self._url, self._patience_s = url, patience_s
        self._db: psycopg.Connection[Any] | None = None
        self._worked = False
        self._lock = threading.Lock()
        parts = urlsplit(url)
        self._password = parts.password or ""
        self.shown = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
        try:
            conninfo_to_dict(url)
        except psycopg.Error:
            # Without what the library says: it repeats the part that it cannot read.
            raise ConfigError(f"ledger: {self.shown} is not a PostgreSQL address such as {EXAMPLE}.") from None

    def run(self, work: Work[Result]) -> Result:
        """The result of `work(connection, is_retry)` in one transaction, tried again until the database is back.

        A transaction whose connection broke may have been committed: `work` has to allow for that where `is_retry`.

        Raises:
            DataError: The database cannot be reached, or refuses the work.
        """
        started, attempt = time.monotonic(), 0
        with self._lock:
            while True:
                try:
                    db = self._opened()
                    with db.transaction():
                        result = work(db, attempt > 0)
                except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                    self._drop()
                    attempt += 1
                    patience_s = self._patience_s if self._worked else FIRST_CONTACT_S
                    if time.monotonic() - started > patience_s:
                        raise DataError(f"{self._problem(error)} {_ADVICE}") from None
                    if attempt == 3:
                        log.warning("%s Trying again.", self._problem(error))
                    time.sleep(random.uniform(0.0, min(_MOST_PAUSE_S, 0.05 * 2.0 ** min(attempt, 10))))
                except psycopg.Error as error:
                    raise DataError(f"{self._problem(error)} {_ADVICE}") from None
                else:
                    self._worked = True
                    return result

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _opened(self) -> psycopg.Connection[Any]:
        if self._db is None:
            options = conninfo_to_dict(self._url)
            given = {**_NOTICE_LOSS, **options, "application_name": "hrlaif"}
            self._db = psycopg.connect(autocommit=True, **given)
        return self._db

    def _drop(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _problem(self, error: Exception) -> str:
        said = " ".join(str(error).split()) or type(error).__name__
        for secret in {self._password, unquote(self._password)} - {""}:
            said = said.replace(secret, "***")
        return f"{self.shown}: the ledger cannot be read or written ({said})."


EXAMPLE = "postgresql://user@host/database"
