"""The section on public benchmarks: every contestant on the same items, and each arm against the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hrlaif.config import LM_EVAL
from hrlaif.report.data import RunData, as_metric
from hrlaif.report.layout import Cell, Section, Table
from hrlaif.report.wording import ALL, count, difference, measured, tidy
from hrlaif.types import Metric

NAMED_AS = {"loglikelihood": "log-likelihood", "generative": "generative"}
Found = Mapping[str, Any]


def benchmarks(run: RunData) -> Section | None:
    """One table of all benchmarks, one of differences, one by category for each that has some; None without any."""
    found: Mapping[str, Found] = run.metrics.get("benchmarks") or {}
    if not found:
        return None
    columns = ("Benchmark and measure", "Mode", *run.series)
    rows = tuple(row for name, one in found.items() for row in _rows(run, name, one))
    differing = tuple(row for name, one in found.items() for row in _differences(run, name, one))
    tables = [
        Table("Public benchmarks: share of items, 95 % intervals, and how many items.", columns, rows, folded=False)
    ]
    if run.others:
        caption = "Table: each arm minus the start on the same items, in points, and the exact McNemar p-value"
        tables.append(Table(caption, ("Benchmark and measure", *run.others), differing))
    tables += [_by_category(run, name, one) for name, one in found.items() if _categories(one)]
    return Section(
        "benchmarks",
        "Public benchmarks",
        tables=tuple(tables),
        notes=(
            f"All contestants answer the same items with the same decoding, {_examples(found)}: compare them with each "
            "other, and not with published numbers.",
            *_open(found),
        ),
    )


def _rows(run: RunData, name: str, one: Found) -> Iterator[tuple[Cell, ...]]:
    mode = Cell(mode_of(one))
    for measure, about in one["measures"].items():
        yield (titled(name, about), mode, *(measured(metric_of(one, arm, ALL, measure)) for arm in run.series))


def mode_of(one: Found) -> str:
    """How the benchmark was asked, for readers."""
    return NAMED_AS.get(str(one["mode"]), tidy(str(one["mode"])))


def titled(name: str, about: Found) -> Cell:
    """A benchmark's measure as the name of a row."""
    less = "" if about["more_is_better"] else " (less is better)"
    return Cell(tidy(f"{name}: {about['title']}{less}"))


def metric_of(one: Found, arm: str, group: str, measure: str) -> Metric | None:
    """One contestant's measure on a group of items, None where it was not measured."""
    return as_metric(one["metrics"].get(arm, {}).get(group, {}).get(measure), measure)


def _differences(run: RunData, name: str, one: Found) -> Iterator[tuple[Cell, ...]]:
    for measure, about in one["measures"].items():
        found = {arm: one["differences"].get(arm, {}).get(measure) for arm in run.others}
        if any(found.values()):
            yield (
                titled(name, about),
                *(difference(as_metric(tested, measure), p=(tested or {}).get("p")) for tested in found.values()),
            )


def _categories(one: Found) -> list[str]:
    return list(dict.fromkeys(group for groups in one["metrics"].values() for group in groups if group != ALL))


def _by_category(run: RunData, name: str, one: Found) -> Table:
    rows = tuple(
        (Cell(tidy(f"{category}: {about['title']}")), *cells)
        for category in _categories(one)
        for measure, about in one["measures"].items()
        if any(metric_of(one, arm, category, measure) for arm in run.series)
        for cells in [[measured(metric_of(one, arm, category, measure)) for arm in run.series]]
    )
    return Table(f"Table: {tidy(name)} by category", ("Category and measure", *run.series), rows)


def _examples(found: Mapping[str, Found]) -> str:
    by_files = any(one["kind"] == LM_EVAL for one in found.values())
    return "without examples in the prompt" + (" but for those of lm-eval's task files" if by_files else "")


def _open(found: Mapping[str, Found]) -> Iterator[str]:
    for name, one in found.items():
        left = {arm: number for arm, number in one["open"].items() if number}
        if left:
            said = ", ".join(f"{count(number)} ({arm})" for arm, number in left.items())
            yield f"{tidy(name)}: items that the judge could not decide on, left out of the shares: {said}."
