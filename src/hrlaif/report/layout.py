"""What a report is made of, before anything is drawn or written: sections of text, tables, charts and cases.

A chart is plain data; `figures` draws it, and the page always holds its numbers as a table as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with what belongs to it: `detail` is its interval and count, shown smaller.

    A cell that names a row gets the colour of `series`, or of the series that its text is.
    """

    text: str
    detail: str = ""
    series: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; the first column names the row. `folded` tables open on a click."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """A value with the bounds of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Dots:
    """Dot-and-interval plot: one line per row, one dot per series; shares are drawn as percent."""

    rows: tuple[tuple[str, Mapping[str, Point]], ...]
    series: tuple[str, ...]
    axis: str
    reference: float | None = None
    reference_name: str = ""


@dataclass(frozen=True, slots=True)
class Stacks:
    """Horizontal stacked bars; `as_share` makes every bar full width, else bars are counts."""

    rows: tuple[tuple[str, Mapping[str, int]], ...]
    segments: tuple[str, ...]
    axis: str
    as_share: bool = False


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over steps, one per series."""

    lines: Mapping[str, tuple[tuple[float, float], ...]]
    axis: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Distributions of several series over shared bins, with their medians."""

    values: Mapping[str, tuple[float, ...]]
    axis: str


@dataclass(frozen=True, slots=True)
class Plane:
    """One point per series with intervals in both directions; towards the origin is better."""

    points: Mapping[str, tuple[Point, Point]]
    across: str
    up: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """Stated probability against observed share, one line per series; on the diagonal both are the same."""

    lines: Mapping[str, tuple[tuple[float, Point], ...]]
    across: str
    up: str


@dataclass(frozen=True, slots=True)
class Grid:
    """Hits of tries by (row, column) index, the share as depth of colour; a cell that is not there stays empty."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[int, int], tuple[int, int]]


Chart: TypeAlias = Dots | Stacks | Curves | Histogram | Plane | Calibration | Grid


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart in its own file `figures/NAME.svg`; half panels stand side by side where there is room."""

    name: str
    title: str
    chart: Chart
    half: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that are read together, with one caption that says what is shown, of how many, with which interval."""

    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One arm's answer in a case. `hidden` replaces a text that must not be shown."""

    arm: str
    text: str
    verdict: str
    good: bool | None
    facts: tuple[str, ...]
    replies: tuple[str, ...] = ()
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One evaluation prompt with the arms' answers side by side."""

    prompt_id: str
    category: str
    question: str
    reference: str
    why: str
    answers: tuple[Answer, ...]


Tone = Literal["plain", "warning", "good"]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the report. `missing` says which file it would need; then it holds nothing else.

    `files` are those of the run folder that hold the records behind the numbers.
    """

    id: str
    title: str
    lead: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    folded_points: tuple[str, ...] = ()
    callout: str = ""
    tone: Tone = "plain"
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()
    files: tuple[str, ...] = ()
    code: str = ""
    missing: str = ""
