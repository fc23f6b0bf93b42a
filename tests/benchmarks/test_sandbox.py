"""Nothing that a program does in the sandbox reaches the machine around it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hrlaif.benchmarks import sandbox
from hrlaif.benchmarks.sandbox import Ending, Limits, run
from hrlaif.errors import ConfigError

SHORT = Limits(cpu_s=2, wall_s=20.0, memory_bytes=256 << 20)


@pytest.fixture(autouse=True)
def _needs_a_sandbox() -> None:
    try:
        sandbox.check()
    except ConfigError as error:
        pytest.skip(str(error))


def test_a_program_that_reaches_its_end_passes() -> None:
    assert run("import math, re, typing\nassert math.sqrt(9) == 3").ending is Ending.PASSED


@pytest.mark.parametrize("program", ["assert 1 == 2", "import sys; sys.exit(0)", "import os; os._exit(0)", "def f(:"])
def test_a_program_that_ends_otherwise_does_not(program: str) -> None:
    assert run(program).ending is Ending.FAILED


def test_the_reason_is_kept() -> None:
    assert run("print('x' * 5)\nraise ValueError('seven')").detail == "ValueError: seven"


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 3)"
        ran = run(program, SHORT)
        assert (ran.ending, ran.detail) == (Ending.FAILED, "PermissionError: [Errno 1] Operation not permitted")
        # The same program outside does connect: it is the sandbox that refuses.
        socket.create_connection(("127.0.0.1", port), 3).close()


def test_an_endless_loop_ends() -> None:
    assert run("while True: pass", SHORT).ending is Ending.OUT_OF_TIME


def test_a_program_that_sleeps_ends() -> None:
    start = time.monotonic()
    assert run("import time; time.sleep(600)", Limits(wall_s=3.0)).ending is Ending.OUT_OF_TIME
    assert time.monotonic() - start < 60


def test_memory_is_limited() -> None:
    ran = run("x = bytearray(1 << 30)", SHORT)
    assert (ran.ending, ran.detail) == (Ending.FAILED, "MemoryError")


def test_a_fork_bomb_is_stopped_and_leaves_nothing() -> None:
    program = (
        "import os, time\ncount = 0\n"
        "while True:\n    try:\n        pid = os.fork()\n"
        "    except OSError:\n        raise SystemExit(f'stopped at {count}')\n"
        "    if pid == 0:\n        time.sleep(600)\n    count += 1\n"
    )
    ran = run(program, SHORT)
    assert ran.ending is Ending.FAILED
    assert ran.detail.startswith("stopped at ")
    assert int(ran.detail.rpartition(" ")[2]) < SHORT.processes


def test_a_process_of_the_sandbox_does_not_outlive_it(tmp_path: Path) -> None:
    before = _children_named_jail()
    run("import os, time\nif os.fork() == 0:\n    time.sleep(600)", SHORT)
    assert _children_named_jail() == before


def _children_named_jail() -> set[str]:
    """Processes that run `python -I -S -`, which nothing but a sandbox does."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if command.endswith(b"\0-I\0-S\0-\0"):
                found.add(entry.name)
    return found


def test_files_of_the_machine_are_not_there_and_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    assert "FileNotFoundError" in run(f"open({str(tmp_path / 'secret')!r})").detail
    for path in (tmp_path / "new", Path(sys.base_prefix) / "new", Path("/usr/new"), Path("/new")):
        ran = run(f"open({str(path)!r}, 'w').write('x')")
        assert ran.ending is Ending.FAILED, path
        assert not path.exists()
    assert run("import os; assert not os.listdir('/tmp') and not os.path.exists('/proc')").ending is Ending.PASSED


def test_it_may_write_a_little_in_its_own_folder() -> None:
    assert run("open('a', 'w').write('x')\nassert open('/tmp/a').read() == 'x'").ending is Ending.PASSED
    assert run("open('a', 'wb').write(bytes(8 << 20))").ending is Ending.FAILED


def test_it_is_not_root_and_sees_no_environment_and_no_other_process() -> None:
    program = f"""
import os
assert os.getuid() != 0
assert 'PYTEST_CURRENT_TEST' not in os.environ
for call, argument in ((lambda pid: os.kill(pid, 0), {os.getpid()}), (os.setuid, 0)):
    try:
        call(argument)
    except OSError:
        continue
    raise SystemExit('possible')
"""
    assert run(program).ending is Ending.PASSED


CALLS = {
    "a further user namespace": "libc.unshare(0x10000000)",
    "a further user namespace by clone": "libc.syscall(56 if is_x86 else 220, 0x10000011, 0, 0, 0, 0)",
    "shared memory without a limit": "libc.shmget(0, 4096, 0o1600)",
    "the user's keys": "libc.syscall(250 if is_x86 else 219, 0, -3, 0, 0, 0)",
    "a socket to a virtual machine's host": "-1 if fails(lambda: socket.socket(40, socket.SOCK_STREAM)) else 0",
    "input and output without system calls": "libc.syscall(425, 1, bytes(120))",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_system_calls_around_the_walls_fail(call: str) -> None:
    program = f"""
import ctypes, os, socket
libc, is_x86 = ctypes.CDLL(None, use_errno=True), os.uname().machine == "x86_64"
def fails(call):
    try:
        call()
    except PermissionError:
        return True
assert {call} < 0
"""
    assert run(program, SHORT) == sandbox.Ran(Ending.PASSED, "")


def test_threads_and_processes_still_work() -> None:
    program = """
import os, threading
done = []
thread = threading.Thread(target=done.append, args=(1,))
thread.start()
thread.join()
assert done and os.waitpid(os.fork() or os._exit(0), 0)[1] == 0
"""
    assert run(program) == sandbox.Ran(Ending.PASSED, "")


def test_programs_that_run_at_once_do_not_share_their_limit_on_processes() -> None:
    limits = Limits(processes=2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: run("import time; time.sleep(6)", limits), range(4)))
    assert {one.ending for one in found} == {Ending.PASSED}, found


def test_a_python_that_does_not_start_is_no_failed_program(monkeypatch: pytest.MonkeyPatch) -> None:
    order = json.loads(sandbox._order(SHORT)) | {"python": "/usr/lib"}
    monkeypatch.setattr(sandbox, "_order", lambda limits: json.dumps(order))
    with pytest.raises(ConfigError, match="no sandbox on this machine \\(Permission denied\\)"):
        run("pass")


def test_only_the_standard_library_is_there() -> None:
    assert "No module named" in run("import pip").detail
    program = "import sys; assert not any('packages' in path for path in sys.path)"
    assert run(program).ending is Ending.PASSED


def test_of_the_interpreter_only_its_library_is_there() -> None:
    shown = f"import os; assert set(os.listdir({sys.base_prefix!r})) <= {{'bin', 'lib', 'lib64', 'lib32'}}"
    assert run(shown).ending is Ending.PASSED


def test_it_ends_with_whoever_started_it() -> None:
    before = _children_named_jail()
    code = "from hrlaif.benchmarks.sandbox import run\nrun('import time; time.sleep(600)')"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        _wait_until(lambda: _children_named_jail() > before)
    finally:
        process.kill()
        process.wait()
    _wait_until(lambda: _children_named_jail() == before)


def _wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_it_prints_takes_no_memory_here() -> None:
    ran = run("import sys\nwhile True: sys.stderr.write('x' * 65536)", SHORT)
    assert ran.ending in (Ending.FAILED, Ending.OUT_OF_TIME)


def test_where_the_machine_refuses_nothing_runs_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    # A folder that does not exist in place of the root to build: the jail cannot shut itself in.
    broken = tmp_path / "jail.py"
    text = Path(sandbox.__file__).with_name("jail.py").read_text()
    broken.write_text(text.replace('ROOT = "/proc"', 'ROOT = "/no/such/folder"'))
    here = tmp_path / "sandbox.py"
    here.write_text(Path(sandbox.__file__).read_text())
    told = tmp_path / "ran"
    program = f"open({str(told)!r}, 'w')"
    code = f"import sandbox\ntry:\n    sandbox.run({program!r})\nexcept Exception as error:\n    print(error)"
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no sandbox on this machine (mount: No such file or directory)" in out.stdout, out.stderr
    assert not told.exists()


SYSTEM_PYTHON = Path("/usr/bin/python3")
ESCAPES = {
    "network": "import socket; socket.create_connection(('127.0.0.1', 1), 3)",
    "home": "import os; assert os.path.exists('/home') or os.path.exists('/root') or os.path.exists('/proc')",
    "system": "open('/usr/new', 'w')",
    "mount": "import ctypes\nassert ctypes.CDLL(None).mount(None, b'/', None, 32 | 4096, None) == 0",
    "processes": "import os, time\nfor _ in range(64):\n    if os.fork() == 0: time.sleep(9)",
}


@pytest.mark.skipif(os.getuid() != 0 or not SYSTEM_PYTHON.exists(), reason="plays an ordinary user, as root only")
@pytest.mark.parametrize("escape", ["none", *ESCAPES])
def test_an_ordinary_user_gets_the_same_sandbox(escape: str) -> None:
    jail = Path("/tmp") / f"jail-{os.getpid()}.py"  # tmp_path is for its owner alone
    jail.write_text(Path(sandbox.__file__).with_name("jail.py").read_text())
    order = json.loads(sandbox._order(SHORT)) | {"python": str(SYSTEM_PYTHON.resolve()), "interpreter": []}
    hears, says = os.pipe()
    try:
        done = subprocess.run(
            [SYSTEM_PYTHON, "-I", "-S", jail, str(says), json.dumps(order)],
            input=(ESCAPES.get(escape, "") + sandbox._LAST).encode(),
            pass_fds=(says,),
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    finally:
        os.close(says)
        jail.unlink()
    with open(hears) as told:
        said = told.read()
    if said.startswith("refused"):
        pytest.skip(f"this machine gives ordinary users no sandbox: {said}")
    assert (f"exit {sandbox.PASSED}\n" in said) == (escape == "none"), (said, done.stderr)
