"""The command line as a user meets it: one clear message and the right exit code, whatever is wrong."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli_outcome import COMMAND, PROMPT, Outcome, pair_file, write
from hrlaif.cli import STAGE_COMMANDS
from hrlaif.config import parse
from hrlaif.models.scripted import ScriptedServer
from hrlaif.run import Run

# --- start-up


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, hrlaif.cli\n"
        "heavy = {'pydantic', 'aiohttp', 'torch', 'numpy', 'rich.console', 'zstandard', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_command_without_cutting_its_line() -> None:
    shown = Outcome("--help")
    assert shown.code == 0
    for name in ("init", "estimate", "run", *STAGE_COMMANDS, "compare", "calibrate", "export", "serve-reward"):
        assert re.search(rf"^  {name} +\S", shown.out, re.MULTILINE)
    assert "..." not in shown.out.split("Commands:")[1]


@pytest.mark.parametrize("args", [["run"], ["run", "--no-such-option"], ["no-such-command"], ["label"]])
def test_a_command_that_cannot_be_understood_exits_with_2(args: list[str]) -> None:
    shown = Outcome(*args)
    assert shown.code == 2
    assert "Error: " in shown.err


# --- what is wrong with the configuration ---


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("seed = = 1", r"small\.toml: not valid TOML: "),
        ("sead = 1", r"small\.toml: 1 problem\(s\):\n  sead: unknown key; did you mean 'seed'\?"),
        ("seed = 'x'\nthreads = -1", r"small\.toml: 2 problem\(s\):\n  seed: .*'x'\)\n  threads: .*-1\)"),
        ("[judge]\nurl = 'https://me:secret@h/v1'\nmodel = 'm'", r"judge\.url: holds credentials"),
    ],
)
def test_a_wrong_configuration_is_explained(tmp_path: Path, config: str, expected: str) -> None:
    shown = Outcome("run", write(tmp_path, config=config))
    assert shown.code == 2
    assert re.search(expected, shown.message)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--set", "policy.stpes=3"], "policy.stpes: unknown key; did you mean 'steps'?"),
        (["--set", "policy.steps=none"], "policy.steps: Input should be a valid integer"),
        (["--set", "policy"], "--set: 'policy' is not key=value"),
        (["--arms", "rlaif,dpo"], "arms.1: Input should be 'rlaif', 'hrlaif' or 'human' (seen: 'dpo')"),
        (["--judge-url", "http://h/v1"], "--judge-url, --judge-model: 1 problem(s):\n  judge: has a url but no model"),
        (["--judge-model", "m"], "judge: names the model 'm' but no url"),
        (["--judge-url", "h:8000", "--judge-model", "m"], "'h:8000' is not an http(s) address"),
    ],
)
def test_a_wrong_option_is_explained(tmp_path: Path, options: list[str], expected: str) -> None:
    shown = Outcome("run", write(tmp_path), *options)
    assert shown.code == 2
    assert expected in shown.message


def test_a_configuration_that_is_not_there_is_named_with_the_command_that_writes_one(tmp_path: Path) -> None:
    shown = Outcome("run", tmp_path / "gone.toml")
    assert (shown.code, "gone.toml: no such configuration file. `hrlaif init DIR`" in shown.message) == (2, True)


# --- what is wrong with the data ---


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (PROMPT + "\n{broken\n", [r"p\.jsonl:2: not valid JSON", r"\{broken"]),
        (PROMPT + "\n" + PROMPT + "\n", [r"p\.jsonl:2: prompt id 'a' is already at \S+p\.jsonl:1"]),
        (
            '{"id": "c", "prompt": "Which?", "task": "choice", "reference": "A"}',
            [r"p\.jsonl:1: prompt 'c'", "two choices"],
        ),
        ("", [r"p\.jsonl: holds no rows"]),
        (None, [r"p\.jsonl: no such file"]),
    ],
)
def test_bad_prompts_are_named_by_file_line_and_id(tmp_path: Path, prompts: str | None, expected: list[str]) -> None:
    shown = Outcome("run", write(tmp_path, prompts))
    assert shown.code == 2
    for part in expected:
        assert re.search(part, shown.message)


def test_a_mended_file_is_read_again(tmp_path: Path) -> None:
    config = write(tmp_path, "{broken")
    assert Outcome("run", config).code == 2
    write(tmp_path)
    with ScriptedServer(lambda body: "?") as server:
        shown = Outcome("run", config, "--judge-url", server.url, "--judge-model", "m")
    assert "prompts: 20 records" in shown.err


# --- where a run cannot be written ---


def test_a_folder_that_is_no_run_folder_is_named(tmp_path: Path) -> None:
    for command in STAGE_COMMANDS:
        shown = Outcome(command, tmp_path)
        assert shown.code == 2
        assert shown.message == f"{tmp_path}: not a run folder (no config.toml). `hrlaif run CONFIG` makes one."
    shown = Outcome("compare", tmp_path)
    assert (shown.code, "no metrics.json there" in shown.message) == (2, True)


def test_a_stage_whose_inputs_are_missing_says_which_stage_comes_before(tmp_path: Path) -> None:
    with Run(parse({"run_dir": str(tmp_path / "r")}, where="test")):
        pass
    shown = Outcome("pairs", tmp_path / "r")
    assert shown.code == 2
    assert "prompts.jsonl: not there yet. `hrlaif run` makes it, or run the earlier stage alone." in shown.message


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, read_only_folder: Path) -> None:
    shown = Outcome("run", write(tmp_path), "--set", f"run_dir={read_only_folder / 'r'}")
    assert shown.code == 2
    assert re.match(rf"{read_only_folder}/r: cannot write \((Read-only file system|Permission denied)\)", shown.message)
    shown = Outcome("init", read_only_folder / "new")
    assert (shown.code, "cannot write" in shown.message) == (2, True)


def test_a_file_where_the_run_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    shown = Outcome("run", write(tmp_path), "--set", "run_dir=taken")
    assert shown.code == 2
    assert re.match(rf"{tmp_path}/taken: cannot write \(File exists\)", shown.message)


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_space(tmp_path: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 56_000)
    long = [json.dumps({"id": f"q{k}", "prompt": f"Question {k}? " + "so " * 200}) for k in range(20)]
    endpoint = '[responses]\nendpoint = { url = "http://127.0.0.1:9/v1", model = "policy" }'
    config = write(tmp_path, "\n".join(long), endpoint)
    shown = Outcome("run", config, "--set", f"run_dir={small_disk / 'r'}")
    assert shown.code == 2
    assert re.match(rf"{small_disk}/r/\S+: cannot write \(No space left on device\)", shown.message)
    assert "then run the same command again" in shown.message
    filler.unlink()
    assert "prompts: 20 records" in Outcome("sample", small_disk / "r").err


HOLD = """
import sys
from hrlaif.config import parse
from hrlaif.run import Run
with Run(parse({"run_dir": sys.argv[1]}, where="test")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_folder_that_another_process_works_in_is_left_alone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = (tmp_path / "r" / "config.toml").read_bytes()
        shown = Outcome("run", write(tmp_path), "--set", "run_dir=r")
        assert shown.code == 2
        assert shown.message == f"{tmp_path}/r: another hrlaif process works in this run folder. Wait for it."
        assert (tmp_path / "r" / "config.toml").read_bytes() == before
    finally:
        holder.communicate("")


# --- interruption ---


@contextlib.contextmanager
def running(*args: object) -> Iterator[subprocess.Popen[str]]:
    # A test run in the background of a script ignores Ctrl-C, and its children would inherit that.
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_exits_with_130_and_the_same_command_continues(tmp_path: Path) -> None:
    pairs, out = pair_file(tmp_path, count=300), tmp_path / "labels.jsonl"
    with ScriptedServer(lambda body: "A", latency_s=0.05) as server:
        command = ["calibrate", "judge", pairs, "--out", out, "--judge-url", server.url, "--judge-model", "m", "--json"]
        with running(*command) as process:
            wait_until(lambda: server.calls > 100, process)
            process.send_signal(signal.SIGINT)
            shown, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert shown == ""
        assert told.strip().splitlines()[-1] == "interrupted: run the same command again to continue where it stopped"
        assert "Traceback" not in told
        assert not out.exists()
        with running(*command) as process:
            shown, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert json.loads(shown)["pairs"] == 300
        # What was answered before is not asked again; at most the 64 calls in flight are.
        assert server.calls <= 600 + 64


# --- starting ---


def test_init_writes_a_configuration_that_runs_and_never_overwrites_one(tmp_path: Path) -> None:
    shown = Outcome("init", tmp_path / "new")
    assert shown.code == 0
    assert shown.out.split() == [str(tmp_path / "new" / name) for name in ("config.toml", "prompts.jsonl")]
    assert "hrlaif run " in shown.err
    again = Outcome("init", tmp_path / "new")
    assert again.code == 2
    assert "holds config.toml and prompts.jsonl already" in again.message
    with ScriptedServer(lambda body: "A") as server:
        gate = ["--set", "judge.gate=true", "--judge-url", server.url, "--judge-model", "m"]
        shown = Outcome("run", tmp_path / "new" / "config.toml", *gate)
    assert shown.code == 1
    assert "the judge m agrees with 50%" in shown.message
