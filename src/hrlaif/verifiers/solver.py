"""Symbolic comparison in worker processes with a hard time limit: a hanging expression costs itself and nothing else.

Workers are plain subprocesses that speak lines of JSON over pipes. They are neither forked (the parent may hold threads
and CUDA contexts) nor spawned by `multiprocessing` (which would import the user's main script again).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from hrlaif.verifiers.quantity import Match

Result = TypeVar("Result")
LIMIT_S = 5.0
WALL_FACTOR = 4.0
START_LIMIT_S = 120.0
MEMORY_BYTES = 4 << 30
KEPT_ANSWERS = 10_000
_OUT_OF_TIME = -getattr(signal, "SIGPROF", 0)  # the exit code of a worker that used up its processor time
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from hrlaif.verifiers.solver import work; work()"


def work() -> None:
    """The worker's loop: one JSON list [reference, found, limit_s] per line in, one Match value per line out."""
    _limit_memory()
    from hrlaif.verifiers.symbolic import relate

    answers, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        reference, found, limit_s = json.loads(line)
        _limit_time(limit_s)
        try:
            match = relate(reference, found)
        except (Exception, MemoryError):
            match = Match.UNKNOWN
        _limit_time(0.0)
        print(match.value, file=answers, flush=True)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_time(seconds: float) -> None:
    """Have the system end this process after that much processor time (0: never), whatever it is doing."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


class Solver:
    """One worker process, started at its first question and again after it was killed. Threads may share it.

    `relate` answers UNKNOWN for an expression that takes more than `limit_s` seconds of processor time (or a few times
    that on the clock, so that a busy machine changes no verdict), or that kills the worker.
    """

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Match] = {}

    def relate(self, reference: str, found: str) -> Match:
        """Whether `found` is the same answer as `reference`, within the time limit."""
        with self._lock:
            asked = (reference, found)
            if asked in self._known:
                return self._known[asked]
            match = self._ask(reference, found) or self._ask(reference, found)
            if match is None:
                return Match.UNKNOWN
            if len(self._known) >= KEPT_ANSWERS:
                self._known.clear()
            self._known[asked] = match
            return match

    def close(self) -> None:
        """End the worker; a later question starts another."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _ask(self, reference: str, found: str) -> Match | None:
        """The worker's answer; None where it gave none for a reason that may pass (a machine that was held up)."""
        question = json.dumps([reference, found, self.limit_s])
        try:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(question + "\n")
            process.stdin.flush()
            return Match(self._line(process, self.limit_s * WALL_FACTOR))
        except (OSError, ValueError):
            ended = self._exit_code()
            self.close()
            return Match.UNKNOWN if ended == _OUT_OF_TIME else None

    def _exit_code(self) -> int | None:
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1.0)
        return None

    def _running(self) -> subprocess.Popen[str]:
        if self._owner != os.getpid():
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            self._line(self._process, START_LIMIT_S)
        return self._process

    @staticmethod
    def _line(process: subprocess.Popen[str], limit_s: float) -> str:
        """The worker's next line; empty if it had to be killed at the limit."""
        assert process.stdout is not None
        timer = threading.Timer(limit_s, process.kill)
        timer.daemon = True
        timer.start()
        try:
            return process.stdout.readline().strip()
        finally:
            timer.cancel()


class Pool:
    """Several solvers, each asked by one thread at a time; a context manager that ends them all."""

    def __init__(self, workers: int, *, limit_s: float = LIMIT_S) -> None:
        self._solvers = [Solver(limit_s=limit_s) for _ in range(max(1, workers))]
        self._free: queue.SimpleQueue[Solver] = queue.SimpleQueue()
        for solver in self._solvers:
            self._free.put(solver)
        self._threads = ThreadPoolExecutor(len(self._solvers), thread_name_prefix="verifier")

    def submit(self, check: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Run `check(*arguments, relate)` with a solver's `relate`."""
        return self._threads.submit(self._run, check, arguments)

    def _run(self, check: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
        solver = self._free.get()
        try:
            return check(*arguments, solver.relate)
        finally:
            self._free.put(solver)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for solver in self._solvers:
            solver.close()
        self._threads.shutdown(wait=True)


@cache
def shared() -> Solver:
    """The process's own solver, for callers that verify one response at a time; ends with the process."""
    solver = Solver()
    atexit.register(solver.close)
    return solver
