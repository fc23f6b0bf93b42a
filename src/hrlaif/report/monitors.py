"""The section on over-optimisation: what is watched, its limits, and a plain sentence for each that trips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrlaif.artifacts import number
from hrlaif.report.data import START, RunData
from hrlaif.report.layout import Cell, Section, Table
from hrlaif.report.wording import NONE, count, percent, tidy

ID, TITLE = "monitors", "Monitors of over-optimisation"
Values = Mapping[str, Any]


def tripped(run: RunData) -> list[str]:
    """The sentences of the monitors that trip, arm by arm."""
    return [tidy(str(one.get("says"))) for arm in run.arms for one in _of(run, arm).values() if one.get("trips")]


def monitors(run: RunData) -> Section | None:
    """Every monitor with its values and its limit; None where metrics.json has none."""
    names = list(dict.fromkeys(name for arm in run.series for name in _of(run, arm)))
    if not names:
        return None
    said = tripped(run)
    rows = tuple(_row(run, name) for name in names)
    table = Table(
        "Table: the monitors. In each cell the number n of answers (or of steps) behind it.",
        ("", *run.series, "Limit"),
        rows,
        folded=False,
    )
    callout = f"{len(said)} of {_watched(run)} monitors trip." if said else f"None of {_watched(run)} monitors trips."
    return Section(
        ID,
        TITLE,
        callout=callout,
        tone="warning" if said else "good",
        points=tuple(said),
        tables=(table,),
        notes=(
            "A monitor is a smoke alarm: it compares plain values, without an interval, and with fewer than 10 answers "
            "it says nothing. What trips is worth a look at the answers; what does not is no proof. KL "
            "and checkpoints are those of policy/metrics.jsonl up to the step that was kept.",
        ),
    )


def _of(run: RunData, arm: str) -> Mapping[str, Values]:
    found = run.metrics.get("monitors", {}).get(arm, {})
    return {str(name): one for name, one in found.items() if isinstance(one, Mapping)}


def _watched(run: RunData) -> int:
    return sum(one.get("trips") is not None for arm in run.arms for one in _of(run, arm).values())


def _row(run: RunData, name: str) -> tuple[Cell, ...]:
    found = {arm: _of(run, arm).get(name, {}) for arm in run.series}
    title = next(str(one["title"]) for one in found.values() if one)
    limit = next((str(one["limit"]) for one in found.values() if one.get("limit")), NONE)
    # What the start's column lacks is the start's answers read by the arm's own model.
    cells = (_cell(one, shows_start=not found[START], is_watched=arm in run.arms) for arm, one in found.items())
    return (Cell(tidy(title, 90)), *cells, Cell(tidy(limit, 60)))


def _cell(one: Values, *, shows_start: bool, is_watched: bool) -> Cell:
    value = number(one.get("value"))
    if value is None:
        return Cell(NONE)
    detail = [f"n = {count(number(one.get('n')) or 0)}"]
    start, unit = number(one.get("start")), str(one.get("unit"))
    if shows_start and start is not None:
        detail.append(f"start's answers: {_told(start, unit)}")
    if is_watched and one.get("trips") is None:
        detail.append("no verdict")
    elif is_watched and one.get("trips"):
        detail.append("trips")
    return Cell(_told(value, unit), "\n".join(detail))


def _told(value: float, unit: str) -> str:
    if unit == "share":
        return percent(value)
    if unit == "difference":
        return f"{100 * value:+.1f} points"
    return f"{value:.3g} {unit}".rstrip()
