"""The section on the reward model: accuracy on held-out pairs, beside rules that look at the length alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrlaif.artifacts import number
from hrlaif.report.data import RunData, as_metric
from hrlaif.report.layout import Calibration, Cell, Curves, Dots, Figure, Panel, Point, Section, Table
from hrlaif.report.training import curve
from hrlaif.report.wording import count, flat, listed, measured, plain, point, tidy
from hrlaif.types import Metric

BASELINE = "baseline"
CURVES = (
    (("loss",), "Loss"),
    (("accuracy",), "Accuracy on the pairs of a step"),
    (("held_out_loss",), "Held-out loss"),
)


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
    if stated := {arm: line for arm, summary in arms.items() if (line := _calibration_line(summary))}:
        diagonal = Calibration(stated, "probability that the model states", "observed share")
        panels.append(Panel("reward-model-calibration", "Calibration on held-out pairs", diagonal, half=True))
    for keys, title in CURVES:
        lines = {arm: steps for arm, data in run.arms.items() if (steps := curve(data.reward_steps, keys))}
        if lines:
            panels.append(Panel(f"reward-model-{keys[0]}", title, Curves(lines, "training step"), half=True))
    caption = (
        f"Above: share of held-out pairs that the arm's reward model puts in the right order; pairs: {listed(held)}; "
        "95 % intervals. The baselines always pick the shorter or the longer response. Calibration: of the pairs in "
        "which the model gives one response a probability, how often the labels prefer it. Below: training."
    )
    return Section(
        "reward-model",
        "Reward model",
        figures=(Figure(caption, tuple(panels)),) if panels else (),
        tables=(
            *tables,
            *((_beyond_accuracy(arms),) if any(_parts(summary) for summary in arms.values()) else ()),
            *(
                Table(
                    f"{arm}: all that summary.json says.",
                    ("", "Value"),
                    tuple(plain(row) for row in flat(_without_curve(summary))),
                )
                for arm, summary in arms.items()
            ),
        ),
        notes=(
            "The reward models are held to different labels: the basic arm's to the judge's own verdicts, so a "
            "higher accuracy there means only that it learnt the judge.",
            *(
                (
                    "Early stopping picked the weights by these same held-out pairs, so the numbers on them are a "
                    "little too good.",
                )
                if any("best_step" in summary for summary in arms.values())
                else ()
            ),
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


def _parts(summary: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """(calibration, length correlation) of a summary, None where it has none (an older one)."""
    held = summary.get("held_out") or {}
    calibration, length = held.get("calibration"), held.get("length_correlation")
    return (calibration, length) if isinstance(calibration, Mapping) and isinstance(length, Mapping) else None


def _calibration_line(summary: Mapping[str, Any]) -> tuple[tuple[float, Point], ...]:
    parts = _parts(summary)
    rows = parts[0].get("curve", ()) if parts else ()
    return tuple(
        (float(row["predicted"]), point(metric))
        for row in rows
        if (metric := as_metric(row.get("observed"), "observed"))
    )


def _beyond_accuracy(arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """Calibration and length, one column per arm."""
    found = {arm: parts for arm, summary in arms.items() if (parts := _parts(summary))}
    names = (
        ("expected_error", "Expected calibration error"),
        ("log_loss", "Log-loss, nats (a coin: 0.693)"),
        ("label_log_loss", "Log-loss that the labels themselves get"),
        ("brier", "Brier score (a coin: 0.25)"),
        ("label_brier", "Brier score that the labels themselves get"),
    )
    rows = [
        (Cell(title), *(Cell(f"{calibration[key]:.3f}") for calibration, _ in found.values())) for key, title in names
    ]
    for key in ("overall", "within pairs"):
        metrics = [as_metric(length.get(key), key) for _, length in found.values()]
        cells = (measured(metric) if metric else Cell("–") for metric in metrics)
        rows.append((Cell(f"Score and length, Spearman, {key}"), *cells))
    caption = "How far the scores can be read as probabilities, and how much of them is length (held-out pairs)."
    return Table(caption, ("", *found), tuple(rows))


def _without_curve(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary without the points of the calibration curve, which the figure shows."""
    held = dict(summary.get("held_out") or {})
    if isinstance(held.get("calibration"), Mapping):
        held["calibration"] = {key: value for key, value in held["calibration"].items() if key != "curve"}
    return {**summary, "held_out": held}


def _dots(arm: str, rows: list[tuple[str, Metric]]) -> tuple[tuple[str, Mapping[str, Point]], ...]:
    return tuple(
        (name.removeprefix(f"{BASELINE}: "), {BASELINE if name.startswith(BASELINE) else arm: point(metric)})
        for name, metric in rows
    )


def _table(arm: str, rows: list[tuple[str, Metric]]) -> Table:
    cells = tuple((Cell(name), measured(metric)) for name, metric in rows)
    return Table(f"{arm}: accuracy on held-out pairs, and the baselines.", ("Pairs", "Accuracy"), cells)
