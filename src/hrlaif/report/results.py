"""The sections on what changed for a user of the policy: satisfaction and preference."""

from __future__ import annotations

from collections import Counter

from hrlaif.report.data import START, RunData
from hrlaif.report.layout import Cell, Dots, Figure, Panel, Point, Section, Stacks, Table
from hrlaif.report.wording import ALL, count, listed, measured, plain, point, tidy
from hrlaif.types import Evaluation, Split, Verdict

OUTCOMES = {Verdict.FIRST: "win", Verdict.TIE: "tie", Verdict.SECOND: "loss", Verdict.UNREADABLE: "unreadable"}


def satisfaction(run: RunData) -> Section:
    """Satisfaction by category, one dot per arm."""
    groups = groups_of(run, "satisfaction")
    if not groups:
        return Section("satisfaction", "Satisfaction by category", missing="metrics.json, which the evaluation writes")
    rows = tuple((tidy(group, 30), _dots(run, group, "satisfaction")) for group in groups)
    total = run.metric(START, ALL, "satisfaction")
    n = f" {count(total.n)} evaluation prompts in all;" if total else ""
    caption = f"Share of evaluation prompts whose answer satisfies, by category and arm;{n} 95 % intervals."
    return Section(
        "satisfaction",
        "Satisfaction by category",
        figures=(Figure(caption, (Panel("satisfaction", "Satisfaction", Dots(rows, run.series, "satisfaction")),)),),
        tables=(by_group(run, "satisfaction", groups, "Table: satisfaction by category"), *_correct(run)),
        notes=("Overlapping intervals in a category mean that the difference there may be chance.",),
    )


def _correct(run: RunData) -> tuple[Table, ...]:
    groups = groups_of(run, "correct")
    caption = "Share of checkable prompts whose final answer the rule verifier finds correct."
    return (by_group(run, "correct", groups, caption),) if groups else ()


def groups_of(run: RunData, name: str) -> list[str]:
    """Groups with that metric: all first, then the categories, as metrics.json orders them."""
    seen = dict.fromkeys(
        group
        for arm in run.series
        for group, values in run.metrics.get("metrics", {}).get(arm, {}).items()
        if name in values
    )
    return sorted(seen, key=lambda group: group != ALL)


def _dots(run: RunData, group: str, name: str) -> dict[str, Point]:
    found = {arm: run.metric(arm, group, name) for arm in run.series}
    return {arm: point(metric) for arm, metric in found.items() if metric}


def by_group(run: RunData, name: str, groups: list[str], caption: str) -> Table:
    """A metric by group and arm."""
    rows = tuple(
        (Cell(tidy(group, 40)), *(measured(run.metric(arm, group, name)) for arm in run.series)) for group in groups
    )
    return Table(caption, ("Category", *run.series), rows)


def preference(run: RunData) -> Section:
    """Wins, ties and losses of each arm against the start."""
    compared = [row for row in run.rows(Split.EVALUATION) if row.arm != START and row.verdict is not None]
    if not compared:
        return Section("preference", "Preference over the start", missing="evaluation.jsonl with compared answers")
    categories = list(dict.fromkeys(row.category for row in compared))
    panels, rows = [], []
    for arm in run.others:
        mine = [row for row in compared if row.arm == arm]
        counts = {ALL: _outcomes(mine)}
        counts.update({name: _outcomes([row for row in mine if row.category == name]) for name in categories})
        bars = tuple((tidy(name, 24), _judged(outcomes)) for name, outcomes in counts.items() if _judged(outcomes))
        if bars:
            chart = Stacks(bars, ("win", "tie", "loss"), "share of compared answers", as_share=True)
            panels.append(Panel(f"preference-{arm}", f"{arm} against the start", chart, half=True))
        rows += [plain((arm, name, *(outcomes[o] for o in OUTCOMES.values()))) for name, outcomes in counts.items()]
    n = listed([f"{sum(row.arm == arm for row in compared):,} ({arm})" for arm in run.others])
    caption = (
        f"How often the judge, asked in both orders, prefers an arm's answer to the start's on the same evaluation "
        f"prompt; compared answers: {n}; counts in the bars."
    )
    return Section(
        "preference",
        "Preference over the start",
        figures=(Figure(caption, tuple(panels)),) if panels else (),
        tables=(
            Table(
                "Table: wins, ties and losses by category",
                ("Arm", "Category", *(o.capitalize() for o in OUTCOMES.values())),
                tuple(rows),
            ),
        ),
        notes=(
            _who_judges(run),
            "Unreadable comparisons are counted in the table and left out of the bars.",
        ),
    )


def _who_judges(run: RunData) -> str:
    if run.config.evaluation.judge is None:
        return (
            "The judge that made the labels judges here too and favours what it taught: read this beside correctness."
        )
    return "Another judge than the one that made the labels judges here; how good it is was not measured."


def _outcomes(rows: list[Evaluation]) -> Counter[str]:
    return Counter(OUTCOMES[row.verdict] for row in rows if row.verdict is not None)


def _judged(outcomes: Counter[str]) -> dict[str, int]:
    return {name: outcomes[name] for name in ("win", "tie", "loss")} if set(outcomes) - {"unreadable"} else {}
