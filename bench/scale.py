"""Beyond one machine: the labels stage on several raylets with a shared ledger, what it costs, and what it survives.

python bench/scale.py [--quick] [--parts speed ...] [--json FILE]

Needs the extra `scale` and PostgreSQL's programs. The judge is a mock whose latency is the limit, not the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from claims import Claim, claim, report
from hrlaif.artifacts import read_records
from hrlaif.types import Label
from labeling import Endpoint
from postgres_server import PostgresServer, binaries

HERE = Path(__file__).resolve().parent
PARTS = ("equal", "speed", "busy", "kill", "many")
WORKERS = (1, 2, 4)
IN_FLIGHT = 32
# The judge of `speed`: slow enough that four workers and everything around them leave most of two cores idle.
SLOW_S, FEW = 2.0, 16
# The address of a judge that is never asked.
NOBODY = "http://127.0.0.1:9/v1"


class Bench:
    """A PostgreSQL server and a folder of one's own."""

    def __init__(self, postgres: PostgresServer, folder: Path) -> None:
        self.postgres, self._folder, self._runs = postgres, folder, 0

    def command(self, engine: str, url: str, pairs: int, *options: str) -> tuple[list[str], Path]:
        """A driver and the folder that it fills."""
        self._runs += 1
        folder = self._folder / str(self._runs)
        folder.mkdir()
        script = [sys.executable, str(HERE / "scale_driver.py"), engine, url]
        return [*script, "--pairs", str(pairs), "--folder", str(folder), *options], folder

    def measured(self, engine: str, url: str, pairs: int, *options: str) -> tuple[dict[str, Any], Path]:
        """What a driver measured, and the folder that it filled."""
        command, folder = self.command(engine, url, pairs, *options)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found, folder


class Raylets:
    """A Ray cluster of several nodes on this machine, each with one CPU."""

    def __init__(self, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"num_cpus": 1, "object_store_memory": 80 << 20}
        self._cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
        self._options = options
        self.nodes = [self._cluster.head_node, *(self.add() for _ in range(nodes - 1))]

    def __enter__(self) -> Raylets:
        return self

    def __exit__(self, *error: object) -> None:
        self._cluster.shutdown()

    @property
    def address(self) -> str:
        """Where a driver finds the cluster."""
        return str(self._cluster.address)

    def add(self) -> Any:
        """One more node."""
        return self._cluster.add_node(**self._options)

    def raylet(self, node: Any) -> int:
        """The process of a node's raylet."""
        return int(node.all_processes["raylet"][0].process.pid)

    def workers(self, node: Any) -> list[int]:
        """The processes of a node that do a stage's work."""
        raylet, found = self.raylet(node), []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == raylet and b"ray::_Worker" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found


def equal(bench: Bench, pairs: int) -> list[Claim]:
    """The label files of one process and of a cluster."""
    place = bench.postgres.database()
    with Endpoint("--latency", "0.05") as url, Raylets(3) as raylets:
        _, alone = bench.measured("local", url, pairs)
        on_ray = ("--place", place, "--address", raylets.address, "--workers", "3")
        _, together = bench.measured("ray", url, pairs, *on_ray)
    lines = [sorted((folder / "labels.jsonl").read_bytes().splitlines()) for folder in (alone, together)]
    differing = sum(one != other for one, other in zip(*lines, strict=True))
    return [claim(f"labels of 3 raylets that differ from one process's, of {pairs}", [differing], "", at_most=0)]


def speed(bench: Bench, seconds: float) -> list[Claim]:
    """Throughput by workers where the judge's latency is the limit: each worker has so many calls in flight."""
    each = int(seconds * FEW / SLOW_S / 2)
    rates = {}
    with Endpoint("--latency", str(SLOW_S)) as url, Raylets(max(WORKERS)) as raylets:
        alone, _ = bench.measured("local", url, each, "--in-flight", str(FEW))
        for workers in WORKERS:
            options = ("--place", bench.postgres.database(), "--address", raylets.address)
            crew = ("--workers", str(workers), "--in-flight", str(FEW))
            found, _ = bench.measured("ray", url, workers * each, *options, *crew)
            rates[workers] = found["rows"] / found["wall_s"]
    claims = [claim("one process, SQLite: pairs a second", [each / alone["wall_s"]], "pairs/s")]
    claims += [claim(f"Ray, {workers} workers: pairs a second", [rate], "pairs/s") for workers, rate in rates.items()]
    claims += [
        claim(f"Ray, {workers} workers: efficiency", [rates[workers] / workers / rates[1]], "", at_least=0.9)
        for workers in WORKERS[1:]
    ]
    ratio = rates[1] / (each / alone["wall_s"])
    return [*claims, claim("Ray, 1 worker, against one process", [ratio], "x", at_least=0.9)]


def busy(bench: Bench, pairs: int) -> list[Claim]:
    """Where the processor is the limit: one process, the same with PostgreSQL, and one Ray worker."""
    rates, cpus = {}, {}
    with Endpoint("--latency", "0.05") as url, Raylets(1) as raylets:
        for name, engine, options in (
            ("one process, SQLite", "local", ()),
            ("one process, PostgreSQL", "local", ("--place", bench.postgres.database())),
            (
                "Ray, 1 worker",
                "ray",
                ("--place", bench.postgres.database(), "--address", raylets.address),
            ),
        ):
            found, _ = bench.measured(engine, url, pairs, "--in-flight", "256", *options)
            rates[name], cpus[name] = pairs / found["wall_s"], found["cpu_s"] / pairs * 1e3
    claims = [claim(f"256 in flight, 50 ms, {name}", [rate], "pairs/s") for name, rate in rates.items()]
    return [*claims, *(claim(f"... CPU of the driver a pair, {name}", [cpu], "ms") for name, cpu in cpus.items())]


def killed(bench: Bench, pairs: int) -> list[Claim]:
    """A worker, PostgreSQL, a raylet and the driver, killed one after the other; then the same command again."""
    workers, in_flight = 2, IN_FLIGHT
    endpoint, place = Endpoint("--latency", "0.1"), bench.postgres.database()
    with Raylets(2) as raylets:
        crew = ("--address", raylets.address, "--workers", str(workers), "--in-flight", str(in_flight))
        with endpoint as url:
            command, folder = bench.command("ray", url, pairs, "--place", place, *crew)
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)

            def wait_for(share: float) -> None:
                while paid(bench, place) < share * 2 * pairs:
                    assert driver.poll() is None, "the driver ended by itself"
                    time.sleep(0.1)

            wait_for(0.15)
            os.kill(raylets.workers(raylets.nodes[0])[0], signal.SIGKILL)
            wait_for(0.3)
            bench.postgres.kill()
            time.sleep(1.0)
            bench.postgres.start()
            wait_for(0.45)
            os.kill(raylets.raylet(raylets.nodes[1]), signal.SIGKILL)
            wait_for(0.55)
            raylets.add()
            wait_for(0.7)
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ids = [label.prompt_id for label in read_records(folder / "labels.jsonl", Label)]
    wanted = [f"p{number}" for number in range(pairs)]
    # A worker's, a raylet's with its worker, and all workers' of a driver.
    most = in_flight * (1 + 1 + workers)
    return [
        claim(f"killed in {pairs} pairs: labels lost", [len(set(wanted) - set(ids))], "", at_most=0),
        claim("killed: labels doubled or out of order", [len(ids) - len(set(ids)) + (ids != wanted)], "", at_most=0),
        claim("killed: calls that the ledger has", [paid(bench, place)], ""),
        claim("bytes a call in the ledger, index included", [stored(bench, place) / (2 * pairs)], "B"),
        claim("bytes a label", [(folder / "labels.jsonl").stat().st_size / pairs], "B"),
        claim("killed: calls that were asked again", [endpoint.seen["repeated"]], "", at_most=most),
    ]


def paid(bench: Bench, place: str) -> int:
    with contextlib.suppress(AssertionError):  # no database, or no table yet
        return int(bench.postgres.query("SELECT coalesce(sum(calls), 0) FROM hrlaif_accounts", place))
    return 0


def stored(bench: Bench, place: str) -> int:
    return int(bench.postgres.query("SELECT pg_total_relation_size('hrlaif_calls')", place))


def many(bench: Bench, prompts: int) -> list[Claim]:
    """Sampling and labelling that ask nobody: the driver's rate, and the memory of every process."""
    options = ("--place", bench.postgres.database(), "--stub", "--workers", "2", "--in-flight", "256")
    found, _ = bench.measured("ray", NOBODY, prompts, *options)
    labels_s = found["wall_s"] - found["samples_s"]
    claims = [
        claim(f"{prompts} prompts sampled from a stub, 2 workers", [prompts / found["samples_s"]], "/s"),
        claim(f"{prompts} pairs labelled by a stub, 2 workers", [prompts / labels_s], "/s"),
        claim("peak memory of the driver", [found["peak_mb"]], "MB"),
    ]
    for stage, memory in found["memory"].items():
        for name, share in (("a quarter", "0.25"), ("half", "0.5"), ("the end", "1.0")):
            claims.append(claim(f"{stage}: memory of all processes at {name}", [memory["mb"][share]], "MB"))
        claims.append(
            claim(f"{stage}: grown after a tenth at most, in {memory['grown']}", [memory["grown_mb"]], "MB", at_most=30)
        )
    return claims


@contextlib.contextmanager
def opened() -> Iterator[Bench]:
    found = binaries()
    if found is None:
        raise SystemExit("PostgreSQL's programs are not installed (Debian: postgresql)")
    with PostgresServer(found) as postgres, tempfile.TemporaryDirectory(prefix="scale-") as folder:
        yield Bench(postgres, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.many = 800, 20_000
    parts: dict[str, Callable[[Bench], list[Claim]]] = {
        "equal": lambda bench: equal(bench, min(2000, options.pairs)),
        "speed": lambda bench: speed(bench, 5 if options.quick else 40),
        "busy": lambda bench: busy(bench, min(4000, options.pairs)),
        "kill": lambda bench: killed(bench, options.pairs),
        "many": lambda bench: many(bench, options.many),
    }
    claims: list[Claim] = []
    with opened() as bench:
        for name in options.parts:
            claims += parts[name](bench)
    report(claims, options.json)


if __name__ == "__main__":
    main()
