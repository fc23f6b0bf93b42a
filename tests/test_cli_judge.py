"""The commands that ask a judge or count its calls: what they print, and what they say when it is not there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli_outcome import COMMAND, Outcome, pair_file, write
from hrlaif.models.scripted import ScriptedServer

# --- endpoints ---


def test_an_endpoint_that_nobody_serves_is_named(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    endpoint = ["--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "m"]
    shown = Outcome("calibrate", "judge", pair_file(tmp_path), "--out", out, *endpoint)
    assert shown.code == 2
    assert shown.message.startswith("http://127.0.0.1:9/v1: no connection")
    assert "Is the server running, and is this its address?" in shown.message


def test_a_judge_without_an_address_is_not_replaced_by_another_one(tmp_path: Path) -> None:
    shown = Outcome("calibrate", "judge", pair_file(tmp_path), "--out", tmp_path / "l.jsonl", "--judge-model", "m")
    assert shown.code == 2
    assert "names the model 'm' but no url" in shown.message


def test_a_judge_no_better_than_a_coin_stops_the_run_with_1_and_keeps_its_numbers(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "A") as server:
        shown = Outcome("run", write(tmp_path), "--judge-url", server.url, "--judge-model", "parrot")
    assert shown.code == 1
    assert shown.message.startswith("the judge parrot agrees with 50% of ")
    assert "no better than a coin" in shown.message
    found = json.loads((tmp_path / "runs" / "small" / "calibration.json").read_text())
    assert (found["judge"], found["agreement"], found["flip_rate"]) == ("parrot", 0.5, 1.0)


def test_a_key_is_sent_to_the_endpoint_and_written_nowhere(tmp_path: Path) -> None:
    key = "hunter2-0123456789"
    with ScriptedServer(lambda body: "A") as server:
        shown = subprocess.run(
            [*COMMAND, "run", str(write(tmp_path)), "--judge-url", server.url, "--judge-model", "m"],
            env={**os.environ, "HRLAIF_JUDGE_KEY": key},
            capture_output=True,
            text=True,
            check=False,
        )
        assert server.headers["Authorization"] == f"Bearer {key}"
    assert shown.returncode == 1
    assert key not in shown.stdout + shown.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if key.encode() in path.read_bytes()]


# --- quality of a judge ---


def test_json_is_one_object_on_standard_output_and_nothing_else_there(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "A") as server:
        endpoint = ["--judge-url", server.url, "--judge-model", "m"]
        out = tmp_path / "labels.jsonl"
        shown = Outcome("calibrate", "judge", pair_file(tmp_path), "--out", out, "--json", *endpoint)
    assert shown.code == 0
    found = json.loads(shown.out)
    # The names that others read.
    assert set(found) >= {
        *("pairs", "calls", "agreement", "agreement_low", "agreement_high", "kappa", "flip_rate", "p_first"),
        *("unreadable", "tokens", "seconds", "by_category"),
    }
    assert (found["pairs"], found["calls"], found["agreement"]) == (12, 24, 0.5)
    assert len(out.read_text().splitlines()) == 12
    assert "calibrating the judge: 12/12" in shown.err


def test_the_panel_of_a_configuration_is_measured_with_each_member_and_asked_in_its_own_words(tmp_path: Path) -> None:
    def says(body: dict[str, Any]) -> str:
        text = body["messages"][0]["content"]
        if "Only correctness counts" in text:
            return "Hmm."
        kiwi_is_a = text.index("kiwi") < text.index("plum")
        return "A" if kiwi_is_a else "B"

    with ScriptedServer(says) as server:
        judge = f'[judge]\nurl = "{server.url}"\nmodel = "m"\n'
        config = write(tmp_path, config=judge + '[[judge.panel]]\n[[judge.panel]]\nprompt = "correctness"')
        out = tmp_path / "labels.jsonl"
        command = ["calibrate", "judge", pair_file(tmp_path), "--out", out, "--config", config]
        shown = Outcome(*command, "--json")
        assert server.calls == 48
        table = Outcome(*command)
        assert server.calls == 48
    found = json.loads(shown.out)
    assert (found["judge"], found["agreement"], found["calls"]) == ("panel: m, m (correctness)", 0.5, 48)
    by_judge = found["by_judge"]
    assert {name: (one["agreement"], one["unreadable"]) for name, one in by_judge.items()} == {
        "m": (0.5, 0),
        "m (correctness)": (0.0, 12),
    }
    assert re.search(r"^by_judge +m +m \(correctness\) *$", table.out, re.MULTILINE)
    assert re.search(r"^agreement +0\.500 +0\.000 *$", table.out, re.MULTILINE)


def test_without_json_the_numbers_are_a_table(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "A") as server:
        endpoint = ["--judge-url", server.url, "--judge-model", "m"]
        shown = Outcome("calibrate", "judge", pair_file(tmp_path), "--out", tmp_path / "labels.jsonl", *endpoint)
    assert shown.code == 0
    assert re.search(r"^agreement +0\.500 *$", shown.out, re.MULTILINE)


# --- estimates ---


def test_an_estimate_is_one_json_object_asks_nobody_and_writes_nothing(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "A") as server:
        shown = Outcome("estimate", write(tmp_path), "--judge-url", server.url, "--judge-model", "m", "--json")
        assert server.calls == 0
    assert shown.code == 0
    found = json.loads(shown.out)
    # The names that others read.
    assert set(found) == {
        *("stages", "total", "paid", "priced", "budget_usd", "over_budget"),
        *("prompts", "sampled_prompts", "tokenizer", "assumptions"),
    }
    figures = {"calls", "prompt_tokens", "completion_tokens", "usd", "seconds"}
    assert set(found["stages"][0]) == {"stage", "part", "model", "state", "paid_calls", "latency_s", *figures}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "small.toml"]


def test_an_estimate_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom hrlaif.cli import app\n"
        f"app(['estimate', {str(write(tmp_path))!r}], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--assume", "right=2"], "--assume: right: Input should be less than or equal to 1"),
        (["--tokenizer", "gone"], "--tokenizer: gone/tokenizer.json is not there"),
        (["--set", "judge.budget=1"], "judge.budget: unknown key; did you mean 'budget_usd'?"),
    ],
)
def test_what_cannot_be_estimated_is_one_message_and_2(tmp_path: Path, option: list[str], expected: str) -> None:
    shown = Outcome("estimate", write(tmp_path), *option)
    assert shown.code == 2
    assert expected in shown.message
