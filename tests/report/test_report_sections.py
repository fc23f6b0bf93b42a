from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hrlaif.artifacts import write_json, write_records
from hrlaif.config import Config, EvaluationSection, JudgeEndpoint, SftSection, SftSource
from hrlaif.metrics import wilson
from hrlaif.report.costs import cost, settings
from hrlaif.report.data import load
from hrlaif.report.headline import headline
from hrlaif.report.judge import judge, judge_warning
from hrlaif.report.layout import Dots, Histogram, Section, Stacks
from hrlaif.report.page import write
from hrlaif.report.results import preference, satisfaction
from hrlaif.report.reward_model import accuracies, reward_model
from hrlaif.report.training import composition, curve, distributions, fine_tuning, labels, ppo
from hrlaif.report.wording import measured
from hrlaif.types import Basis, Evidence, Judgement, Label, Verdict


def table(section: Section, start: str) -> dict[str, list[str]]:
    """A table's rows by their first cell, of the table whose caption begins with `start`."""
    found = next(table for table in section.tables if table.caption.startswith(start))
    return {row[0].text: [cell.text for cell in row[1:]] for row in found.rows}


def charts(section: Section) -> dict[str, Any]:
    return {panel.name: panel.chart for figure in section.figures for panel in figure.panels}


def calibration(agreement: float, low: float, high: float, **more: object) -> Mapping[str, Any]:
    return {"agreement": agreement, "agreement_low": low, "agreement_high": high, "pairs": 100, "judge": "J", **more}


@pytest.mark.parametrize(
    ("facts", "words", "tone"),
    [
        (calibration(0.40, 0.31, 0.49), "worse than guessing", "warning"),
        (calibration(0.55, 0.45, 0.64), "cannot be told from guessing", "warning"),
        (calibration(0.62, 0.52, 0.71), "is weak", "warning"),
        (calibration(0.75, 0.66, 0.82), "errs often", "plain"),
        (calibration(0.90, 0.83, 0.94), "is good on these pairs", "good"),
    ],
)
def test_the_judge_is_called_what_its_interval_allows(facts: Mapping[str, Any], words: str, tone: str) -> None:
    said, found = judge_warning(facts)
    assert words in said
    assert found == tone
    assert f"n = {facts['pairs']}" in said
    assert "guessing gives 50\u00a0%" in said


def test_the_bundled_judge_is_named_as_such() -> None:
    assert judge_warning(calibration(0.6, 0.51, 0.7, bundled=True))[0].startswith("The bundled judge")
    assert judge_warning(calibration(0.6, 0.51, 0.7))[0].startswith("The judge (J)")


def test_what_is_said_of_the_judge_has_its_interval_where_that_was_measured(tmp_path: Path, config: Config) -> None:
    facts = calibration(0.6, 0.51, 0.7, flip_rate=0.41, flip_rate_low=0.3, flip_rate_high=0.52, p_first=0.58)
    write_json(tmp_path / "calibration.json", facts)
    (lead,) = judge(load(tmp_path, config)).lead
    assert "changes on 41.0\u00a0% (30.0 to 52.0) of the pairs" in lead
    assert "stands first 58.0\u00a0%; without bias" in lead


def test_a_judge_that_was_not_measured_is_no_judge_that_is_good(tmp_path: Path, config: Config) -> None:
    assert judge_warning({}) == ("", "plain")
    assert "calibration.json" in judge(load(tmp_path, config)).missing


def test_agreement_by_category_keeps_its_interval_and_count(full_run: Path, config: Config) -> None:
    chart = charts(judge(load(full_run, config)))["judge"]
    assert isinstance(chart, Dots)
    by_name = dict(chart.rows)
    # 22 of 40: Wilson 0.3983 .. 0.6929.
    assert round(by_name["math"]["judge"].low, 4) == 0.3983
    assert round(by_name["math"]["judge"].high, 4) == 0.6929
    assert chart.reference == 0.5


def test_the_headline_shows_value_interval_and_count_of_every_arm(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    section = headline(run)
    rows = {row[0].text: row[1:] for row in section.tables[0].rows}
    assert list(rows) == ["start", "rlaif", "hrlaif"]
    metric = run.metric("hrlaif", "all", "satisfaction")
    assert metric is not None
    assert rows["hrlaif"][0].text == f"{100 * metric.value:.1f}\u00a0%"
    assert rows["hrlaif"][0].detail == f"{100 * metric.low:.1f} to {100 * metric.high:.1f}\nn = 120"
    assert rows["hrlaif"][5].text.endswith(" words")
    assert rows["start"][1].text == "–"


def test_comparisons_that_stay_open_are_counted_in_the_headline_and_listed_apart(
    tmp_path: Path, config: Config
) -> None:
    said = ["A gives more than B.", "Whether A gives more than C stays open.", "Whether D stays open."]
    write_json(tmp_path / "metrics.json", {"metrics": {"start": {"all": {}}}, "sentences": said})
    section = headline(load(tmp_path, config))
    assert section.points[0] == "A gives more than B."
    assert section.points[1].startswith("2 comparisons stay open")
    assert section.folded_points == tuple(said[1:])


def test_satisfaction_has_a_row_per_category_with_all_first(full_run: Path, config: Config) -> None:
    chart = charts(satisfaction(load(full_run, config)))["satisfaction"]
    assert isinstance(chart, Dots)
    names = [name for name, _ in chart.rows]
    assert names[0] == "all"
    assert len(names) == 11
    assert all(set(points) == {"start", "rlaif", "hrlaif"} for _, points in chart.rows)


def test_wins_ties_and_losses_are_those_of_the_verdicts(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    chart = charts(preference(run))["preference-rlaif"]
    assert isinstance(chart, Stacks)
    mine = [row.verdict for row in run.evaluations if row.arm == "rlaif" and row.verdict]
    expected = {"win": mine.count(Verdict.FIRST), "tie": mine.count(Verdict.TIE), "loss": mine.count(Verdict.SECOND)}
    assert dict(chart.rows)["all"] == expected
    assert sum(dict(chart.rows)["math"].values()) <= 12


def test_the_reader_learns_whether_the_judge_of_the_labels_also_evaluates(full_run: Path, config: Config) -> None:
    other = EvaluationSection(judge=JudgeEndpoint(url="http://127.0.0.1:1/v1", model="other"))
    assert preference(load(full_run, config)).notes[0].startswith("The judge that made the labels judges here too")
    assert preference(load(full_run, Config(evaluation=other))).notes[0].startswith("Another judge")


def test_pairs_are_counted_by_basis_and_dropped_ones_by_reason(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    section = composition(run)
    pairs = table(section, "Preference pairs")
    assert pairs["rlaif"][-1] == str(sum(run.arms["rlaif"].pairs.values()))
    assert table(section, "What made no pair")["tie"] == ["61", "48"]
    assert charts(section)["pairs"].segments == ("verifier", "reasoning", "judge", "red team")


def label(one: Verdict, other: Verdict, verdict: Verdict) -> Label:
    judged = (Judgement("p", "a", "b", 0.5, one, "j", ""), Judgement("p", "b", "a", 0.5, other, "j", ""))
    return Label("p", "a", "b", 0.5, verdict, Basis.JUDGE, Evidence(judgements=judged))


def test_flips_are_counted_over_labels_asked_in_both_orders(tmp_path: Path, config: Config) -> None:
    first, second, tie, unreadable = Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.UNREADABLE
    rows = [
        label(first, second, first),  # the same response both times
        label(first, first, tie),  # whatever stands first: a flip
        label(tie, tie, tie),
        label(first, unreadable, unreadable),  # not counted
        Label("p", "a", "b", 0.99, first, Basis.VERIFIER),
    ]
    write_records(tmp_path / "rlaif/labels.jsonl", rows, fingerprint="x")
    section = labels(load(tmp_path, config))
    found = next(found for found in section.tables)
    cells = {row[1].text: [cell.text for cell in row[2:]] for row in found.rows}
    assert cells["judge"] == ["4", "1", "2", "1", "33.3\u00a0%"]
    assert cells["verifier"] == ["1", "1", "0", "0", "–"]
    assert "20.0\u00a0% decided by the rule verifier, 1.60 preference calls per label" in section.points[0]


def test_the_votes_of_a_panel_are_shown_by_judge_and_its_flips_are_the_panels(tmp_path: Path, config: Config) -> None:
    first, second, unreadable = Verdict.FIRST, Verdict.SECOND, Verdict.UNREADABLE

    def voted(*votes: tuple[str, float, Verdict, float, Verdict]) -> Label:
        judged = [
            call
            for judge, forward, one, backward, other in votes
            for call in (
                Judgement("p", "a", "b", forward, one, judge, ""),
                Judgement("p", "b", "a", backward, other, judge, ""),
            )
        ]
        return Label("p", "a", "b", 0.7, first, Basis.JUDGE, Evidence(judgements=tuple(judged)))

    rows = [
        # Together 0.85 and 0.35: the same response both times, though y gives the first place.
        voted(("y", 0.8, first, 0.6, first), ("x", 0.9, first, 0.1, second)),
        voted(("y", 0.5, unreadable, 0.6, first), ("x", 0.9, first, 0.1, second)),
    ]
    write_records(tmp_path / "rlaif/labels.jsonl", rows, fingerprint="x")
    section = labels(load(tmp_path, config))
    assert next(iter(section.tables)).rows[0][-1].text == "0.0\u00a0%"
    assert "4.00 preference calls per label" in section.points[0]
    (votes,) = [found for found in section.tables if "each judge of the panel" in found.caption]
    assert [[cell.text for cell in row[2:]] for row in votes.rows] == [
        ["y", "2", "1", "100.0\u00a0%"],
        ["x", "2", "0", "0.0\u00a0%"],
    ]


def test_one_judge_needs_no_table_of_votes(full_run: Path, config: Config) -> None:
    assert len(labels(load(full_run, config)).tables) == 1


def test_each_judge_of_a_panel_has_its_row_beside_the_panel(tmp_path: Path, config: Config) -> None:
    members = {
        name: {"agreement": share, "agreement_low": share - 0.1, "agreement_high": share + 0.1, **more}
        for name, share, more in (
            (
                "m",
                0.7,
                {"flip_rate": 0.25, "flip_rate_low": 0.2, "flip_rate_high": 0.3, "p_first": 0.6, "unreadable": 3},
            ),
            ("m (correctness)", 0.8, {"flip_rate": None, "p_first": None, "unreadable": 100}),
        )
    }
    write_json(tmp_path / "calibration.json", calibration(0.75, 0.66, 0.82, by_judge=members))
    section = judge(load(tmp_path, config))
    chart = charts(section)["judge"]
    assert [name for name, _ in chart.rows] == ["labelled pairs", "m", "m (correctness)"]
    shown = table(section, "Table: each judge of the panel")
    assert shown["m"] == ["70.0\u00a0%", "25.0\u00a0%", "60.0\u00a0%", "3"]
    assert shown["m (correctness)"] == ["80.0\u00a0%", "–", "–", "100"]
    # The interval of a member's agreement, of as many pairs as the panel's.
    (row,) = [row for row in section.tables[0].rows if row[0].text == "m"]
    assert row[1].detail == "60.0 to 80.0\nn = 100"
    assert not [name for name in table(section, "All that") if "correctness" in name]


def test_reward_accuracy_stands_beside_the_trivial_baselines(full_run: Path, config: Config) -> None:
    section = reward_model(load(full_run, config))
    chart = charts(section)["reward-model-rlaif"]
    rows = dict(chart.rows)
    assert set(rows["longer wins"]) == {"baseline"}
    assert set(rows["all"]) == {"rlaif"}
    assert rows["longer wins"]["baseline"].value == 0.6
    assert "reward-model-loss" in charts(section)


def test_calibration_and_length_of_the_reward_model_are_shown(full_run: Path, config: Config) -> None:
    section = reward_model(load(full_run, config))
    chart = charts(section)["reward-model-calibration"]
    assert [round(predicted, 2) for predicted, _ in chart.lines["rlaif"]] == [0.55, 0.65, 0.75, 0.85, 0.95]
    assert chart.lines["rlaif"][0][1].value == 22 / 40
    rows = table(section, "How far the scores can be read as probabilities")
    assert rows["Expected calibration error"] == ["0.080", "0.080"]
    assert rows["Score and length, Spearman, within pairs"][0].startswith("0.30")
    # The points of the curve are in the figure and not once more in the table of everything.
    assert not any("curve" in name for name in table(section, "rlaif: all that"))


def test_a_note_says_when_the_held_out_pairs_picked_the_weights(full_run: Path, config: Config) -> None:
    data = load(full_run, config)
    assert not any("Early stopping" in note for note in reward_model(data).notes)
    arm = dataclasses.replace(data.arms["rlaif"], reward_summary={**data.arms["rlaif"].reward_summary, "best_step": 3})
    stopped = dataclasses.replace(data, arms={**data.arms, "rlaif": arm})
    assert any("Early stopping" in note for note in reward_model(stopped).notes)


def test_a_reward_model_without_held_out_pairs_has_no_accuracy() -> None:
    assert accuracies({"pairs": 10, "held_out": {}}) == []


def test_reward_distributions_pair_start_and_arm_on_both_splits(full_run: Path, config: Config) -> None:
    section = distributions(load(full_run, config))
    assert sorted(charts(section)) == [
        f"rewards-{arm}-{split}" for arm in ("hrlaif", "rlaif") for split in ("evaluation", "train")
    ]
    chart = charts(section)["rewards-rlaif-evaluation"]
    assert isinstance(chart, Histogram)
    assert len(chart.values["start"]) == len(chart.values["rlaif"]) == 120
    wins = sum(after > before for before, after in zip(chart.values["start"], chart.values["rlaif"], strict=True))
    higher = measured(wilson(wins, 120, name="higher"))
    assert higher in next(
        row for row in section.tables[0].rows if [cell.text for cell in row[:2]] == ["rlaif", "evaluation"]
    )


def test_curves_leave_out_steps_without_a_number() -> None:
    steps = ({"step": 1, "kl": 0.5}, {"step": 2, "kl": None}, {"step": 3, "kl": float("nan")}, {"step": 4, "kl": 0})
    assert curve(steps, ("kl",)) == ((1.0, 0.5), (4.0, 0.0))
    assert curve(steps, ("reward",)) == ()


def test_ppo_has_a_panel_per_curve_and_a_table_that_ends_with_the_last_step(full_run: Path, config: Config) -> None:
    section = ppo(load(full_run, config))
    assert len(charts(section)) == 7
    rows = table(section, "rlaif: one step in 3")
    assert list(rows)[-1] == "60"
    assert len(rows) == 20


def test_costs_are_shown_by_purpose_and_per_label(full_run: Path, config: Config) -> None:
    section = cost(load(full_run, config))
    assert table(section, "Model calls")["red team"] == ["610", "256,200", "7,320", "0.1220"]
    assert table(section, "Labels")["hrlaif"][-1] == "576"


def test_settings_hold_every_default_and_not_the_place_of_the_run(tmp_path: Path) -> None:
    code = settings(load(tmp_path, Config(run_dir=str(tmp_path), seed=7))).code
    assert "seed = 7" in code
    assert "gae_lambda" in code
    assert str(tmp_path) not in code


def test_a_run_that_fine_tunes_its_start_shows_the_loss_and_what_became_of_it(tmp_path: Path, config: Config) -> None:
    tuned = config.model_copy(update={"sft": SftSection(sources=(SftSource(path="d.jsonl"),))})
    assert fine_tuning(load(tmp_path, tuned)).missing == "sft/metrics.jsonl"
    page = write(tmp_path, config)
    assert "Fine-tuning" not in page.read_text()
    steps = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]
    write_records(tmp_path / "sft" / "metrics.jsonl", steps, fingerprint="f")
    write_json(tmp_path / "sft" / "summary.json", {"held_out": {"perplexity_before": 9.5, "perplexity": 4.25}})
    section = fine_tuning(load(tmp_path, tuned))
    assert charts(section)["sft-loss"].lines == {"start": ((1.0, 2.0), (2.0, 1.5))}
    assert "4.25" in str(table(section, "Summary"))
    assert "Fine-tuning" in write(tmp_path, tuned).read_text()
