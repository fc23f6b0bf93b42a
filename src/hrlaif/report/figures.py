"""Draws charts with matplotlib: SVG that takes its ink from the page around it, and PNG on white.

Importing this module needs the extra `report`. Nothing here uses pyplot or global state, and neither dates nor random
names go into a file, so the same chart gives the same bytes.
"""

from __future__ import annotations

import io
import math
import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hrlaif.report import palette
from hrlaif.report.layout import Calibration, Curves, Dots, Grid, Histogram, Panel, Plane, Point, Stacks
from hrlaif.report.svg import INK

FULL_PX, HALF_PX = 460, 400
# Full panels are drawn small and shown large where there is room, so that their text still reads on a phone.
PX = 1 / 72
PNG_DPI = 144
LETTER_PX, LETTERS_BESIDE, LEGEND_HANDLE_PX, LEGEND_ROW_PX = 6.2, 10, 38, 16
STEPS = (1, 2, 5, 10)
STYLES = {"rlaif": (0, (5, 1.5)), "human": (0, (1, 1))}
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "path.simplify": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
}
FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", "PingFang SC", "Microsoft YaHei")


def draw(panel: Panel, series: Sequence[str] = ()) -> tuple[str, bytes]:
    """One panel as SVG text (as matplotlib writes it) and as PNG.

    `series` are those of the whole page: one whose name has no colour of its own has the same in every panel.
    """
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]
    settings: Any = {**SETTINGS, "svg.hashsalt": panel.name, "font.family": fonts}
    with (
        matplotlib.rc_context(settings),
        warnings.catch_warnings(),
    ):
        # A category named in a script that no installed font has still reads well in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        width, names = HALF_PX if panel.half else FULL_PX, _legend_names(panel.chart)
        columns = _columns(names, panel.chart, width)
        rows = math.ceil(len(names) / columns)
        height = _height(panel) + LEGEND_ROW_PX * max(0, rows - 1)
        figure = Figure(figsize=(width * PX, height * PX), layout="constrained")
        figure.set_facecolor("none")
        axes = figure.add_subplot(facecolor="none")
        axes.set_title(panel.title, pad=10 if not rows else 14 + LEGEND_ROW_PX * rows)
        _DRAWERS[type(panel.chart)](axes, panel.chart, _Looks(series))
        if names:
            _legend(axes, columns)
        vector, pixels = io.StringIO(), io.BytesIO()
        FigureCanvasSVG(figure).print_svg(vector, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
        # The layout is found; the PNG keeps it.
        figure.set_layout_engine("none")
        figure.set_facecolor("white")
        figure.set_dpi(PNG_DPI)
        FigureCanvasAgg(figure).print_png(pixels, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return vector.getvalue(), pixels.getvalue()


def _height(panel: Panel) -> float:
    chart = panel.chart
    if isinstance(chart, Dots):
        return 92 + len(chart.rows) * (13 + 10 * len(chart.series))
    if isinstance(chart, Stacks):
        return 100 + len(chart.rows) * 27
    if isinstance(chart, Grid):
        return 120 + len(chart.rows) * 22
    return 300 if isinstance(chart, (Plane, Calibration)) else 250


def _legend_names(chart: Any) -> list[str]:
    """What a legend has to name; nothing where there is one series only, or a grid."""
    if isinstance(chart, Dots):
        found = _present(chart)
        named = [*(found if len(found) > 1 else ()), *((chart.reference_name,) if chart.reference is not None else ())]
        return [name for name in named if name]
    if isinstance(chart, Stacks):
        return list(chart.segments) if len(chart.segments) > 1 else []
    if isinstance(chart, Curves):
        return list(chart.lines)
    if isinstance(chart, Calibration):
        return ["as stated", *chart.lines]
    if isinstance(chart, Histogram):
        return list(chart.values)
    return list(chart.points) if isinstance(chart, Plane) else []


def _present(chart: Dots) -> list[str]:
    return [name for name in chart.series if any(name in points for _, points in chart.rows)]


def _columns(names: Sequence[str], chart: Any, width: float) -> int:
    """How many names stand beside each other: all where they fit, else as many as the longest leaves room for."""
    sizes = [LETTER_PX * len(name) + LEGEND_HANDLE_PX for name in names]
    # A legend begins where the axes do, to the right of the rows' names or the numbers.
    beside = [len(name) for name, _ in chart.rows] if isinstance(chart, (Dots, Stacks)) else []
    room = width - LETTER_PX * max([LETTERS_BESIDE, *beside])
    return max(1, len(names) if sum(sizes) <= room else int(room // max(sizes)))


@dataclass(frozen=True, slots=True)
class _Looks:
    """How series are drawn on a page that has `series`; `index` counts where a name is not one of them."""

    series: Sequence[str]

    def colour(self, name: str, index: int = 0) -> str:
        return palette.colour(name, self.series, index=index)

    def marker(self, name: str, index: int = 0) -> str:
        return palette.marker(name, self.series, index=index)


def _labelled(name: str) -> str:
    """A label that matplotlib shows: it leaves out those that begin with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        *axes.get_legend_handles_labels(),
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        borderpad=0.2,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.3,
    )


def _grid(axes: Axes, axis: str) -> None:
    axes.grid(axis=axis, alpha=0.15, linewidth=0.8)  # type: ignore[arg-type]


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))


def _dots(axes: Axes, chart: Dots, looks: _Looks) -> None:
    present = _present(chart)
    gap = 0.62 / max(len(present), 1)
    for index, name in enumerate(present):
        offset = (index - (len(present) - 1) / 2) * gap
        found = [
            (row + offset * (len(points) > 1), points[name])
            for row, (_, points) in enumerate(chart.rows)
            if name in points
        ]
        ys, points = [y for y, _ in found], [point for _, point in found]
        colour = looks.colour(name, index)
        axes.hlines(
            ys, [p.low for p in points], [p.high for p in points], color=colour, linewidth=2, alpha=0.75, clip_on=False
        )
        values = [p.value for p in points]
        label = _labelled(name) if len(present) > 1 else None
        axes.plot(
            values, ys, looks.marker(name, index), color=colour, markersize=6, label=label, clip_on=False, zorder=3
        )
    if chart.reference is not None:
        axes.axvline(
            chart.reference, color=INK, linewidth=1, linestyle=(0, (3, 3)), alpha=0.6, label=chart.reference_name
        )
    for row in range(1, len(chart.rows)):
        axes.axhline(row - 0.5, color=INK, alpha=0.12, linewidth=0.8)
    axes.set_yticks(range(len(chart.rows)), [name for name, _ in chart.rows])
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=9)
    low = min((p.low for _, points in chart.rows for p in points.values()), default=0)
    axes.set_xlim(0 if low < 0.35 or chart.reference is None else 0.3, 1.0)
    axes.margins(x=0.02)
    _percent_axis(axes.xaxis)
    axes.set_xlabel(chart.axis)
    _grid(axes, "x")


def _stacks(axes: Axes, chart: Stacks, looks: _Looks) -> None:
    totals = [sum(row.get(segment, 0) for segment in chart.segments) for _, row in chart.rows]
    widest = max([*totals, 1])
    left = [0.0] * len(chart.rows)
    for index, segment in enumerate(chart.segments):
        counts = [row.get(segment, 0) for _, row in chart.rows]
        widths = (
            [c / max(t, 1) for c, t in zip(counts, totals, strict=True)]
            if chart.as_share
            else [float(c) for c in counts]
        )
        colour = looks.colour(segment, index)
        axes.barh(range(len(chart.rows)), widths, left=left, height=0.68, color=colour, label=_labelled(segment))
        for row, (width, counted) in enumerate(zip(widths, counts, strict=True)):
            share = width if chart.as_share else width / widest
            if len(chart.segments) > 1 and share > 0.016 * len(f"{counted:,}") + 0.03:
                axes.text(
                    left[row] + width / 2,
                    row,
                    f"{counted:,}",
                    ha="center",
                    va="center_baseline",
                    fontsize=9.5,
                    color=_on(colour),
                )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    if not chart.as_share:
        for row, total in enumerate(totals):
            axes.text(total + widest * 0.015, row, f"{total:,}", ha="left", va="center_baseline", fontsize=10)
    axes.set_yticks(range(len(chart.rows)), [name for name, _ in chart.rows])
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1 if chart.as_share else widest * 1.12)
    if chart.as_share:
        _percent_axis(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(chart.axis)
    _grid(axes, "x")


def _on(colour: str) -> str:
    """Black or white, whichever reads better on the colour."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "#ffffff" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.3 else "#16191c"


def _curves(axes: Axes, chart: Curves, looks: _Looks) -> None:
    for index, (name, line) in enumerate(chart.lines.items()):
        xs, ys = [x for x, _ in line], [y for _, y in line]
        colour = looks.colour(name, index)
        few = "o" if len(line) < 3 else ""
        axes.plot(
            xs, ys, color=colour, linewidth=1.8, linestyle=STYLES.get(name, "-"), marker=few, label=_labelled(name)
        )
    axes.set_xlabel(chart.axis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=STEPS))
    axes.margins(x=0.02, y=0.1)
    _grid(axes, "y")


def _histogram(axes: Axes, chart: Histogram, looks: _Looks) -> None:
    every = [value for values in chart.values.values() for value in values]
    low, high = min(every), max(every)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    fewest = min(len(values) for values in chart.values.values())
    bins = max(6, min(30, math.ceil(1.5 * math.sqrt(fewest))))
    edges = [low + (high - low) * i / bins for i in range(bins + 1)]
    for index, (name, values) in enumerate(chart.values.items()):
        colour = looks.colour(name, index)
        shares = [1 / len(values)] * len(values)
        axes.hist(values, edges, weights=shares, color=colour, alpha=0.3, label=_labelled(name))
        axes.hist(values, edges, weights=shares, histtype="step", color=colour, linewidth=1.5)
        axes.axvline(statistics.median(values), color=colour, linewidth=1.6, linestyle=(0, (4, 2)))
    axes.set_xlabel(chart.axis)
    axes.set_ylabel("share of prompts")
    _percent_axis(axes.yaxis)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=STEPS))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=STEPS))
    _grid(axes, "y")


def _plane(axes: Axes, chart: Plane, looks: _Looks) -> None:
    for index, (name, (across, up)) in enumerate(chart.points.items()):
        colour = looks.colour(name, index)
        axes.errorbar(
            [across.value],
            [up.value],
            xerr=_reach(across),
            yerr=_reach(up),
            fmt=looks.marker(name, index),
            color=colour,
            # Later points are smaller, so that one that lies under another still shows.
            markersize=max(5.5, 13 - 2.5 * index),
            linewidth=2,
            alpha=0.9,
            clip_on=False,
            label=_labelled(name),
        )
    axes.set_xlim(0, _end(across for across, _ in chart.points.values()))
    axes.set_ylim(0, _end(up for _, up in chart.points.values()))
    for axis in (axes.xaxis, axes.yaxis):
        _percent_axis(axis)
        axis.set_major_locator(MaxNLocator(nbins=6, steps=STEPS))
    axes.set_xlabel(f"{chart.across} (← less is better)")
    axes.set_ylabel(f"{chart.up} (← less is better)")
    _grid(axes, "both")


def _calibration(axes: Axes, chart: Calibration, looks: _Looks) -> None:
    axes.plot([0.5, 1], [0.5, 1], color=INK, linewidth=1, linestyle=(0, (3, 3)), alpha=0.6, label="as stated")
    for index, (name, line) in enumerate(chart.lines.items()):
        points = [point for _, point in line]
        # A little apart, so that no interval hides another.
        aside = 0.006 * (index - (len(chart.lines) - 1) / 2)
        axes.errorbar(
            [predicted + aside for predicted, _ in line],
            [point.value for point in points],
            yerr=[[_reach(point)[side][0] for point in points] for side in (0, 1)],
            fmt=looks.marker(name, index),
            linestyle=STYLES.get(name, "-"),
            color=looks.colour(name, index),
            markersize=6,
            linewidth=1.6,
            clip_on=False,
            label=_labelled(name),
        )
    lowest = min(point.low for line in chart.lines.values() for _, point in line)
    axes.set_xlim(0.48, 1.0)
    axes.set_ylim(min(0.4, math.floor(10 * lowest) / 10), 1.0)
    for axis in (axes.xaxis, axes.yaxis):
        _percent_axis(axis)
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    _grid(axes, "both")


def _grid_of_cells(axes: Axes, chart: Grid, _: _Looks) -> None:
    for (row, column), (hits, tries) in chart.cells.items():
        # Tries that all stayed unjudged are no zero.
        depth = 0.06 + 0.6 * hits / tries if tries else 0.0
        axes.bar(column, 0.94, width=0.94, bottom=row - 0.47, color=palette.COLOURS["cases"], alpha=depth, linewidth=0)
        size = 8.5 if len(chart.columns) > 10 else 9.5
        axes.text(column, row, f"{hits}/{tries}" if tries else "?", ha="center", va="center_baseline", fontsize=size)
    axes.set_xticks(range(len(chart.columns)), chart.columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(chart.rows)), chart.rows)
    axes.set_xlim(-0.5, len(chart.columns) - 0.5)
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _reach(point: Point) -> list[list[float]]:
    return [[max(0.0, point.value - point.low)], [max(0.0, point.high - point.value)]]


def _end(points: Iterable[Point]) -> float:
    return min(1.0, max([0.05, *(point.high * 1.12 for point in points)]))


_DRAWERS: Mapping[type, Any] = {
    Dots: _dots,
    Stacks: _stacks,
    Curves: _curves,
    Histogram: _histogram,
    Plane: _plane,
    Calibration: _calibration,
    Grid: _grid_of_cells,
}
