"""A PostgreSQL server of one's own, on this machine, until the end of the test session."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

PASSWORD = "secret p@ss/word"


def binaries() -> Path | None:
    """The folder of PostgreSQL's server, None where it is not installed."""
    named = shutil.which("pg_config")
    places = [subprocess.run([named, "--bindir"], capture_output=True, text=True).stdout.strip()] if named else []
    places += [str(place) for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    places += [str(Path(found).parent) for found in [shutil.which("initdb")] if found]
    return next((Path(place) for place in places if (Path(place) / "initdb").exists()), None)


def _user() -> pwd.struct_passwd | None:
    """Who runs the server where root must not: `postgres`, or `nobody`."""
    if os.geteuid():
        return None
    names = [entry.pw_name for entry in pwd.getpwall()]
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


class PostgresServer:
    """Starts with the `with` block. Its user is `hrlaif`; the password is in PGPASSWORD meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._binaries = folder
        self._user = _user()
        self._made = 0

    def __enter__(self) -> PostgresServer:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._user:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["-U", "hrlaif", "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "--no-sync"]
        self._run(["initdb", "-D", str(self._data), *options])
        self._outer = os.environ.get("PGPASSWORD")
        os.environ["PGPASSWORD"] = PASSWORD
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        os.environ.pop("PGPASSWORD")
        if self._outer is not None:
            os.environ["PGPASSWORD"] = self._outer
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        # What a killed process wrote, the system still has: a server on trial needs no disk that is sure of it.
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -c fsync=off -c max_connections=50"
        log = str(self._folder / "log")
        self._run(["pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start"])

    def stop(self, mode: str = "immediate") -> None:
        """End the server; `immediate` breaks every connection off, as a crash would."""
        self._run(["pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop"])

    def kill(self) -> None:
        """Kill the server with all its processes (SIGKILL)."""
        leader = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        for process in (leader, *map(int, children)):
            os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{leader}").exists():
            time.sleep(0.01)

    def database(self) -> str:
        """The address of a new database."""
        self._made += 1
        self.query(f"CREATE DATABASE db{self._made}", "postgres")
        return f"postgresql://hrlaif@127.0.0.1:{self._port}/db{self._made}"

    def query(self, text: str, database: str) -> str:
        """What psql prints."""
        where = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "hrlaif", "-d", database.rpartition("/")[2]]
        return self._run(["psql", "-qtAX", *where, "-c", text])

    def _run(self, command: list[str]) -> str:
        command = [str(self._binaries / command[0]), *command[1:]]
        kwargs = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        done = subprocess.run(  # type: ignore[call-overload]
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self._folder, check=False, **kwargs,
        )  # fmt: skip
        assert done.returncode == 0, f"{command[0]}: {done.stdout}"
        return str(done.stdout).strip()
