"""What spreads a run over many processes and hosts: a ledger that they share, and Ray."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, model_validator

from hrlaif.config.base import Count, Section


def _no_password(url: str) -> str:
    # No message shows the url: in one that is not understood the password may be anywhere.
    parts = urlsplit(url)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("holds a password; put it into PGPASSWORD or ~/.pgpass instead")
    if url and (parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/")):
        raise ValueError("not a PostgreSQL address such as postgresql://user@host/database")
    return url


LedgerUrl = Annotated[str, AfterValidator(_no_password)]
Engine = Literal["local", "ray"]


class RaySection(Section):
    """The Ray cluster that `engine = "ray"` works on. An empty address starts one on this machine.

    Each of the `workers` makes its own calls, as many at once as an endpoint's `in_flight` says. `shard` is how many
    records travel together.
    """

    address: str = ""
    workers: Count = 2
    shard: Count = 32


class Scaled(Section):
    """Where a run's calls are made and kept.

    `ledger` is the PostgreSQL database of paid calls, for all who use it; empty is a file in the run folder.
    """

    engine: Engine = "local"
    ledger: LedgerUrl = ""
    ray: RaySection = RaySection()

    @model_validator(mode="after")
    def _ledger_is_shared(self) -> Scaled:
        if self.engine == "ray" and not self.ledger:
            raise ValueError("engine = 'ray' needs a ledger that all workers reach: set ledger to a PostgreSQL url")
        return self
