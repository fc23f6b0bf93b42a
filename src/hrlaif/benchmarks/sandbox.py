"""Runs a Python program that nobody trusts: without network, files, other processes, or much time and memory.

Linux only, with the namespaces that containers are made of (`jail.py`); a machine that cannot give them gets an error,
and nothing is ever run without them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hrlaif.errors import ConfigError

# A program says that it reached its end by this exit code: one that only ends early does not pass.
PASSED = 83
_LAST = f"\n__import__('os')._exit({PASSED})\n"
_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. Memory is each process's address space; files are in memory too, and bounded apart."""

    cpu_s: int = 10
    wall_s: float = 30.0
    memory_bytes: int = 1 << 30
    processes: int = 16
    file_bytes: int = 1 << 20
    disk_bytes: int = 16 << 20


class Ending(str, Enum):
    """How a program ended."""

    PASSED = "passed"
    FAILED = "failed"
    OUT_OF_TIME = "out of time"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and the last line that it wrote to standard error."""

    ending: Ending
    detail: str


def run(program: str, limits: Limits | None = None) -> Ran:
    """Run a program to its end; PASSED where it got there without an error, which `sys.exit` does not.

    Raises:
        ConfigError: This machine gives no sandbox; nothing was run.
    """
    limits = limits or Limits()
    if not sys.platform.startswith("linux"):
        raise _no_sandbox(f"this is {sys.platform}, and it needs Linux")
    hears, says = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, hears)
        errors = stack.enter_context(tempfile.TemporaryFile())
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(__file__).with_name("jail.py")), str(says), _order(limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(says,),
                start_new_session=True,
                env={},
                cwd="/",
            )
        finally:
            os.close(says)
        in_time = _feed(process, program + _LAST, limits.wall_s)
        told = _told(hears)
        _, refused, reason = told.partition("refused ")
        if refused or not told.startswith("ready"):
            raise _no_sandbox(reason.partition("\n")[0] or ("no answer" if in_time else "it took too long"))
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _SHOWN))
        lines = errors.read().decode("utf-8", "replace").split("\n")
    detail = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return Ran(_ending(told, in_time=in_time), detail)


def check() -> None:
    """See that this machine gives a sandbox in which Python starts.

    Raises:
        ConfigError: It does not.
    """
    ran = run("")
    if ran.ending is not Ending.PASSED:
        raise _no_sandbox(f"Python does not start in it: {ran.ending.value}, {ran.detail}")


def _order(limits: Limits) -> str:
    """What the jail is told. The base interpreter, not the environment's: a program gets the standard library only."""
    python = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    return json.dumps(
        {
            "python": python,
            "interpreter": _libraries(),
            "disk_bytes": limits.disk_bytes,
            "limits": {
                "RLIMIT_CPU": limits.cpu_s,
                "RLIMIT_AS": limits.memory_bytes,
                "RLIMIT_NPROC": limits.processes,
                "RLIMIT_FSIZE": limits.file_bytes,
                "RLIMIT_NOFILE": 64,
                "RLIMIT_CORE": 0,
            },
        }
    )


def _libraries() -> list[str]:
    """Folders of the interpreter's library; what else lies under its prefix, which may be a home, stays outside."""
    prefixes = {sys.base_prefix, sys.base_exec_prefix, os.path.realpath(sys.base_prefix)}
    return sorted(str(Path(prefix) / name) for prefix in prefixes for name in ("lib", "lib64"))


def _feed(process: subprocess.Popen[bytes], program: str, wall_s: float) -> bool:
    """Hand the program over and wait; False where the time was up and everything in the sandbox was killed."""
    try:
        process.communicate(program.encode("utf-8", "replace"), timeout=wall_s)
    except subprocess.TimeoutExpired:
        # The first process in the sandbox dies with its parent, and all others with it.
        process.kill()
        process.wait()
        return False
    except BaseException:
        process.kill()
        raise
    return True


def _told(hears: int) -> str:
    """All that the jail said; every end that could write has been closed by now."""
    parts = []
    while part := os.read(hears, 4096):
        parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def _ending(told: str, *, in_time: bool) -> Ending:
    code = told.rpartition("exit ")[2].strip()
    if code == str(PASSED):
        return Ending.PASSED
    # Out of processor time the kernel sends SIGXCPU, and SIGKILL where soft and hard limit are the same.
    return Ending.OUT_OF_TIME if not in_time or code in ("-9", "-24") else Ending.FAILED


def _no_sandbox(reason: str) -> ConfigError:
    return ConfigError(
        f"no sandbox on this machine ({reason}). Code that a model wrote runs only in one: without network, and with "
        "limits. It needs Linux 5.14 or later on x86-64 or ARM64, and either user namespaces for ordinary users "
        "(sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu) or root with CAP_SYS_ADMIN. Or take the "
        "humaneval benchmark out."
    )
