"""The final table of a run, and several runs side by side, as rows of text; the header is the first row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hrlaif.artifacts import read_json
from hrlaif.errors import DataError
from hrlaif.types import Metric

NONE = "–"
ALL = "all"
MEASURES = {
    "satisfaction": "Satisfaction, %",
    "win_ratio": "Win ratio against the start, %",
    "win_ratio_length_controlled": "Win ratio at equal length, %",
    "human_satisfaction": "Satisfaction by people, %",
    "human_win_ratio": "Win ratio by people, %",
    "correct": "Correct answers, %",
    "harmful": "Harmful, %",
    "harmful_corrected": "Harmful, corrected, %",
    "over_refusal": "Over-refusal, %",
    "length": "Length, words",
    "unreadable": "Unreadable, %",
}
Summary = Mapping[str, Any]


def table(summary: Summary) -> list[list[str]]:
    """One row per measure, one column per arm; a cell is "value [low, high] n count"."""
    arms = summary["arms"]
    rows = [
        [title, *(_cell(_metric(summary, arm, name)) for arm in arms)]
        for name, title in MEASURES.items()
        if any(_metric(summary, arm, name) for arm in arms)
    ]
    return [["", *arms], *rows, *_benchmarks(summary)]


def _benchmarks(summary: Summary) -> Iterator[list[str]]:
    for name, one in summary.get("benchmarks", {}).items():
        for measure, about in one["measures"].items():
            cells = [_cell(one["metrics"][arm][ALL].get(measure)) for arm in summary["arms"]]
            yield [f"{name} ({one['mode']}): {about['title']}, %", *cells]


def read_summaries(folders: Sequence[Path]) -> dict[str, Summary]:
    """metrics.json of each run, by the folder's name, or by its path where names repeat.

    Raises:
        DataError: A folder is named twice, or has no metrics.json of an evaluation; one message names all of these.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise DataError("A run folder is named twice: it would count twice. Name each once.")
    if missing := [str(folder) for folder in folders if not (folder / "metrics.json").is_file()]:
        raise DataError(f"{', '.join(missing)}: no metrics.json there. Evaluate first, with `hrlaif evaluate RUN`.")
    names = {folder.resolve().name for folder in folders}
    titles = [folder.resolve().name if len(names) == len(folders) else str(folder) for folder in folders]
    summaries = {title: read_json(folder / "metrics.json") for title, folder in zip(titles, folders, strict=True)}
    for folder, summary in zip(folders, summaries.values(), strict=True):
        if not isinstance(summary, dict) or not {"arms", "metrics", "tests"} <= set(summary):
            raise DataError(
                f"{folder / 'metrics.json'}: not what the evaluation writes. Run `hrlaif evaluate {folder}`."
            )
    return summaries


def compare_runs(summaries: Mapping[str, Summary]) -> list[list[str]]:
    """One row per measure, run and arm, so that the same measure of all runs stands together.

    `summaries[run]` is the run's metrics.json. The last column is the arm minus the start of its own run, paired, with
    its p-value: runs may have asked different prompts, so nothing is tested from run to run.
    """
    rows = [["Measure", "Run", "Arm", "Value [low, high]", "Minus its start"]]
    for name, title in MEASURES.items():
        for run, summary in summaries.items():
            for arm in summary["arms"]:
                if metric := _metric(summary, arm, name):
                    test = summary["tests"].get(f"{arm} minus {summary['arms'][0]}", {}).get(name)
                    rows.append([title, run, arm, _cell(metric), _difference(test)])
    return rows


def cell(metric: Metric) -> str:
    """A metric as compact text."""
    return _cell(asdict(metric))


def _metric(summary: Summary, arm: str, name: str) -> Summary | None:
    found: Summary | None = summary["metrics"].get(arm, {}).get(ALL, {}).get(name)
    return found


def _cell(metric: Summary | None) -> str:
    if metric is None:
        return NONE
    scale = 100 if metric["unit"] == "share" else 1
    value, low, high = (scale * metric[key] for key in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}] n {metric['n']}"


def _difference(test: Summary | None) -> str:
    if test is None:
        return NONE
    value, low, high = (100 * test[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}] p {test['p']:.2g}"
