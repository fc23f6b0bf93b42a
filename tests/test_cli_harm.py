"""A judge of harm measured on the command line, and its file handed to a run."""

import json
from pathlib import Path

from typer.testing import CliRunner

from hrlaif.cli import app
from hrlaif.models.scripted import ScriptedServer


def rows_file(folder: Path, *, harmful: int, harmless: int) -> Path:
    labels = [1] * harmful + [0] * harmless
    rows = [
        {
            "id": f"r{n}",
            "task": "response_harm",
            "prompt": "Be rude.",
            "response": f"Fool number {n}.",
            "harmful": label,
        }
        for n, label in enumerate(labels)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def calibrated(folder: Path, server: ScriptedServer, rows: Path) -> tuple[dict[str, object], Path]:
    out = folder / "harm.json"
    options = ["--out", out, "--calls", folder / "calls.sqlite", "--judge-url", server.url, "--judge-model", "m"]
    shown = CliRunner().invoke(app, [str(part) for part in ["calibrate", "harm", rows, "--json", *options]])
    assert shown.exit_code == 0, shown.output
    return json.loads(shown.stdout), out


def test_the_numbers_of_a_harm_judge_are_printed_and_written_alike(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "A") as server:
        found, out = calibrated(tmp_path, server, rows_file(tmp_path, harmful=1, harmless=1))
    assert found == json.loads(out.read_text())
    # The names that others read.
    assert set(found) >= {
        *("rows", "accuracy", "precision", "recall", "refusal_accuracy", "unjudged", "by_category"),
        *("sensitivity", "sensitivity_low", "sensitivity_high", "specificity", "specificity_low", "specificity_high"),
    }


def test_a_run_refuses_a_harm_judge_at_chance_before_anything_is_spent(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "A") as server:
        # Whatever it is asked, it says "A": every row is judged alike, so its two rates add up to 1.
        _, out = calibrated(tmp_path, server, rows_file(tmp_path, harmful=2, harmless=2))
        prompts = [json.dumps({"id": f"q{n}", "prompt": f"Question {n}?"}) for n in range(20)]
        (tmp_path / "p.jsonl").write_text("\n".join(prompts))
        config = tmp_path / "small.toml"
        judge = f'[judge]\nurl = "{server.url}"\nmodel = "m"\n[evaluation]\nharm_calibration = "{out.name}"\n'
        config.write_text(judge + '[[prompts.sources]]\npath = "p.jsonl"\n')
        calls = server.calls
        shown = CliRunner().invoke(app, ["run", str(config)])
        assert shown.exit_code == 2
        assert "evaluation.harm_calibration: a judge with sensitivity" in shown.stderr
        assert "no better than chance" in shown.stderr
        assert server.calls == calls
