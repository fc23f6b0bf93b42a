"""The command of the human evaluation as its operator meets it, and what its votes do in a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrlaif import config as configuration
from hrlaif.artifacts import read_json, read_records, write_manifest, write_records
from hrlaif.cli import app
from hrlaif.config import parse
from hrlaif.human_eval import Study
from hrlaif.human_eval.records import Ballot, Rating
from hrlaif.pipeline import STAGES
from hrlaif.plan import execute, plan
from hrlaif.run import open_folder
from hrlaif.types import Evaluation, Finish, Label, Message, Prompt, Response, Satisfaction, Split, Task, Verdict

ARMS = ("start", "rlaif")
YES, NO = Rating(Satisfaction.YES), Rating(Satisfaction.NO)


def run_folder(folder: Path, *, same: bool = False) -> Path:
    """A run that has answered four evaluation prompts, and been evaluated."""
    config = parse({"arms": ["rlaif"], "run_dir": str(folder)}, where="test")
    prompts = [Prompt(f"p{n}", (Message("user", f"{n}?"),), "c", Task.OPEN, split=Split.EVALUATION) for n in range(4)]
    write_records(folder / "prompts.jsonl", prompts, fingerprint="p")
    rows = []
    for arm in ARMS:
        answers = [
            Response(f"{one.id}/0", one.id, "same" if same else f"{arm} {one.id}", arm, 0, Finish.STOP)
            for one in prompts
        ]
        write_records(folder / "answers" / f"{arm}.jsonl", answers, fingerprint="a")
        rows += [
            Evaluation(arm, one.prompt_id, "c", Task.OPEN, one, 2, 8, Satisfaction.YES, "", verdict=Verdict.FIRST)
            for one in answers
        ]
    write_records(folder / "evaluation.jsonl", rows, fingerprint="e")
    (folder / "rlaif" / "policy").mkdir(parents=True)
    write_manifest(folder / "rlaif" / "policy", fingerprint="t")
    (folder / "config.toml").write_text(configuration.dump(config))
    return folder


def invoke(*words: object) -> tuple[int, str, str]:
    shown = CliRunner().invoke(app, ["annotate", *map(str, words)])
    return shown.exit_code, shown.stdout, shown.stderr


def test_each_rater_gets_a_link_once_and_a_new_one_on_request(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    code, out, told = invoke(folder, "--raters", "anna, ben", "--links-only")
    assert code == 0
    first = dict(line.split(": ", 1) for line in out.splitlines())
    assert set(first) == {"anna", "ben"}
    assert all(link.startswith("http://127.0.0.1:8321/#") and len(link) > 60 for link in first.values())
    assert "new study: 4 pairs of answers, 4 pairs that check raters, overlap 2" in told
    code, out, told = invoke(folder, "--raters", "anna,cleo", "--links-only", "--lang", "zh")
    assert out.startswith("cleo: http://127.0.0.1:8321/?lang=zh#")
    assert "there already, with the link they have: anna" in told
    _, out, _ = invoke(folder, "--renew", "anna", "--links-only", "--public-url", "https://rate.test")
    assert out.startswith("anna: https://rate.test/#")
    with Study(folder / "votes.sqlite") as study:
        assert study.open_session(out.strip().split("#")[1]) is not None
        assert study.open_session(first["anna"].split("#")[1]) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--links-only"], "no study here yet. Make one with `hrlaif annotate RUN --raters NAME,NAME`"),
        (["--host", "0.0.0.0", "--raters", "a"], "say with --public-url at which address raters reach this page"),
        (["--public-url", "rate.test", "--raters", "a"], "has to be http(s)://HOST"),
        (["--public-url", "https://rate.test/x", "--raters", "a"], "has to be http(s)://HOST"),
        (["--compare", "rlaif:hrlaif", "--raters", "a"], "'rlaif:hrlaif' is no comparison. Name two of start, rlaif"),
        (["--lang", "de", "--raters", "a"], "'de' is not a language of the page"),
        (["--raters", "a\u202eb"], "too long for a name, or holds what cannot be printed"),
        (["--raters", "a", "--port", "0"], "links need a fixed --port"),
        (["--raters", "a", "--links-only", "--renew", "nobody"], "there is no rater 'nobody'"),
        (["--export", "x"], "no study here yet"),
        (["--import", "x.json", "--from", "word"], "--from: 'word' is none of argilla"),
    ],
)
def test_what_is_wrong_is_named_and_exits_with_2(tmp_path: Path, options: list[str], expected: str) -> None:
    code, _, told = invoke(run_folder(tmp_path / "run"), *options)
    assert code == 2
    assert expected in " ".join(told.split())


def test_arms_that_wrote_the_same_leave_nothing_to_rate(tmp_path: Path) -> None:
    code, _, told = invoke(run_folder(tmp_path / "run", same=True), "--raters", "a", "--links-only")
    assert code == 2
    assert "no two answers to rate: the arms wrote the same 4 times" in told


def test_votes_are_exported_from_the_command(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    invoke(folder, "--raters", "anna", "--links-only", "--checks", "0")
    with Study(folder / "votes.sqlite") as study:
        study.cast([Ballot("v1", 1, 1, Verdict.FIRST, YES, NO, 5.0)])
    code, out, _ = invoke(folder, "--export", tmp_path / "votes.jsonl")
    assert (code, out.strip()) == (0, f"1 rows: {tmp_path / 'votes.jsonl'}")
    assert json.loads((tmp_path / "votes.jsonl").read_text())["rater"] == "anna"


def test_votes_reach_the_metrics_of_the_run_and_new_votes_make_them_anew(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")

    def steps() -> list[str]:
        run = open_folder(folder)
        wanted = [one for one in plan(STAGES, run.config) if one.stage.name in ("ratings", "metrics")]
        told: list[str] = []
        with run:
            execute(run, wanted, tell=told.append)
        return [line.split(":")[0] for line in told if "up to date" not in line]

    def vote(vote_id: str, item: int) -> None:
        with Study(folder / "votes.sqlite") as study:
            study.cast([Ballot(vote_id, 1, item, Verdict.FIRST, YES, NO, 5.0)])

    assert steps() == ["metrics"]
    assert "people" not in read_json(folder / "metrics.json")
    invoke(folder, "--raters", "anna", "--links-only", "--checks", "0")
    vote("v1", 1)
    assert steps() == ["ratings", "metrics"]
    (label,) = read_records(folder / "ratings" / "labels.jsonl", Label)
    assert (label.first_id.split(":")[0], label.verdict) == ("rlaif", Verdict.FIRST)
    found = read_json(folder / "metrics.json")
    assert found["people"]["pairs_rated"] == 1
    assert found["metrics"]["rlaif"]["all"]["human_win_ratio"]["value"] == 1.0
    assert found["metrics"]["start"]["all"]["human_satisfaction"]["value"] == 0.0
    assert steps() == []
    vote("v2", 2)
    assert steps() == ["ratings", "metrics"]
    assert read_json(folder / "metrics.json")["metrics"]["rlaif"]["all"]["human_win_ratio"]["n"] == 2
