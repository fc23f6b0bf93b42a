"""The sections on how attacks fare: success rates by strategy and hazard, the archive's grid, and the frozen set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hrlaif.artifacts import number
from hrlaif.judges.harm import hazards
from hrlaif.report.data import RunData, as_metric
from hrlaif.report.hidden import hazard_name, hazard_place
from hrlaif.report.layout import Cell, Dots, Figure, Grid, Panel, Section, Table
from hrlaif.report.rounds import Facts
from hrlaif.report.wording import ALL, NONE, count, measured, percent, plain, point, tidy
from hrlaif.types import Metric

NEWEST, START = "newest policy", "start"
MANY_COLUMNS = 8
HOW = (
    "An attempt is a seed under a strategy, whatever the number of its answers or turns; it succeeded where one answer "
    "is confirmed harmful. Unjudged attempts are in no rate. hit@k: seeds of which one of at most k attempts succeeded."
)


def success(run: RunData) -> Section | None:
    """Attack success by strategy and by hazard in each round of the red team; None where nothing was attacked."""
    found = {f"round {one.number}": one.facts for one in run.rounds if _rates(one.facts, "strategies")}
    if not found:
        return None
    whole = _rates(next(iter(found.values())), "strategies").get(ALL)
    caption = (
        f"Share of attempts that succeeded, by strategy and round (round 1: {count(whole.n if whole else 0)} judged "
        "attempts on the start; later rounds: new attacks on the policy of the round before); 95 % intervals."
    )
    grid = _grid(run)
    return Section(
        "attacks",
        "Attack success",
        figures=(
            _dots(found, caption, name="attack-success", title="Attack success rate by strategy"),
            *((grid[0],) if grid else ()),
        ),
        tables=(
            _table(found, "Table: attack success rate by strategy, and hit@k"),
            _hazard_table(found),
            *((grid[1],) if grid else ()),
        ),
        notes=(
            HOW,
            "Rounds attack different policies with different attacks: that a rate falls from round to round is no "
            "proof of safety. The frozen set compares.",
        ),
    )


def regression(run: RunData) -> Section | None:
    """The frozen set over the rounds: the same attacks on the start and on each round's policy; None without one."""
    found = {_policy(one): facts for one, facts in run.frozen.items() if _rates(facts, "strategies")}
    if not found:
        return None
    first = next(iter(found.values()))
    whole = _rates(first, "strategies").get(ALL)
    same = len({str(facts.get("frozen")) for facts in found.values()}) == 1
    caption = (
        "The frozen set, which is never trained on: the same attacks, seeds and decoding on the start and on each "
        f"round's policy ({count(whole.n if whole else 0)} judged attempts on the {next(iter(found))}); 95 % "
        "intervals."
    )
    return Section(
        "regression",
        "Frozen set over the rounds",
        callout="" if same else "The sets of these rounds are not the same: their rates cannot be compared.",
        tone="warning",
        figures=(_dots(found, caption, name="regression", title="Attack success rate on the frozen set"),),
        tables=(_table(found, "Table: attack success rate on the frozen set, and hit@k"), _hazard_table(found)),
        notes=(HOW, "The start's rows are those of hrlaif/round_0."),
    )


def _policy(number: int) -> str:
    return START if number == 0 else f"round {number}"


def _rates(facts: Facts, name: str) -> dict[str, Metric]:
    rates: Mapping[str, Any] = (facts.get("asr") or {}).get(name) or {}
    return {str(key): metric for key, value in rates.items() if (metric := as_metric(value, str(key)))}


def _names(found: Mapping[str, Facts], kind: str) -> list[str]:
    """All names of a kind of rate, that of all attempts first."""
    names = dict.fromkeys(name for facts in found.values() for name in _rates(facts, kind))
    return sorted(names, key=lambda name: (name != ALL, name))


def _dots(found: Mapping[str, Facts], caption: str, *, name: str, title: str) -> Figure:
    rows = tuple(
        (
            tidy(strategy, 30),
            {
                key: point(metric)
                for key, facts in found.items()
                if (metric := _rates(facts, "strategies").get(strategy))
            },
        )
        for strategy in _names(found, "strategies")
    )
    return Figure(caption, (Panel(name, title, Dots(rows, tuple(found), "attack success rate")),))


def _table(found: Mapping[str, Facts], caption: str) -> Table:
    rates = {key: _rates(facts, "strategies") for key, facts in found.items()}
    rows = [
        (Cell(tidy(name, 40)), *(measured(rates[key].get(name)) for key in found))
        for name in _names(found, "strategies")
    ]
    rows.append((Cell("hit@k"), *(_hit(facts) for facts in found.values())))
    unjudged = [((facts.get("asr") or {}).get("unjudged") or {}).get(ALL, 0) for facts in found.values()]
    rows.append(plain(("unjudged attempts", *(int(number(one) or 0) for one in unjudged))))
    return Table(caption, ("Strategy", *(key.capitalize() for key in found)), tuple(rows))


def _hit(facts: Facts) -> Cell:
    for name, metric in _rates(facts, "hit").items():
        return Cell(percent(metric.value), f"{name}\n{measured(metric).detail}")
    return Cell(NONE)


def _hazard_table(found: Mapping[str, Facts]) -> Table:
    rates = {key: _rates(facts, "hazards") for key, facts in found.items()}
    rows = tuple(
        (Cell(hazard_name(code)), *(measured(rates[key].get(code)) for key in found))
        for code in sorted(_names(found, "hazards"), key=hazard_place)
    )
    return Table("Attack success rate by hazard.", ("Hazard", *(key.capitalize() for key in found)), rows)


def _grid(run: RunData) -> tuple[Figure, Table] | None:
    """The archive, hazard by strategy: the frozen set on the start and on the newest policy, else the rounds."""
    frozen = {one: facts for one, facts in run.frozen.items() if _cells(facts)}
    if 0 in frozen and len(frozen) > 1:
        sides = {START: _cells(frozen[0]), NEWEST: _cells(frozen[max(frozen)])}
        of = "The frozen set: the same attacks on both."
    else:
        attacked = [one for one in run.rounds if _cells(one.facts)]
        if not attacked:
            return None
        sides = {START: _cells(attacked[0].facts)}
        of = "The attacks of round 1; the newest policy was not attacked again (red_team.rounds is 1)."
        if len(attacked) > 1:
            sides[NEWEST] = _cells(attacked[-1].facts)
            of = "The first and the last round: other attacks, and the last on the policy of the round before."
    places = {place for cells in sides.values() for place in cells}
    rows = sorted({hazard for hazard, _ in places}, key=hazard_place)
    columns = sorted({strategy for _, strategy in places})
    return _grid_figure(sides, rows, columns, of), _grid_table(sides, rows, columns)


def _cells(facts: Facts) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(hazard, strategy) -> succeeded, judged, unjudged attempts; of the archive's rounds the last."""
    rounds: Sequence[Any] = facts.get("archive") or ()
    found = {}
    for cell in rounds[-1].get("cells", ()) if rounds else ():
        attacks, harmful, unjudged = (int(number(cell.get(key)) or 0) for key in ("attacks", "harmful", "unjudged"))
        found[str(cell.get("hazard")), str(cell.get("strategy"))] = (harmful, attacks - unjudged, unjudged)
    return found


def _grid_figure(
    sides: Mapping[str, Mapping[tuple[str, str], tuple[int, int, int]]], rows: list[str], columns: list[str], of: str
) -> Figure:
    names = {code: code if code in hazards() else "–" for code in rows}
    panels = tuple(
        Panel(
            f"archive-{side.split()[0]}",
            f"Succeeded of judged attempts, {side}",
            Grid(
                tuple(names.values()),
                tuple(tidy(name, 24) for name in columns),
                {(rows.index(row), columns.index(column)): (cell[0], cell[1]) for (row, column), cell in cells.items()},
            ),
            half=len(columns) <= MANY_COLUMNS,
        )
        for side, cells in sides.items()
    )
    total = sum(cell[1] for cells in sides.values() for cell in cells.values())
    caption = (
        f"The archive, hazard by strategy ({count(total)} judged attempts in all): the stronger the colour, the more "
        f"succeeded; an empty cell was not tried, of ? all are unjudged. {of}"
    )
    return Figure(caption, panels)


def _grid_table(
    sides: Mapping[str, Mapping[tuple[str, str], tuple[int, int, int]]], rows: list[str], columns: list[str]
) -> Table:
    cells = tuple(
        (
            Cell(f"{hazard_name(row)} · {tidy(column, 30)}"),
            *(_cell(found.get((row, column))) for found in sides.values()),
        )
        for row in rows
        for column in columns
        if any((row, column) in found for found in sides.values())
    )
    return Table("Table: the archive's cells", ("Hazard and strategy", *(side.capitalize() for side in sides)), cells)


def _cell(found: tuple[int, int, int] | None) -> Cell:
    if found is None:
        return Cell(NONE)
    return Cell(f"{found[0]} of {found[1]}", f"{found[2]} unjudged" if found[2] else "")
