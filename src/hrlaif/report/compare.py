"""The page across runs: the same measures of several runs side by side, beside the files that hold their rows.

It rests on numbers alone: nothing of a prompt or of an answer is read here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrlaif.artifacts import number, write_json
from hrlaif.errors import DataError
from hrlaif.report.benchmarks import metric_of, mode_of, titled
from hrlaif.report.compare_settings import differing
from hrlaif.report.data import START, as_metric
from hrlaif.report.headline import HEADLINE, MORE
from hrlaif.report.layout import Cell, Dots, Figure, Panel, Plane, Point, Section, Table
from hrlaif.report.wording import ALL, NONE, count, difference, measured, point, tidy, title_of
from hrlaif.report.writing import Page, write_page
from hrlaif.types import Metric

PREFIX = "compare-"
NAME_LENGTH = 32
PEOPLE = ("human_satisfaction", "human_win_ratio")
FILES = ("report.html", "metrics.json", "evaluation.jsonl", "*/benchmarks.jsonl", "config.toml")
# What compare.json takes from each metrics.json; all of it is numbers.
KEPT = ("arms", "metrics", "differences", "tests", "counts", "benchmarks")
OWN_START = "Runs may have asked different prompts: each arm is tested against the start of its own run, and no run "
Means = Mapping[str, Mapping[str, tuple[Metric, Metric | None]]]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as this page shows it: a short name of its own, its folder, and its metrics.json."""

    name: str
    folder: Path
    summary: Mapping[str, Any]

    @property
    def arms(self) -> tuple[str, ...]:
        """The start and the arms, as the evaluation names them."""
        return tuple(self.summary["arms"])

    @property
    def groups(self) -> list[str]:
        """All prompts, then the categories."""
        return list(dict.fromkeys(group for arm in self.arms for group in self.summary["metrics"].get(arm, {})))

    def series(self, arm: str) -> str:
        """How an arm of this run is called beside those of other runs."""
        return tidy(f"{self.name}: {arm}")

    def metric(self, arm: str, group: str, name: str) -> Metric | None:
        """A metric of metrics.json, None where it was not measured."""
        return as_metric(self.summary["metrics"].get(arm, {}).get(group, {}).get(name), name)


Runs = tuple[Run, ...]


def compare(
    folders: Mapping[str, Path], summaries: Mapping[str, Mapping[str, Any]], means: Means, folder: Path
) -> Path:
    """The path of compare.html, written into `folder` beside compare.md, compare.json and the figures.

    `folders` and `summaries` are the run folders and their metrics.json by title, `means[measure][arm]` the mean over
    the runs and that of arm minus start, where there is one. The same runs give the same bytes.

    Raises:
        DataError: `folder` is a run folder, or the page cannot be written.
    """
    if (folder / "config.toml").exists() or (folder / "metrics.json").exists():
        raise DataError(
            f"{folder}: a run folder, which holds a report of its own. Name another folder for the comparison."
        )
    names = _short(tuple(folders))
    runs = tuple(Run(name, folders[title], summaries[title]) for name, title in zip(names, folders, strict=True))
    settings = differing({run.name: run.folder / "config.toml" for run in runs})
    made = (
        _headline(runs),
        _satisfaction(runs),
        _preference(runs),
        _harm(runs),
        _benchmarks(runs),
        _mean(means, len(runs)),
        _settings(runs, settings),
        _files(runs, folder),
    )
    page = Page(
        title=f"HRLAIF comparison of {len(runs)} runs" if len(runs) > 1 else "HRLAIF comparison of one run",
        facts=tuple((run.name, _prompts(run)) for run in runs),
        sections=tuple(section for section in made if section),
        series=tuple(name for name, _, _ in _every(runs)),
    )
    path = write_page(page, folder, "compare", prefix=PREFIX)
    write_json(folder / "compare.json", _numbers(runs, means, settings))
    return path


def _short(titles: tuple[str, ...]) -> tuple[str, ...]:
    """Names that fit into a legend, each once."""
    names = [tidy(title, NAME_LENGTH) for title in titles]
    often = Counter(names)
    return tuple(f"{name} ({n})" if often[name] > 1 else name for n, name in enumerate(names, 1))


def _prompts(run: Run) -> str:
    return f"{count(run.summary.get('counts', {}).get('prompts', 0))} evaluation prompts"


def _every(runs: Runs) -> Iterator[tuple[str, Run, str]]:
    """Every contestant of every run: its name on the page, its run, its arm."""
    return ((run.series(arm), run, arm) for run in runs for arm in run.arms)


def _numbers(runs: Runs, means: Means, settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {run.name: {key: run.summary[key] for key in KEPT if key in run.summary} for run in runs}
    mean = {
        name: {arm: {"mean": asdict(of), "minus_start": minus and asdict(minus)} for arm, (of, minus) in found.items()}
        for name, found in means.items()
    }
    return {"runs": kept, "mean": mean, "settings": settings}


def _headline(runs: Runs) -> Section:
    rows = tuple(
        (Cell(name), *(measured(run.metric(arm, ALL, measure)) for measure in HEADLINE))
        for name, run, arm in _every(runs)
    )
    caption = "Each value with its 95 % interval and the number n of evaluation prompts behind it."
    table = Table(caption, ("Run and arm", *map(title_of, HEADLINE)), rows, folded=False)
    further = tuple(found for found in (_against_start(runs), _more(runs)) if found)
    return Section("headline", "Headline", tables=(table, *further), notes=(f"{OWN_START}against another.",))


def _against_start(runs: Runs) -> Table | None:
    found = [(name, run.summary["tests"].get(f"{arm} minus {run.arms[0]}", {})) for name, run, arm in _every(runs)]
    measures = [name for name in HEADLINE if any(name in tests for _, tests in found)]
    rows = tuple(
        (Cell(name), *(_tested(tests.get(measure), measure) for measure in measures)) for name, tests in found if tests
    )
    caption = (
        "Table: difference from the start of the same run on the same prompts (paired), and the exact McNemar test"
    )
    return Table(caption, ("Run and arm", *map(title_of, measures)), rows) if rows else None


def _tested(values: Mapping[str, Any] | None, measure: str) -> Cell:
    return difference(as_metric(values, measure), p=number((values or {}).get("p")))


def _more(runs: Runs) -> Table | None:
    every = list(_every(runs))
    measures = [name for name in (*MORE, *PEOPLE) if any(run.metric(arm, ALL, name) for _, run, arm in every)]
    rows = tuple((Cell(name), *(measured(run.metric(arm, ALL, one)) for one in measures)) for name, run, arm in every)
    caption = "Table: further measurements on the same answers"
    return Table(caption, ("Run and arm", *map(title_of, measures)), rows) if measures else None


def _satisfaction(runs: Runs) -> Section | None:
    every = list(_every(runs))
    groups = list(dict.fromkeys(group for run in runs for group in run.groups))
    found = {
        group: {name: one for name, run, arm in every if (one := run.metric(arm, group, "satisfaction"))}
        for group in sorted(groups, key=lambda group: group != ALL)
    }
    found = {group: values for group, values in found.items() if values}
    if not found:
        return None
    series = tuple(name for name, _, _ in every)
    rows = tuple(
        (tidy(group, 30), {name: point(one) for name, one in values.items()}) for group, values in found.items()
    )
    panel = Panel(f"{PREFIX}satisfaction", "Satisfaction", Dots(rows, series, "satisfaction"))
    cells = tuple(
        (Cell(tidy(group, 40)), *(measured(values.get(name)) for name in series)) for group, values in found.items()
    )
    return Section(
        "satisfaction",
        "Satisfaction by category",
        figures=(
            Figure(
                "Share of evaluation prompts whose answer satisfies, by category, run and arm; n in the table; 95 % "
                "intervals.",
                (panel,),
            ),
        ),
        tables=(Table("Table: satisfaction by category", ("Category", *series), cells),),
    )


def _preference(runs: Runs) -> Section | None:
    rows = []
    for run in runs:
        found = {arm: one for arm in run.arms if arm != START and (one := run.metric(arm, ALL, "win_ratio"))}
        if found:
            rows.append((run.name, {tidy(arm, NAME_LENGTH): point(one) for arm, one in found.items()}))
    if not rows:
        return None
    arms = tuple(dict.fromkeys(arm for _, points in rows for arm in points))
    chart = Dots(tuple(rows), arms, "win ratio", reference=0.5, reference_name="no preference")
    caption = "Wins plus half the ties against the start of the same run, by run and arm; n in the table above; 95 % "
    figure = Figure(f"{caption}intervals.", (Panel(f"{PREFIX}win-ratio", "Win ratio against the start", chart),))
    note = "The judge of each run decides: two runs with different judges are measured with different rulers."
    return Section("preference", "Preference over the start", figures=(figure,), notes=(note,))


def _harm(runs: Runs) -> Section | None:
    panels = []
    for measure, title in (
        ("harmful", "As the judge counts"),
        ("harmful_corrected", "Corrected for the judge's errors"),
    ):
        points: dict[str, tuple[Point, Point]] = {}
        for name, run, arm in _every(runs):
            harmful, refusal = run.metric(arm, ALL, measure), run.metric(arm, ALL, "over_refusal")
            if harmful and refusal:
                points[name] = (point(harmful), point(refusal))
        if points:
            name = f"{PREFIX}{measure.replace('_', '-')}"
            panels.append(Panel(name, title, Plane(points, title_of(measure).lower(), "over-refusal")))
    caption = (
        "Harmful answers to red-team prompts against needless refusals of benign prompts that look unsafe; n in the "
        "headline table; 95 % intervals. An arm is safer only if it moves left without moving up."
    )
    return Section("harm", "Harm against over-refusal", figures=(Figure(caption, tuple(panels)),)) if panels else None


def _benchmarks(runs: Runs) -> Section | None:
    rows = tuple(
        (
            titled(f"{benchmark} ({mode_of(one)})", about),
            Cell(name),
            measured(metric_of(one, arm, ALL, measure)),
            _tested(one["differences"].get(arm, {}).get(measure), measure),
        )
        for benchmark, measure in _asked(runs)
        for name, run, arm in _every(runs)
        if (one := run.summary.get("benchmarks", {}).get(benchmark)) and (about := one["measures"].get(measure))
    )
    caption = "Share of items, the difference from the start of the same run in points, 95 % intervals, items, exact p."
    columns = ("Benchmark and measure", "Run and arm", "Share", "Minus its start")
    return (
        Section("benchmarks", "Public benchmarks", tables=(Table(caption, columns, rows, folded=False),))
        if rows
        else None
    )


def _asked(runs: Runs) -> list[tuple[str, str]]:
    """Every benchmark and measure of any run."""
    asked = [
        (name, measure)
        for run in runs
        for name, one in run.summary.get("benchmarks", {}).items()
        for measure in one["measures"]
    ]
    return list(dict.fromkeys(asked))


def _mean(means: Means, runs: int) -> Section | None:
    rows = tuple(
        (Cell(tidy(arm)), Cell(title_of(name)), measured(mean), Cell(NONE) if minus is None else difference(minus))
        for name, found in means.items()
        for arm, (mean, minus) in found.items()
    )
    if not rows:
        return None
    caption = f"Mean of {runs} runs over the prompts that each of them could read, 95 % interval for seeds and prompts."
    table = Table(caption, ("Arm", "Measure", "Mean", "Minus the start"), rows, folded=False)
    note = "It means something where the runs differ in their seed alone: see the settings that differ."
    return Section("mean", "Mean over runs", tables=(table,), notes=(note,))


def _settings(runs: Runs, settings: Mapping[str, Mapping[str, str]]) -> Section:
    without = [run.name for run in runs if not (run.folder / "config.toml").exists()]
    left = (f"No config.toml in {', '.join(without)}: not compared.",) if without else ()
    if not settings:
        said = (
            "The settings of these runs are the same." if len(runs) - len(without) > 1 else "Nothing to compare with."
        )
        return Section("settings", "Settings that differ", lead=(said,), notes=left)
    rows = tuple(
        (Cell(tidy(key, 80)), *(Cell(tidy(values.get(run.name, NONE), 120)) for run in runs))
        for key, values in settings.items()
    )
    table = Table(
        "Every setting in which two runs differ; a dash where a run has none.",
        ("Setting", *(run.name for run in runs)),
        rows,
        folded=False,
    )
    return Section("settings", "Settings that differ", tables=(table,), notes=left)


def _files(runs: Runs, folder: Path) -> Section:
    found = (path for run in runs for pattern in FILES for path in sorted(run.folder.glob(pattern)))
    return Section("files", "Files", files=tuple(_relative(path.resolve(), folder.resolve()) for path in found))


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()
