from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

from hrlaif.config import Config
from hrlaif.report.data import RunData, load
from hrlaif.report.people import people


def share(value: float, name: str = "x") -> dict[str, object]:
    return {"name": name, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 40, "unit": "share"}


def alpha(value: float) -> dict[str, object]:
    return share(value) | {"unit": ""}


def with_votes(run: RunData) -> RunData:
    metrics = copy.deepcopy(dict(run.metrics))
    metrics["metrics"]["rlaif"]["all"] |= {"human_satisfaction": share(0.6), "human_win_ratio": share(0.55)}
    metrics["metrics"]["start"]["all"] |= {"human_satisfaction": share(0.5)}
    rater = {
        "votes": 40,
        "checks_right": share(0.5),
        "with_others": share(0.7),
        "chose_left": share(0.48),
        "median_s": 21.0,
    }
    metrics["people"] = {
        "votes": 80,
        "pairs": 50,
        "pairs_rated": 40,
        "agreement": {"alpha_preference": alpha(0.43), "same_preference": share(0.7)},
        "kappa": [{"raters": ["anna", "<ben>"], "pairs": 40, "kappa": alpha(0.41)}],
        "judge_agreement": {"preference": share(0.66), "preference_kappa": alpha(0.2)},
        "raters": [
            {"rater": "anna", **rater, "flags": []},
            {"rater": "<ben>", **rater, "flags": ["right on 2 of 4 pairs"]},
        ],
    }
    return dataclasses.replace(run, metrics=metrics)


def test_peoples_numbers_stand_beside_the_judges_with_agreement_and_raters(full_run: Path, config: Config) -> None:
    section = people(with_votes(load(full_run, config)))
    assert section.lead[0].startswith("80 votes of 2 raters on 40 of 50 pairs")
    assert "<ben>" in section.callout
    arms, agreement, raters = section.tables
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in arms.rows}
    assert rows["rlaif"][0] == "60.0\u00a0%"
    assert rows["rlaif"][2] == "55.0\u00a0%"
    assert rows["start"][2] == "–"
    numbers = {row[0].text: row[1].text for row in agreement.rows}
    assert numbers["Krippendorff's alpha, which is better"] == "0.43"
    assert numbers["Cohen's kappa: anna and <ben>"] == "0.41"
    assert numbers["Judge and people, which is better"] == "66.0\u00a0%"
    assert raters.rows[1][-1].text == "right on 2 of 4 pairs"
    assert raters.rows[0][-1].text == "–"


def test_a_run_that_nobody_rated_says_what_would(full_run: Path, config: Config) -> None:
    run = load(full_run, config)
    metrics = {name: value for name, value in run.metrics.items() if name != "people"}
    assert "hrlaif annotate" in people(dataclasses.replace(run, metrics=metrics)).missing
