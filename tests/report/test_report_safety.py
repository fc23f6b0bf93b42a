"""Harm, attacks, the red team's rounds and the monitors in the report, and that no text of theirs gets into it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hrlaif.artifacts import read_json, read_manifest, read_records, write_records
from hrlaif.cli import app
from hrlaif.config import Config, RedTeamSection, dump
from hrlaif.evaluation import summarise
from hrlaif.judges.harm import hazards
from hrlaif.judges.harm_quality import HarmQuality
from hrlaif.metrics import Seen, wilson
from hrlaif.report import write
from hrlaif.report.attacks import regression, success
from hrlaif.report.data import RunData, load
from hrlaif.report.headline import headline
from hrlaif.report.layout import Grid, Section
from hrlaif.report.monitors import monitors
from hrlaif.report.red_team import red_team
from hrlaif.report.safety import by_hazard, harm
from hrlaif.types import Evaluation, HarmOutcome, Label, Pair, RedTeamCase, Split, Task

SECRET = "HARMFUL-TEXT-THAT-MUST-NOT-BE-SHOWN"
ROUNDS = Config(name="fixture", run_dir="runs/fixture", red_team=RedTeamSection(rounds=2))


@pytest.fixture
def rounds(full_run: Path) -> RunData:
    return load(full_run, ROUNDS)


def table(section: Section | None, start: str) -> dict[str, list[str]]:
    assert section is not None
    found = next(table for table in section.tables if table.caption.startswith(start))
    return {row[0].text: [cell.text for cell in row[1:]] for row in found.rows}


def charts(section: Section | None) -> dict[str, Any]:
    assert section is not None
    return {panel.name: panel.chart for figure in section.figures for panel in figure.panels}


# --- harm against over-refusal, and by hazard


def test_harm_against_over_refusal_warns_of_few_prompts_and_says_what_is_not_corrected(rounds: RunData) -> None:
    section = harm(rounds)
    assert set(charts(section)["harm"].points) == {"start", "rlaif", "hrlaif"}
    assert "harm-corrected" not in charts(section)
    assert "Fewer than 200" in section.notes[0]
    assert "was not measured" in section.notes[1]
    metric = rounds.metric("hrlaif", "all", "harmful")
    assert metric is not None
    assert table(section, "Table: harm")["hrlaif"][0] == f"{100 * metric.value:.1f}\u00a0%"
    tested = next(found for found in section.tables if found.caption.startswith("Difference from the start"))
    p = rounds.metrics["tests"]["hrlaif minus start"]["harmful"]["p"]
    assert tested.rows[1][1].detail.endswith(f"p = {p:.2g}")


def test_corrected_rates_stand_in_table_and_figure_where_the_judge_was_measured(
    full_run: Path, rounds: RunData
) -> None:
    rows = list(read_records(full_run / "evaluation.jsonl", Evaluation))
    quality = HarmQuality("judge", sensitivity=Seen(70, 100), specificity=Seen(90, 100))
    run = dataclasses.replace(rounds, metrics=summarise(rows, seed=0, harm_quality=quality))
    section = harm(run)
    assert set(charts(section)) == {"harm", "harm-corrected"}
    corrected = run.metric("start", "all", "harmful_corrected")
    assert corrected is not None
    assert table(section, "Table: harm")["start"][1] == f"{100 * corrected.value:.1f}\u00a0%"
    assert "finds 70.0\u00a0%" in section.notes[1]


def test_harm_by_hazard_counts_judged_answers_and_names_the_hazard(rounds: RunData) -> None:
    section = by_hazard(rounds)
    found = table(section, "Table: harmful rate by hazard")
    # Evaluation prompts with index 1, 3, ... of category 8: hazards S10, S12, S14, S2, ... in the hazards' own order.
    assert list(found) == [f"{code} {hazards()[code][0]}" for code in ("S2", "S4", "S6", "S8", "S10", "S12", "S14")]
    rows = [
        row.harm.outcome is HarmOutcome.HARMFUL
        for row in rounds.rows(Split.EVALUATION)
        if row.arm == "start" and row.harm and row.task is Task.RED_TEAM and row.harm.hazard == "S10"
    ]
    point = dict(charts(section)["hazards"].rows)["S10 hate"]["start"]
    expected = wilson(sum(rows), len(rows), name="harmful")
    assert (point.value, point.low, point.high) == (expected.value, expected.low, expected.high)


def test_a_run_without_red_team_prompts_has_no_section_by_hazard(tmp_path: Path, config: Config) -> None:
    run = load(tmp_path, config)
    assert by_hazard(run) is None
    assert success(run) is None
    assert regression(run) is None
    assert monitors(run) is None


# --- attacks


def test_attack_success_is_what_the_rounds_manifests_say(full_run: Path, rounds: RunData) -> None:
    section = success(rounds)
    found = table(section, "Table: attack success")
    first = (read_manifest(full_run / "hrlaif/round_1/red_team.jsonl") or {})["asr"]
    second = (read_manifest(full_run / "hrlaif/red_team.jsonl") or {})["asr"]
    assert list(found) == ["all", "past_tense", "prefix", "role_play", "translation", "hit@k", "unjudged attempts"]
    for name in ("all", "prefix"):
        expected = [f"{100 * asr['strategies'][name]['value']:.1f}\u00a0%" for asr in (first, second)]
        assert found[name] == expected
    (hit,) = first["hit"].values()
    assert found["hit@k"][0] == f"{100 * hit['value']:.1f}\u00a0%"
    assert found["unjudged attempts"][0] == str(first["unjudged"].get("all", 0))
    by_hazard = table(section, "Attack success rate by hazard")
    assert by_hazard["S3 sex-related crime"][0] == f"{100 * first['hazards']['S3']['value']:.1f}\u00a0%"
    assert list(by_hazard)[1].startswith("S2 ")


def test_the_grid_compares_start_and_newest_policy_on_the_frozen_set(full_run: Path, rounds: RunData) -> None:
    section = success(rounds)
    found = charts(section)
    assert {"archive-start", "archive-newest"} <= set(found)
    for side, home in (("start", "round_0/"), ("newest", "")):
        grid = found[f"archive-{side}"]
        assert isinstance(grid, Grid)
        (archive,) = (read_manifest(full_run / f"hrlaif/{home}regression.jsonl") or {})["archive"]
        cell = archive["cells"][0]
        place = grid.rows.index(cell["hazard"]), grid.columns.index(cell["strategy"])
        assert grid.cells[place] == (cell["harmful"], cell["attacks"] - cell["unjudged"])
        assert len(grid.cells) == len(archive["cells"])


def test_with_one_round_the_grid_shows_the_start_alone(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    assert "archive-newest" not in charts(success(run))


def test_the_frozen_set_is_shown_over_the_rounds_and_unlike_sets_are_told(rounds: RunData) -> None:
    section = regression(rounds)
    assert section is not None
    assert section.callout == ""
    assert next(list(points) for _, points in charts(section)["regression"].rows) == ["start", "round 1", "round 2"]
    other = dataclasses.replace(rounds, frozen={**rounds.frozen, 2: {**rounds.frozen[2], "frozen": "other"}})
    unlike = regression(other)
    assert unlike is not None
    assert "cannot be compared" in unlike.callout


# --- from attack to pair


def test_every_case_of_a_round_is_a_pair_or_has_its_reason(full_run: Path, rounds: RunData) -> None:
    section = red_team(rounds)
    funnel = table(section, "Table: from attack to pair")
    assert funnel["attacks"] == ["60", "60"]
    assert funnel["answers to them"] == ["120", "120"]
    for index, one in enumerate(rounds.rounds):
        assert int(funnel["judged"][index]) + int(funnel["unjudged"][index]) == 120
        assert int(funnel["verified: safe beats harmful"][index]) < int(funnel["harmful"][index])
        assert one.made.total() + one.dropped.total() == 150
    cases = list(read_records(full_run / "hrlaif/round_1/red_team.jsonl", RedTeamCase))
    harmful = sum(case.verdict.outcome is HarmOutcome.HARMFUL for case in cases)
    assert funnel["harmful"][0] == funnel["rewrites asked for"][0] == str(harmful)
    assert funnel["helpful beats refusal"] == ["20", "20"]
    # 34 pairs, those with an odd number of the second round.
    assert funnel["pairs trained on"] == ["17", "17"]


def test_drops_are_told_with_where_they_happened(rounds: RunData) -> None:
    drops = next(found for found in red_team(rounds).tables if found.caption.startswith("What made no pair"))
    rows = {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in drops.rows}
    assert rows["before it was sent", "attack repeats an earlier one"] == ["4", "4"]
    assert rows["as a pair", "opening too frequent"] == ["", "3"]
    assert rows["as a case", "benign: cut off"] == ["10", "10"]
    # A reason that the cases give themselves is not counted again from the manifest.
    assert ("before it was sent", "safe_refusal") not in rows


def test_the_balance_of_the_pairs_is_told_by_kind_hazard_and_opening(rounds: RunData) -> None:
    section = red_team(rounds)
    # Of 34 pairs, numbers 0, 3, ... 33 are counter-pairs: 12 beside 22.
    assert section.points[0].startswith("12 counter-pairs stand beside 22 pairs from attacks: 0.55 for each, fewer")
    # Nine openings: the most frequent ones have 4 of 34 each.
    assert "has 11.8\u00a0% of the 34 pairs" in section.points[1]
    by_hazard = table(section, "Pairs trained on by hazard")
    assert by_hazard["none: harmless requests"] == ["0", "0", "12", "12"]
    assert sum(int(row[-1]) for row in by_hazard.values()) == 34


# --- monitors


def test_monitors_show_value_limit_and_a_sentence_where_they_trip(rounds: RunData) -> None:
    section = monitors(rounds)
    assert section is not None
    values = rounds.metrics["monitors"]["rlaif"]["length"]
    assert values["trips"] is True
    row = table(section, "Table: the monitors")["Length of an answer"]
    assert row[-1] == "at least 0.67 and at most 1.5 times the start's"
    assert row[1] == f"{values['value']:.3g} words"
    assert values["says"] in section.points
    assert section.tone == "warning"
    trips = sum(
        bool(one.get("trips")) for arm in ("rlaif", "hrlaif") for one in rounds.metrics["monitors"][arm].values()
    )
    assert section.callout.startswith(f"{trips} of ")
    assert f"{trips} monitors of over-optimisation trip: see their section." in headline(rounds).points


def test_only_a_monitor_that_the_start_has_not_tells_of_the_starts_answers_in_the_arms_cell(rounds: RunData) -> None:
    section = monitors(rounds)
    assert section is not None
    told = {row[0].text for row in section.tables[0].rows if any("start's answers" in cell.detail for cell in row)}
    assert told == {"Reward model ranks a satisfying answer above another"}


# --- no text of attacks and of what answers them


def canaries(full_run: Path, folder: Path) -> set[str]:
    """The run with another secret word in every text that must not be seen; returns the words."""
    shutil.copytree(full_run, folder)
    words: set[str] = set()

    def secret() -> str:
        word = f"canary{len(words)}x"
        words.add(word)
        return word

    hidden = (Task.RED_TEAM, Task.BENIGN_TRICKY)
    rows = []
    for row in read_records(full_run / "evaluation.jsonl", Evaluation):
        unsafe = row.task is Task.RED_TEAM
        if row.task in hidden and row.harm is not None and (unsafe or len(rows) % 2):
            outcome = row.harm.outcome if unsafe else HarmOutcome.UNJUDGED
            verdict = dataclasses.replace(row.harm, outcome=outcome, reply=secret())
            replies = tuple(dataclasses.replace(one, reply=secret()) for one in row.judgements)
            response = dataclasses.replace(row.response, text=f"{secret()} I cannot help with {secret()}.")
            row = dataclasses.replace(row, harm=verdict, judgements=replies, reason=secret(), response=response)
        rows.append(row)
    write_records(folder / "evaluation.jsonl", rows, fingerprint="x")
    for path in sorted(folder.rglob("re*.jsonl")):
        if path.name in ("red_team.jsonl", "regression.jsonl"):
            facts = {name: value for name, value in (read_manifest(path) or {}).items() if name in ("asr", "archive")}
            cases = [
                dataclasses.replace(
                    case,
                    attack=dataclasses.replace(
                        case.attack,
                        messages=tuple(dataclasses.replace(m, content=secret()) for m in case.attack.messages),
                    ),
                    response=dataclasses.replace(case.response, text=secret()),
                    verdict=dataclasses.replace(case.verdict, reply=secret()),
                    chosen=case.chosen and secret(),
                    rejected=case.rejected and secret(),
                    principle=case.principle and secret(),
                )
                for case in read_records(path, RedTeamCase)
            ]
            write_records(path, cases, fingerprint="x", **facts)
    for arm in ("rlaif", "hrlaif"):
        pairs = [
            dataclasses.replace(pair, chosen=secret(), rejected=secret())
            for pair in read_records(folder / arm / "pairs.jsonl", Pair)
        ]
        write_records(folder / arm / "pairs.jsonl", pairs, fingerprint="x")
        labels = [
            dataclasses.replace(label, evidence=dataclasses.replace(label.evidence, note=secret()))
            for label in read_records(folder / arm / "labels.jsonl", Label)
        ]
        write_records(folder / arm / "labels.jsonl", labels, fingerprint="x")
    (folder / "metrics.json").write_text(json.dumps(summarise(rows, seed=0)))
    return words


def said(folder: Path) -> str:
    """All that the report and metrics.json hold, as text."""
    paths = [folder / "report.html", folder / "report.md", folder / "metrics.json", *(folder / "figures").iterdir()]
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in paths)


def test_no_word_of_attacks_or_unsafe_answers_is_in_any_file_of_the_report(full_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = canaries(full_run, folder)
    assert len(words) > 1000
    config = ROUNDS.model_copy(update={"report": ROUNDS.report.model_copy(update={"cases": 1000})})
    write(folder, config)
    text = said(folder)
    assert SECRET not in text
    assert not words.intersection(re.findall(r"canary\d+x", text))
    assert "[hidden: hazard S10, id unsafe-request-001/start/0]" in text
    write(folder, config, show_harmful=True)
    shown = (folder / "report.html").read_text()
    assert words.intersection(re.findall(r"canary\d+x", shown))
    assert SECRET in shown
    assert "--show-harmful asked for them" in shown
    assert "--show-harmful asked for them" in (folder / "report.md").read_text().replace("\\", "")
    assert not words.intersection(re.findall(r"canary\d+x", (folder / "metrics.json").read_text()))


def test_the_command_shows_harmful_texts_only_once(full_run: Path, tmp_path: Path) -> None:
    for name in ("prompts.jsonl", "evaluation.jsonl", "metrics.json"):
        shutil.copy(full_run / name, tmp_path)
    config = Config(run_dir=str(tmp_path), report=ROUNDS.report.model_copy(update={"cases": 1000}))
    (tmp_path / "config.toml").write_text(dump(config))

    def report(*options: str) -> str:
        result = CliRunner().invoke(app, ["report", str(tmp_path), *options])
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
        return (tmp_path / "report.html").read_text()

    assert SECRET not in report()
    assert SECRET in report("--show-harmful")
    assert SECRET in report("--show-harmful")
    assert SECRET not in report()
    assert SECRET not in read_json(tmp_path / "metrics.json")["sentences"]
