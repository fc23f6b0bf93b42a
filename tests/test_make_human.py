"""People's votes on training responses become the human arm's labels, and measure the other arms'."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrlaif import config as configuration
from hrlaif.artifacts import read_manifest, read_records, write_records
from hrlaif.cli import app
from hrlaif.config import Config, parse
from hrlaif.errors import DataError
from hrlaif.human_eval import TRAINING_VOTES, Study
from hrlaif.human_eval.items import Item
from hrlaif.human_eval.records import Ballot, Rating
from hrlaif.labels import Group, label
from hrlaif.make_human import judge_on_people, training_items
from hrlaif.models.scripted import ScriptedModel
from hrlaif.pipeline import STAGES
from hrlaif.plan import Step, execute, plan
from hrlaif.report.data import load
from hrlaif.report.judge import judge as judge_section
from hrlaif.report.people import people as people_section
from hrlaif.run import Run, open_folder
from hrlaif.types import (
    Basis,
    Finish,
    Label,
    Message,
    Pair,
    Prompt,
    Response,
    Satisfaction,
    Split,
    Task,
    Verdict,
    Verification,
)

YES, NO = Rating(Satisfaction.YES), Rating(Satisfaction.NO)
PROMPTS = [Prompt(f"p{n}", (Message("user", f"Question {n}?"),), "chat", Task.OPEN) for n in range(4)]
HELD_OUT = Prompt("held", (Message("user", "Hm?"),), "chat", Task.OPEN, split=Split.EVALUATION)


def responses(word: str = "text") -> list[Response]:
    return [Response(f"{one.id}/{k}", one.id, f"{word} {k}", "m", k, Finish.STOP) for one in PROMPTS for k in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of four training prompts that has sampled and verified, and not been labelled."""
    values = {"arms": ["rlaif", "human"], "run_dir": str(tmp_path), "human": {"min_pairs": 3}}
    config = parse({**values, "labels": {"pairs_per_prompt": 2}, "seed": 5}, where="test")
    write_records(tmp_path / "prompts.jsonl", [*PROMPTS, HELD_OUT], fingerprint="p")
    write_records(tmp_path / "responses.jsonl", responses(), fingerprint="r")
    write_records(tmp_path / "verifications.jsonl", list[Verification](), fingerprint="v")
    (tmp_path / "config.toml").write_text(configuration.dump(config))
    return tmp_path


def steps(folder: Path, *names: str, arm: str = "human") -> list[Step]:
    return [one for one in plan(STAGES, config_of(folder)) if one.stage.name in names and one.arm == arm]


def config_of(folder: Path) -> Config:
    return open_folder(folder).config


def make(folder: Path, *names: str) -> list[str]:
    """What had to be made."""
    told: list[str] = []
    with Run(config_of(folder)) as run:
        execute(run, steps(folder, *names), tell=told.append)
    return [line.split(" ")[0] for line in told if "up to date" not in line]


def begin(folder: Path, *options: str) -> dict[int, Item]:
    """A study for anna and ben, as its operator begins it; the items by number, without those that check raters."""
    words = ["annotate", str(folder), "--on", "training", "--raters", "anna,ben", "--links-only", *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    with Study(folder / TRAINING_VOTES) as study:
        return {number: one for number, one in study.items().items() if one.known is None}


def vote(folder: Path, *votes: tuple[int, int, Verdict]) -> None:
    """Votes of (rater, item)."""
    with Study(folder / TRAINING_VOTES) as study:
        study.cast([Ballot(f"{rater}-{item}-{said}", rater, item, said, YES, NO, 5.0) for rater, item, said in votes])


def test_people_compare_the_pairs_that_the_judge_compares_and_no_evaluation_prompt(folder: Path) -> None:
    config = config_of(folder)
    groups = [Group(one, tuple(r for r in responses() if r.prompt_id == one.id), {}) for one in PROMPTS]
    label(
        groups,
        arm="rlaif",
        judge=ScriptedModel(lambda request: "A"),
        section=config.labels,
        seed=config.seed,
        path=folder / "asked.jsonl",
        fingerprint="x",
    )
    asked = [(one.first_id, one.second_id) for one in read_records(folder / "asked.jsonl", Label)]
    assert [(one.first.id, one.second.id) for one in training_items(folder, config)] == asked
    assert len(asked) == 8
    some = training_items(folder, config, most_prompts=2)
    assert [one.prompt.id for one in some] == ["p0", "p0", "p2", "p2"]


def test_votes_become_labels_by_the_share_of_raters_and_pairs_with_basis_human(folder: Path) -> None:
    numbers = {(one.first.id, one.second.id): number for number, one in begin(folder).items()}
    (one, two, three, four), left = list(numbers.values())[:4], len(numbers) - 4
    vote(folder, (1, one, Verdict.FIRST), (2, one, Verdict.TIE), (1, two, Verdict.SECOND), (2, two, Verdict.SECOND))
    vote(folder, (1, three, Verdict.TIE), (1, four, Verdict.FIRST), (2, four, Verdict.UNREADABLE))
    assert make(folder, "votes", "pairs") == ["votes", "pairs"]
    labels = list(read_records(folder / "human" / "labels.jsonl", Label))
    by_ids = {(one.first_id, one.second_id): one for one in labels}
    found = {number: by_ids[ids] for ids, number in numbers.items() if ids in by_ids}
    assert {number: one.p_first for number, one in found.items()} == {one: 0.75, two: 0.0, three: 0.5, four: 1.0}
    assert {one.basis for one in labels} == {Basis.HUMAN}
    # In the order of the responses, as `pairs` reads them.
    assert [one.prompt_id for one in labels] == sorted(one.prompt_id for one in labels)
    pairs = list(read_records(folder / "human" / "pairs.jsonl", Pair))
    assert sorted(pair.probability for pair in pairs) == [0.75, 1.0, 1.0]
    assert {pair.basis for pair in pairs} == {Basis.HUMAN}
    manifest = read_manifest(folder / "human" / "pairs.jsonl") or {}
    assert manifest["dropped"] == {"tie": 1, "pair: not rated yet": left}


def test_without_votes_or_with_too_few_it_is_said_what_is_missing_and_how_to_get_it(folder: Path) -> None:
    with pytest.raises(DataError, match=r"there are none yet.*hrlaif annotate .* --on training --raters"):
        make(folder, "votes")
    numbers = list(begin(folder))
    vote(folder, (1, numbers[0], Verdict.FIRST), (1, numbers[1], Verdict.SECOND), (1, numbers[2], Verdict.TIE))
    with pytest.raises(DataError, match=r"prefer one response on 2 of 8 pairs \(ties 1, .*min_pairs asks for 3"):
        make(folder, "votes")
    assert not (folder / "human" / "labels.jsonl").exists()


def test_new_votes_and_new_responses_make_the_labels_anew_and_nothing_else_does(folder: Path) -> None:
    numbers = list(begin(folder))
    vote(folder, *((1, number, Verdict.FIRST) for number in numbers[:4]))
    assert make(folder, "votes") == ["votes"]
    assert make(folder, "votes") == []
    vote(folder, (2, numbers[0], Verdict.TIE))
    assert make(folder, "votes") == ["votes"]
    # The votes are on responses that the run does not have any more.
    write_records(folder / "responses.jsonl", responses("other"), fingerprint="r2")
    with pytest.raises(DataError, match=r"prefer one response on 0 of 8 pairs .*no longer has 5"):
        make(folder, "votes")


def test_the_judges_labels_are_measured_on_the_pairs_that_people_compared(folder: Path) -> None:
    items = begin(folder)
    one, two, three, four = list(items)[:4]
    vote(folder, *((1, number, Verdict.FIRST) for number in (one, two, three)), (1, four, Verdict.UNREADABLE))
    make(folder, "votes")

    def judged(number: int, verdict: Verdict, *, is_turned: bool = False) -> Label:
        ids = [items[number].first.id, items[number].second.id]
        first, second = reversed(ids) if is_turned else ids
        return Label(items[number].prompt.id, first, second, 0.5, verdict, Basis.JUDGE)

    labels = [judged(one, Verdict.FIRST), judged(two, Verdict.FIRST, is_turned=True), judged(three, Verdict.TIE)]
    labels.append(judged(four, Verdict.FIRST))
    write_records(folder / "rlaif" / "labels.jsonl", labels, fingerprint="l")
    run = Run(config_of(folder))
    (report,) = (step for step in plan(STAGES, run.config) if step.stage.name == "report")
    found = judge_on_people(run, report)
    assert found is not None
    # Right, wrong (it was asked the other way round), and a tie that is half right; the fourth nobody could rate.
    assert (found["rlaif"]["agreement"], found["rlaif"]["pairs"]) == (0.5, 3)
    data = load(folder, run.config)
    section = people_section(data)
    assert "Table: raters: votes on training responses." in [table.caption for table in section.tables]
    facts = {"agreement": 0.7, "pairs": 10, "on_people": found}
    (shown, *_) = judge_section(dataclasses.replace(data, calibration=facts)).tables
    assert "pairs that people compared: labels of rlaif" in [row[0].text for row in shown.rows]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--on", "test", "--raters", "a"], "--on: 'test' is neither evaluation nor training"),
        (["--on", "training", "--compare", "rlaif:start", "--raters", "a"], "all training responses are the start's"),
        (["--on", "training"], "hrlaif annotate RUN --raters NAME,NAME --on training"),
    ],
)
def test_what_is_wrong_with_the_command_is_named(folder: Path, options: list[str], expected: str) -> None:
    done = CliRunner().invoke(app, ["annotate", str(folder), *options])
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.split())


def test_the_human_arm_has_no_step_that_asks_a_judge(folder: Path) -> None:
    names = {step.stage.name for step in plan(STAGES, config_of(folder)) if step.arm == "human"}
    assert names == {"votes", "pairs", "reward", "policy", "answers"}
    assert "votes" not in {step.stage.name for step in plan(STAGES, config_of(folder)) if step.arm == "rlaif"}
