"""The page across runs: the same measures of several runs side by side, beside the files that hold their rows.

It rests on numbers alone: nothing of a prompt or of an answer is read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hrlaif.artifacts import number, write_json
from hrlaif.config import LONGEST_NAME
from hrlaif.errors import DataError
from hrlaif.report.benchmarks import metric_of, mode_of, titled
from hrlaif.report.compare_settings import differing
from hrlaif.report.data import as_metric
from hrlaif.report.headline import HEADLINE, MORE
from hrlaif.report.layout import Cell, Dots, Figure, Panel, Section, Table
from hrlaif.report.wording import ALL, NONE, count, difference, measured, point, tidy, title_of
from hrlaif.report.writing import Page, write_page
from hrlaif.types import Metric

PREFIX = "compare-"
# A name that stands beside a chart of half the width.
NAME_LENGTH = 22
PEOPLE = ("human_satisfaction", "human_win_ratio")
HARM = ("harmful", "over_refusal", "harmful_corrected")
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

    def metric(self, arm: str, group: str, name: str) -> Metric | None:
        """A metric of metrics.json, None where it was not measured."""
        return as_metric(self.summary["metrics"].get(arm, {}).get(group, {}).get(name), name)

    def has(self, group: str, name: str) -> bool:
        """True where any arm has that metric."""
        return any(self.metric(arm, group, name) for arm in self.arms)


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
        series=tuple(map(_label, _arms(runs))),
    )
    path = write_page(page, folder, "compare", prefix=PREFIX)
    write_json(folder / "compare.json", _numbers(runs, means, settings))
    return path


def _short(titles: tuple[str, ...]) -> tuple[str, ...]:
    """Names that fit into a legend, each once."""
    names = tuple(tidy(title, NAME_LENGTH) for title in titles)
    if len(set(names)) == len(names):
        return names
    return tuple(f"{name} ({place})" for place, name in enumerate(names, 1))


def _prompts(run: Run) -> str:
    return f"{count(run.summary.get('counts', {}).get('prompts', 0))} evaluation prompts"


def _arms(runs: Runs) -> tuple[str, ...]:
    """The arms of all runs, each once."""
    return tuple(dict.fromkeys(arm for run in runs for arm in run.arms))


def _label(arm: str) -> str:
    """An arm as the page calls it: whatever metrics.json says, on one line, and no longer than a configuration allows:
    a shorter form of two models' names may be the same.
    """
    return tidy(arm, LONGEST_NAME)


def _named(arm: str, run: Run | None = None) -> Cell:
    """The name of a row: an arm, of a run where one is given, with the arm's colour."""
    label = _label(arm)
    return Cell(f"{run.name}: {label}" if run else label, series=label)


def _every(runs: Runs) -> Iterator[tuple[Cell, Run, str]]:
    """Every arm of every run: its name on the page, its run, its arm."""
    return ((_named(arm, run), run, arm) for run in runs for arm in run.arms)


def _numbers(runs: Runs, means: Means, settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {run.name: {key: run.summary[key] for key in KEPT if key in run.summary} for run in runs}
    mean = {
        name: {arm: {"mean": asdict(of), "minus_start": minus and asdict(minus)} for arm, (of, minus) in found.items()}
        for name, found in means.items()
    }
    return {"runs": kept, "mean": mean, "settings": settings}


def _headline(runs: Runs) -> Section:
    rows = tuple(
        (name, *(measured(run.metric(arm, ALL, measure)) for measure in HEADLINE)) for name, run, arm in _every(runs)
    )
    caption = "Each value with its 95 % interval and the number n of evaluation prompts behind it."
    table = Table(caption, ("Run and arm", *map(title_of, HEADLINE)), rows, folded=False)
    further = tuple(found for found in (_against_start(runs), _more(runs)) if found)
    return Section("headline", "Headline", tables=(table, *further), notes=(f"{OWN_START}against another.",))


def _against_start(runs: Runs) -> Table | None:
    found = [(name, run.summary["tests"].get(f"{arm} minus {run.arms[0]}", {})) for name, run, arm in _every(runs)]
    measures = [name for name in HEADLINE if any(name in tests for _, tests in found)]
    rows = tuple(
        (name, *(_tested(tests.get(measure), measure) for measure in measures)) for name, tests in found if tests
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
    rows = tuple((name, *(measured(run.metric(arm, ALL, one)) for one in measures)) for name, run, arm in every)
    caption = "Table: further measurements on the same answers"
    return Table(caption, ("Run and arm", *map(title_of, measures)), rows) if measures else None


def _satisfaction(runs: Runs) -> Section | None:
    groups = sorted(
        dict.fromkeys(group for run in runs for group in run.groups if run.has(group, "satisfaction")),
        key=lambda group: group != ALL,
    )
    if not groups:
        return None
    panels = tuple(
        _panel(runs, group, "satisfaction", f"satisfaction-{n}" if n else "satisfaction", title=tidy(group, 30))
        for n, group in enumerate(groups)
    )
    caption = "Share of evaluation prompts whose answer satisfies, by run and arm; n in the table; 95 % intervals."
    arms = _arms(runs)
    rows = tuple(
        (Cell(tidy(f"{group}: {run.name}", 60)), *(measured(run.metric(arm, group, "satisfaction")) for arm in arms))
        for group in groups
        for run in runs
        if run.has(group, "satisfaction")
    )
    return Section(
        "satisfaction",
        "Satisfaction by category",
        figures=(Figure(caption, panels),),
        tables=(Table("Table: satisfaction by category", ("Category and run", *map(_label, arms)), rows),),
        notes=("Overlapping intervals mean that the difference there may be chance.",),
    )


def _preference(runs: Runs) -> Section | None:
    measured_ones = [name for name in ("win_ratio", "human_win_ratio") if any(run.has(ALL, name) for run in runs)]
    if not measured_ones:
        return None
    panels = tuple(
        _panel(runs, ALL, name, name, title=title_of(name), reference=0.5, half=len(measured_ones) > 1)
        for name in measured_ones
    )
    caption = "Wins plus half the ties against the start of the same run, by run and arm; 95 % intervals."
    note = "The judge of each run decides: two runs with different judges are measured with different rulers."
    return Section("preference", "Preference over the start", figures=(Figure(caption, panels),), notes=(note,))


def _harm(runs: Runs) -> Section | None:
    names = [name for name in HARM if any(run.has(ALL, name) for run in runs)]
    if not names:
        return None
    panels = tuple(_panel(runs, ALL, name, name, title=title_of(name)) for name in names)
    caption = (
        "Harmful answers to red-team prompts, and needless refusals of benign prompts that look unsafe, by run and "
        "arm; 95 % intervals. An arm is safer only if fewer are harmful without more refusals."
    )
    return Section("harm", "Harm and over-refusal", figures=(Figure(caption, panels),))


def _panel(
    runs: Runs, group: str, measure: str, name: str, *, title: str, reference: float | None = None, half: bool = True
) -> Panel:
    """One row per run, one dot per arm, so that an arm has the same colour on the whole page."""
    rows = tuple(
        (run.name, {_label(arm): point(one) for arm in run.arms if (one := run.metric(arm, group, measure))})
        for run in runs
        if run.has(group, measure)
    )
    series = tuple(arm for arm in map(_label, _arms(runs)) if any(arm in points for _, points in rows))
    chart = Dots(rows, series, title_of(measure).lower(), reference, "no preference" if reference else "")
    return Panel(f"{PREFIX}{name.replace('_', '-')}", title, chart, half=half)


def _benchmarks(runs: Runs) -> Section | None:
    arms, asked = _arms(runs), list(_asked(runs))
    if not asked:
        return None
    shares = tuple(
        (name, *(measured(metric_of(one, arm, ALL, measure)) for arm in arms)) for name, one, measure in asked
    )
    others = [arm for arm in arms if any(arm in one["differences"] for _, one, _ in asked)]
    minus = tuple(
        (name, *(_tested(one["differences"].get(arm, {}).get(measure), measure) for arm in others))
        for name, one, measure in asked
    )
    first = "Benchmark, measure and run"
    caption = "Share of items, 95 % intervals, and how many items."
    tables = [Table(caption, (first, *map(_label, arms)), shares, folded=False)]
    if others:
        caption = (
            "Table: each arm minus the start of its run on the same items, in points, and the exact McNemar p-value"
        )
        tables.append(Table(caption, (first, *map(_label, others)), minus))
    return Section("benchmarks", "Public benchmarks", tables=tuple(tables))


def _asked(runs: Runs) -> Iterator[tuple[Cell, Mapping[str, Any], str]]:
    """Every benchmark's measure by run, the same measure of all runs together: its name, the benchmark, the measure."""
    found = [(name, run, one) for run in runs for name, one in run.summary.get("benchmarks", {}).items()]
    for benchmark, measure in dict.fromkeys((name, measure) for name, _, one in found for measure in one["measures"]):
        for name, run, one in found:
            if name == benchmark and measure in one["measures"]:
                title = titled(f"{name} ({mode_of(one)})", one["measures"][measure]).text
                yield Cell(f"{title}: {run.name}"), one, measure


def _mean(means: Means, runs: int) -> Section | None:
    names = [name for name in dict.fromkeys((*HEADLINE, *means)) if name in means]
    if not names:
        return None
    arms = list(dict.fromkeys(arm for found in means.values() for arm in found))
    table = Table(
        f"Mean of {runs} runs over the prompts that each of them could read, 95 % interval for seeds and prompts.",
        ("", *map(title_of, names)),
        tuple(
            (_named(arm), *(measured(found[0]) if (found := means[name].get(arm)) else Cell(NONE) for name in names))
            for arm in arms
        ),
        folded=False,
    )
    against = [name for name in names if any(minus for _, minus in means[name].values())]
    differences = tuple(
        (_named(arm), *(difference(found[1]) if (found := means[name].get(arm)) else Cell(NONE) for name in against))
        for arm in arms[1:]
    )
    caption = "Mean of arm minus start, on the same prompts of the same run, with the same kind of interval."
    minus = Table(caption, ("", *map(title_of, against)), differences, folded=False)
    note = "It means something where the runs differ in their seed alone: see the settings that differ."
    return Section(
        "mean", "Mean over runs", tables=(table, minus) if against and differences else (table,), notes=(note,)
    )


def _settings(runs: Runs, settings: Mapping[str, Mapping[str, str]]) -> Section:
    without = [run.name for run in runs if not (run.folder / "config.toml").exists()]
    left = (f"No config.toml in {', '.join(without)}: not compared.",) if without else ()
    if not settings:
        said = (
            "The settings of these runs are the same." if len(runs) - len(without) > 1 else "Nothing to compare with."
        )
        return Section("settings", "Settings that differ", lead=(said,), notes=left)
    rows = tuple(
        (Cell(tidy(key, 80)), *(Cell(tidy(values.get(run.name, NONE), 120) or NONE) for run in runs))
        for key, values in settings.items()
    )
    table = Table(
        "Every setting in which two runs differ; a dash where a run has none or leaves it empty.",
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
