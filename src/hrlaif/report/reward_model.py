"""The section on the reward model: accuracy on held-out pairs, beside rules that look at the length alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrlaif.report.data import RunData, as_metric, number
from hrlaif.report.layout import Cell, Curves, Dots, Figure, Panel, Point, Section, Table
from hrlaif.report.training import curve
from hrlaif.report.wording import count, flat, listed, measured, plain, point, tidy
from hrlaif.types import Metric

BASELINE = "baseline"
CURVES = ((("loss",), "Loss"), (("accuracy",), "Accuracy on the pairs of a step"))


def reward_model(run: RunData) -> Section:
    """Held-out accuracy of each arm's reward model, overall, by basis and by category, with the trivial baselines."""
    arms = {arm: data.reward_summary for arm, data in run.arms.items() if data.reward_summary}
    if not arms:
        return Section("reward-model", "Reward model", missing="reward/summary.json of an arm")
    panels, tables, held = [], [], []
    for arm, summary in arms.items():
        rows = accuracies(summary)
        if rows:
            chart = Dots(_dots(arm, rows), (arm, BASELINE), "accuracy", 0.5, "guessing")
            panels.append(Panel(f"reward-model-{arm}", f"{arm}: held-out accuracy", chart, half=True))
            tables.append(_table(arm, rows))
            held.append(f"{count(rows[0][1].n)} ({arm})")
    for keys, title in CURVES:
        lines = {arm: line for arm, data in run.arms.items() if (line := curve(data.reward_steps, keys))}
        if lines:
            panels.append(Panel(f"reward-model-{keys[0]}", title, Curves(lines, "training step"), half=True))
    caption = (
        f"Above: share of held-out pairs that the arm's reward model puts in the right order; pairs: {listed(held)}; "
        "95 % intervals. The baselines always pick the shorter or the longer response. Below: training."
    )
    return Section(
        "reward-model",
        "Reward model",
        figures=(Figure(caption, tuple(panels)),) if panels else (),
        tables=(
            *tables,
            *(
                Table(f"{arm}: all that summary.json says.", ("", "Value"), tuple(plain(row) for row in flat(summary)))
                for arm, summary in arms.items()
            ),
        ),
        notes=(
            "The two reward models are held to different labels: the basic arm's to the judge's own verdicts, so a "
            "higher accuracy there means only that it learnt the judge.",
        ),
    )


def accuracies(summary: Mapping[str, Any]) -> list[tuple[str, Metric]]:
    """Rows (name, accuracy): overall, by basis, by category, then the baselines."""
    held = summary.get("held_out")
    source: Mapping[str, Any] = held if isinstance(held, Mapping) else summary
    rows = [("all", source.get("accuracy"))]
    for key, prefix in (("by_basis", "basis: "), ("by_category", "")):
        rows += [
            (prefix + tidy(str(name).replace("_", " "), 22), value) for name, value in (source.get(key) or {}).items()
        ]
    rows += [(f"{BASELINE}: {tidy(str(name), 22)}", value) for name, value in (source.get("baselines") or {}).items()]
    pairs = int(number(source.get("pairs")) or number(source.get("n")) or 0)
    return [(name, metric) for name, value in rows if (metric := as_metric(value, "accuracy", n=pairs))]


def _dots(arm: str, rows: list[tuple[str, Metric]]) -> tuple[tuple[str, Mapping[str, Point]], ...]:
    return tuple(
        (name.removeprefix(f"{BASELINE}: "), {BASELINE if name.startswith(BASELINE) else arm: point(metric)})
        for name, metric in rows
    )


def _table(arm: str, rows: list[tuple[str, Metric]]) -> Table:
    cells = tuple((Cell(name), measured(metric)) for name, metric in rows)
    return Table(f"{arm}: accuracy on held-out pairs, and the baselines.", ("Pairs", "Accuracy"), cells)
