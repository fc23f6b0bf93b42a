"""The section on people's votes: what they say of the arms, how alike they rate, whether the judge agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hrlaif.report.data import START, RunData, as_metric
from hrlaif.report.layout import Cell, Section, Table
from hrlaif.report.wording import ALL, NONE, count, difference, measured, tidy
from hrlaif.types import Metric

TITLE = "What people say"
_AGREEMENT = {
    "alpha_preference": "Krippendorff's alpha, which is better",
    "alpha_satisfaction": "Krippendorff's alpha, satisfied or not",
    "same_preference": "Same preference",
    "same_satisfaction": "Same satisfaction",
}
_JUDGE = {
    "preference": "Judge and people, which is better",
    "preference_kappa": "Cohen's kappa, which is better",
    "satisfaction": "Judge and people, satisfied or not",
    "satisfaction_kappa": "Cohen's kappa, satisfied or not",
}


def people(run: RunData) -> Section:
    """Satisfaction and win ratio by human raters, beside the judge's."""
    about: Mapping[str, Any] = run.metrics.get("people") or {}
    training = tuple(table for data in run.arms.values() if data.people for table in _training(data.people))
    if not about.get("votes"):
        return Section(
            "people", TITLE, missing="votes of people on answers, which `hrlaif annotate` collects", tables=training
        )
    lead = (
        f"{count(about['votes'])} votes of {len(about['raters'])} raters on {count(about['pairs_rated'])} of "
        f"{count(about['pairs'])} pairs; raters do not see which arm wrote what."
    )
    flagged = [one["rater"] for one in about["raters"] if one["flags"]]
    warning = f"Raters to look at, all of whose votes are counted: {tidy(', '.join(flagged), 200)}." if flagged else ""
    return Section(
        "people",
        TITLE,
        lead=(lead,),
        callout=warning,
        tone="warning",
        tables=(_arms(run), _agreement(about), *_raters(about), *training),
        notes=(
            "Satisfaction: over prompts, the share of votes that are satisfied. Alpha and kappa: 1 is full agreement, "
            "0 is chance. A pair of equal texts is a tie that nobody had to read.",
        ),
    )


def _arms(run: RunData) -> Table:
    columns = (
        "",
        "Satisfied, people",
        "Satisfied, as measured",
        "Win ratio, people",
        "Win ratio, judge",
        "Minus start",
    )
    rows = []
    for arm in run.series:
        cells = [
            measured(run.metric(arm, ALL, name)) if arm != START or "win" not in name else Cell(NONE)
            for name in ("human_satisfaction", "satisfaction", "human_win_ratio", "win_ratio")
        ]
        rows.append((Cell(arm), *cells, difference(run.difference(arm, ALL, "human_satisfaction"))))
    caption = "People and judge on the evaluation prompts; the last column is people's satisfaction, paired by prompt."
    return Table(caption, columns, tuple(rows), folded=False)


def _agreement(about: Mapping[str, Any]) -> Table:
    rows = [
        (Cell(title), _number(as_metric(found.get(name), name)))
        for found, titles in (
            (about.get("agreement") or {}, _AGREEMENT),
            (about.get("judge_agreement") or {}, _JUDGE),
        )
        for name, title in titles.items()
    ]
    rows += [
        (Cell(tidy("Cohen's kappa: " + " and ".join(one["raters"]), 80)), _number(as_metric(one.get("kappa"), "kappa")))
        for one in about.get("kappa", ())
    ]
    return Table("Table: agreement of raters, and of the judge with them.", ("", "Value"), tuple(rows))


def _training(about: Mapping[str, Any]) -> tuple[Table, ...]:
    """The raters of the training responses that an arm learned from."""
    tables = (_agreement(about), *_raters(about))
    return tuple(replace(table, caption=f"{table.caption[:-1]}: votes on training responses.") for table in tables)


def _number(metric: Metric | None) -> Cell:
    """Shares in percent, coefficients as they are."""
    if metric is None or metric.unit == "share":
        return measured(metric)
    return Cell(f"{metric.value:.2f}", f"{metric.low:.2f} to {metric.high:.2f}\nn = {count(metric.n)}")


def _raters(about: Mapping[str, Any]) -> tuple[Table, ...]:
    columns = ("Rater", "Votes", "Known pairs right", "Same as others", "Chose the left", "Seconds a pair", "Flags")
    rows = tuple(
        (
            Cell(tidy(str(one["rater"]), 40)),
            Cell(count(one["votes"])),
            *(measured(as_metric(one.get(name), name)) for name in ("checks_right", "with_others", "chose_left")),
            Cell(f"{one['median_s']:.1f}"),
            Cell(tidy("; ".join(one["flags"])) or NONE),
        )
        for one in about["raters"]
    )
    return (Table("Table: raters.", columns, rows),)
