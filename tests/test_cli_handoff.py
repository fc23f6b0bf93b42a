"""The commands of the hand-off as a user meets them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrlaif import config as configuration
from hrlaif.artifacts import write_records
from hrlaif.cli import app
from hrlaif.config import LoraSection, parse
from hrlaif.types import Basis, Message, Pair, Prompt, Task

ASKED = (Message("user", "How?"),)


def run_folder(folder: Path, base: str = "org/base", *, pairs: bool = True) -> Path:
    config = parse({"arms": ["hrlaif"], "model": {"name": base, "device": "cpu"}, "run_dir": str(folder)}, where="test")
    write_records(folder / "prompts.jsonl", [Prompt("a", ASKED, "open", Task.OPEN)], fingerprint="p")
    (folder / "config.toml").write_text(configuration.dump(config))
    if pairs:
        pair = Pair("a", ASKED, "x", "y", 0.9, Basis.JUDGE, "open")
        write_records(folder / "hrlaif" / "pairs.jsonl", [pair], fingerprint="q")
    return folder


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["export", "trl", "RUN", "--out", "OUT", "--arm", "rlaif"], "has no arm 'rlaif', it has hrlaif"),
        (["export", "verl", "RUN", "--out", "OUT"], "pairs.jsonl: not there yet. Make it with `hrlaif pairs "),
        (["export", "openrlhf", "OUT", "--out", "OUT"], "not a run folder"),
        (["serve-reward", "RUN", "--arm", "rlaif"], "has no arm 'rlaif', it has hrlaif"),
        (["serve-reward", "RUN"], "no reward model here. Train one first."),
    ],
)
def test_what_is_missing_is_named_and_exits_with_2(tmp_path: Path, command: list[str], expected: str) -> None:
    places = {"RUN": str(run_folder(tmp_path / "run", pairs=False)), "OUT": str(tmp_path / "out")}
    shown = CliRunner().invoke(app, [places.get(word, word) for word in command])
    assert shown.exit_code == 2
    assert expected in shown.stderr
    assert not (tmp_path / "out").exists()


def test_an_export_prints_its_folder(tmp_path: Path) -> None:
    shown = CliRunner().invoke(
        app, ["export", "trl", str(run_folder(tmp_path / "run")), "--out", str(tmp_path / "out")]
    )
    assert (shown.exit_code, shown.stdout.strip()) == (0, str((tmp_path / "out").resolve()))


def test_an_export_to_an_address_arrives_there_and_is_not_overwritten(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the data extra: pip install 'hrlaif[data]'")
    command = ["export", "trl", str(run_folder(tmp_path / "run")), "--out", "memory://exported/trl"]
    shown = CliRunner().invoke(app, command)
    assert (shown.exit_code, shown.stdout.strip()) == (0, "memory://exported/trl")
    assert b"chosen" in fsspec.filesystem("memory").cat("/exported/trl/pairs.jsonl")
    assert fsspec.filesystem("memory").exists("/exported/trl/manifest.json")
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "--out memory://exported/trl: holds files already" in again.stderr


def test_the_reward_server_says_where_it_is_and_ctrl_c_ends_it_with_130(tiny_model: Path, tmp_path: Path) -> None:
    from hrlaif.nn.adapters import save_trained, trainable
    from hrlaif.nn.backbone import placement

    folder = run_folder(tmp_path / "run", str(tiny_model))
    scorer = trainable(str(tiny_model), LoraSection(rank=4), placement("cpu", "auto"), seed=0, scorer=True)
    save_trained(scorer, folder / "hrlaif" / "reward")
    process = subprocess.Popen(
        [sys.executable, "-m", "hrlaif.cli", "serve-reward", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("reward model of hrlaif: http://127.0.0.1:"), process.communicate()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in told
