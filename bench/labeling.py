"""The labeling engine against a mock judge: speed, faults, a kill, a long tail, a million pairs, and what reads them.

python bench/labeling.py [--quick] [--parts speed ...] [--json FILE]

Clients and endpoint run in processes of their own; distilabel in an environment of its own, made on first use.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from claims import Claim, claim, report
from hrlaif.artifacts import read_records
from hrlaif.types import Label, Verdict
from labeling_clients import questions
from mock_judge import REFUSED_EVERY

HERE = Path(__file__).resolve().parent
IN_FLIGHT = 256
LATENCY_S = 0.05
PARTS = ("speed", "faults", "kill", "tail", "many", "records")
DISTILABEL = ("distilabel[openai]==1.5.3", "requests")


class Endpoint:
    """A mock judge in its own process; `seen` is what it saw, once it has ended."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, str(HERE / "mock_judge.py"), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seen: dict[str, Any] = {}

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(self, *error: object) -> None:
        out, _ = self._process.communicate()
        self.seen = json.loads(out)


def client_command(name: str, url: str, pairs: int, folder: Path) -> list[str]:
    script = str(HERE / "labeling_clients.py")
    options = ["--pairs", str(pairs), "--folder", str(folder), "--in-flight", str(IN_FLIGHT)]
    return [sys.executable, script, name, url, *options]


def run(command: Sequence[str], **options: Any) -> dict[str, Any]:
    """Run a client and return what it measured, its last line of output."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options)
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="labeling-") as folder:
        yield Path(folder)


def measure(name: str, pairs: int, *endpoint: str) -> dict[str, Any]:
    with empty_folder() as folder, Endpoint("--latency", str(LATENCY_S), *endpoint) as url:
        return run(client_command(name, url, pairs, folder))


def speed(pairs: int, repeats: int) -> tuple[list[Claim], list[dict[str, Any]]]:
    """The engine beside a bare loop, alternating; also returns what was measured of the engine."""
    runs: dict[str, list[dict[str, Any]]] = {"bare": [], "engine": []}
    for _ in range(repeats):
        for name, done in runs.items():
            done.append(measure(name, pairs))
    bare, engine = runs["bare"], runs["engine"]
    assert all(one["done"] == pairs for one in engine)
    assert all(one["done"] == 2 * pairs for one in bare)
    walls = [one["wall_s"] for one in engine]
    ratios = [ours["wall_s"] / theirs["wall_s"] for ours, theirs in zip(engine, bare, strict=True)]
    calls = 2 * pairs
    claims = [
        claim(f"bare aiohttp loop, {calls} calls of 50 ms, 256 in flight", [one["wall_s"] for one in bare], "s"),
        claim(f"labels stage with ledger, the same {calls} calls", walls, "s"),
        claim("labels stage against the bare loop", ratios, "x", at_most=2),
        claim("CPU a call, bare loop", [one["cpu_s"] / calls * 1e3 for one in bare], "ms"),
        claim("CPU a call, labels stage with ledger", [one["cpu_s"] / calls * 1e3 for one in engine], "ms", at_most=1),
        claim("memory at most", [one["rss_mb"] for one in engine], "MB", at_most=150),
    ]
    return claims, engine


def distilabel(pairs: int, engine: Sequence[dict[str, Any]], python: Path) -> list[Claim]:
    """Distilabel on the same judge prompts and endpoint, in the same run."""
    with empty_folder() as folder, Endpoint("--latency", str(LATENCY_S)) as url:
        prompts = folder / "prompts.json"
        prompts.write_text(json.dumps(list(questions(pairs))), encoding="utf-8")
        command = [str(python), str(HERE / "labeling_distilabel.py"), url, str(prompts)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
        theirs = run(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    times = [theirs["wall_s"] / ours["wall_s"] for ours in engine]
    cpu_times = [theirs["cpu_s"] / ours["cpu_s"] for ours in engine]
    return [
        claim(f"distilabel 1.5.3, {2 * pairs} calls ({theirs['done']} answered)", [theirs["wall_s"]], "s"),
        claim("labels stage, times faster than distilabel", times, "x", at_least=15),
        claim("labels stage, times less CPU than distilabel", cpu_times, "x"),
    ]


def distilabel_python(folder: Path) -> Path | None:
    """Distilabel's environment, made on first use; None (and why, on the terminal) where it cannot be installed."""
    python = folder / "bin" / "python"
    checks = [str(python), "-c", "import distilabel.models"]
    if python.exists() and subprocess.run(checks, capture_output=True, check=False).returncode == 0:
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", *DISTILABEL]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return python
    print("distilabel could not be installed and is left out:", done.stderr.strip().splitlines()[-1:], file=sys.stderr)
    return None


def faults(pairs: int) -> list[Claim]:
    """1 % of 429, 0.5 % broken JSON, 0.1 % stalls on any call; 0.5 % of the pairs refused with 400."""
    endpoint = Endpoint("--latency", str(LATENCY_S), "--faults")
    with empty_folder() as folder:
        with endpoint as url:
            measured = run(client_command("engine", url, pairs, folder))
        labels = list(read_records(folder / "labels.jsonl", Label))
    unreadable = {label.prompt_id for label in labels if label.verdict is Verdict.UNREADABLE}
    refused = {f"p{number}" for number in range(0, pairs, REFUSED_EVERY)}
    transient = sum(count for kind, count in endpoint.seen["faults"].items() if kind != "refused")
    return [
        claim(
            f"faulty endpoint: {transient} transient faults, labels lost", [len(unreadable - refused)], "", at_most=0
        ),
        claim("faulty endpoint: refused pairs not reported", [len(refused - unreadable)], "", at_most=0),
        claim("faulty endpoint: refused pairs reported", [len(refused & unreadable)], ""),
        claim(f"faulty endpoint: {pairs} pairs", [measured["wall_s"]], "s"),
    ]


def killed(pairs: int) -> list[Claim]:
    """Kill -9 at half of the calls, then the same command again."""
    endpoint = Endpoint("--latency", str(LATENCY_S))
    with empty_folder() as folder:
        with endpoint as url:
            command = client_command("engine", url, pairs, folder)
            victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while calls_recorded(folder) < pairs and victim.poll() is None:
                time.sleep(0.01)
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL, "it ended before it could be killed"
            kept = calls_recorded(folder)
            run(command)
        ids = [label.prompt_id for label in read_records(folder / "labels.jsonl", Label)]
    assert ids == [f"p{number}" for number in range(pairs)]
    return [
        claim(
            f"killed with {kept} of {2 * pairs} calls recorded: calls repeated",
            [endpoint.seen["repeated"]],
            "",
            at_most=IN_FLIGHT,
        )
    ]


def calls_recorded(folder: Path) -> int:
    path = folder / "calls.sqlite"
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as db, contextlib.suppress(sqlite3.OperationalError):
        return int(db.execute("SELECT coalesce(sum(calls), 0) FROM accounts").fetchone()[0])
    return 0


def long_tail(pairs: int, repeats: int) -> list[Claim]:
    """Log-normal latency: half of the calls within 50 ms, 1 % over 2 s."""
    bare = [measure("bare", pairs, "--p99", "2")["wall_s"] for _ in range(repeats)]
    engine = [measure("engine", pairs, "--p99", "2")["wall_s"] for _ in range(repeats)]
    ratios = [ours / theirs for ours, theirs in zip(engine, bare, strict=True)]
    return [
        claim("log-normal latency (p50 50 ms, p99 2 s), bare loop", bare, "s"),
        claim("log-normal latency, labels stage", engine, "s"),
        claim("log-normal latency, against the bare loop", ratios, "x", at_most=2),
    ]


def many(pairs: int) -> list[Claim]:
    """Pairs made on the fly, a judge that answers at once: what the stage itself costs, and that memory stays flat."""
    with empty_folder() as folder:
        measured = run(client_command("stub", "none", pairs, folder))
        size_mb = (folder / "labels.jsonl").stat().st_size / 1e6
    grown_mb = measured["rss_mb"] - measured["early_mb"]
    return [
        claim(f"{pairs} pairs, a judge that answers at once", [pairs / measured["wall_s"]], "pairs/s"),
        claim("CPU a pair, both orders and the label file", [measured["cpu_s"] / pairs * 1e3], "ms"),
        claim(f"memory at most, for {size_mb:.0f} MB of labels", [measured["rss_mb"]], "MB", at_most=150),
        claim("memory grown over the last nine tenths", [grown_mb], "MB", at_most=10),
    ]


def records(labels: int) -> list[Claim]:
    """What reads a label file: memory that does not grow with it, but for the prompts, which are held."""
    few, many = labels // 10, labels
    measured = {}
    for count in (few, many):
        with empty_folder() as folder:
            script = str(HERE / "labeling_records.py")
            measured[count] = run([sys.executable, script, "--labels", str(count), "--folder", str(folder)])
    last = "judge on verified pairs: MB"
    grown_mb = measured[many][last] - measured[few][last]
    prompts_mb = measured[many]["prompts in memory: MB"] - measured[few]["prompts in memory: MB"]
    size_mb = measured[many]["size_mb"]
    steps = [name.removesuffix(": s") for name in measured[many] if name.endswith(": s")]
    return [
        *(claim(f"{many} labels: {name}", [measured[many][f"{name}: s"]], "s") for name in steps),
        claim(f"memory at most, for {size_mb:.0f} MB of labels", [measured[many][last]], "MB", at_most=300),
        claim(f"memory grown from {few} to {many} labels", [grown_mb], "MB"),
        claim("the same without the prompts", [grown_mb - prompts_mb], "MB", at_most=20),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small sizes, without distilabel")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hrlaif-bench" / "distilabel"
    parser.add_argument("--distilabel", type=Path, default=cache, help="folder of its environment")
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.many, options.repeats = 300, 5000, 1
    claims: list[Claim] = []
    if "speed" in options.parts:
        claims, engine = speed(options.pairs, options.repeats)
        python = None if options.quick else distilabel_python(options.distilabel)
        if python is not None:
            claims += distilabel(options.pairs, engine, python)
    if "faults" in options.parts:
        claims += faults(options.pairs)
    if "kill" in options.parts:
        claims += killed(options.pairs)
    if "tail" in options.parts:
        claims += long_tail(options.pairs, options.repeats)
    if "many" in options.parts:
        claims += many(options.many)
    if "records" in options.parts:
        claims += records(options.many)
    report(claims, options.json)


if __name__ == "__main__":
    main()
