"""How numbers and names are written: percent with interval and count, thousands, names of metrics and outcomes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hrlaif.report.layout import Cell, Point
from hrlaif.types import Metric

NONE = "–"
ALL = "all"
"""The group of all evaluation prompts in metrics.json."""
PERCENT = "\u00a0%"
"""Percent sign on the same line as its number."""
NAMES = {
    "satisfaction": "Satisfaction",
    "win_ratio": "Win ratio",
    "win_ratio_length_controlled": "Win ratio, length-controlled",
    "human_satisfaction": "Satisfaction by people",
    "human_win_ratio": "Win ratio by people",
    "correct": "Correct",
    "harmful": "Harmful",
    "harmful_corrected": "Harmful, corrected",
    "over_refusal_lenient": "Over-refusal, outright only",
    "over_refusal": "Over-refusal",
    "length": "Length",
    "unreadable": "Unreadable",
    "reward": "Reward",
}
NOT_SHARES = ("length", "reward")
# Control characters, and the marks that reorder text around them.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def percent(share: float, digits: int = 1) -> str:
    """0.123 as "12.3 %", which no line break divides."""
    return f"{100 * share:.{digits}f}{PERCENT}"


def count(value: float) -> str:
    """12345 as "12,345"."""
    return f"{value:,.0f}"


def tidy(text: str, limit: int = 0) -> str:
    """A name on one line without control characters, cut to `limit` characters where that is given."""
    line = " ".join(_UNSHOWN.sub("", text).split())
    return line if not limit or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shown(text: str) -> str:
    """Text over several lines, without characters that cannot be seen or that reorder what stands around them."""
    return _UNSHOWN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def title_of(name: str) -> str:
    """A metric's or outcome's name for readers."""
    return NAMES.get(name) or name.replace("_", " ").capitalize()


def plain(values: Sequence[object]) -> tuple[Cell, ...]:
    """Cells without detail; whole numbers get thousands separators."""
    return tuple(
        value if isinstance(value, Cell) else Cell(count(value) if isinstance(value, int) else tidy(str(value)))
        for value in values
    )


def is_share(metric: Metric) -> bool:
    """True where the metric is written in percent."""
    return metric.unit == "share" or (not metric.unit and metric.name not in NOT_SHARES)


def measured(metric: Metric | None) -> Cell:
    """A metric as value with interval and count; a share in percent, lengths and rewards as they are."""
    if metric is None:
        return Cell(NONE)
    if not is_share(metric):
        digits = 1 if metric.name == "length" else 2
        text, low, high = (f"{value:.{digits}f}" for value in (metric.value, metric.low, metric.high))
        return Cell(f"{text} {metric.unit}".rstrip(), f"{low} to {high}\nn = {count(metric.n)}")
    low, high = (f"{100 * value:.1f}" for value in (metric.low, metric.high))
    return Cell(percent(metric.value), f"{low} to {high}\nn = {count(metric.n)}")


def difference(metric: Metric | None, *, p: float | None = None) -> Cell:
    """A paired difference with its sign, and the p-value of its test; shares in points."""
    if metric is None:
        return Cell(NONE)
    scale, digits, unit = (100, 1, "points") if is_share(metric) else (1, 2, metric.unit)
    text, low, high = (f"{scale * value:+.{digits}f}" for value in (metric.value, metric.low, metric.high))
    tested = "" if p is None else f"\np = {p:.2g}"
    return Cell(f"{text} {unit}".rstrip(), f"{low} to {high}\nn = {count(metric.n)}{tested}")


def point(metric: Metric) -> Point:
    """A metric as a chart draws it."""
    return Point(metric.value, metric.low, metric.high)


def listed(parts: Sequence[str]) -> str:
    """The parts as in: a, b and c."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""


def flat(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Nested plain values as (name, text) rows, in their own order."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat(inner, (*path, str(key)))]
    if isinstance(value, (list, tuple)) and any(isinstance(inner, Mapping) for inner in value):
        return [row for place, inner in enumerate(value, 1) for row in flat(inner, (*path, str(place)))]
    if isinstance(value, (list, tuple)):
        return [(" · ".join(path), ", ".join(str(inner) for inner in value))]
    if isinstance(value, float) and math.isfinite(value):
        text = count(value) if value == int(value) else f"{value:.4g}"
    else:
        text = NONE if value is None else str(value)
    return [(" · ".join(path), text)]
