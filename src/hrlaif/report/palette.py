"""Colours and markers of series: known ones have their own, any other takes the next of a colour-blind safe scheme."""

from __future__ import annotations

from collections.abc import Sequence

COLOURS = {
    "start": "#868e99",
    "rlaif": "#d9700f",
    "hrlaif": "#1a86c9",
    "win": "#1b8a7a",
    "loss": "#a8487f",
    "tie": "#8a919b",
    "decided": "#1b8a7a",
    "unreadable": "#b9a13c",
    "train": "#4f7cac",
    "evaluation": "#9db4c0",
    "verifier": "#1b8a7a",
    "reasoning": "#6fb7c9",
    "judge": "#c98a2b",
    "red team": "#a8487f",
    "human": "#7a6fb0",
    "cases": "#a8487f",
    "tokens": "#4f7cac",
    "baseline": "#868e99",
}
MARKERS = {"start": "o", "rlaif": "s", "hrlaif": "D", "human": "^"}
# Paul Tol's scheme "bright" without its grey; what is furthest from the known arms comes first.
OTHERS = ("#228833", "#aa3377", "#ccbb44", "#66ccee", "#ee6677", "#4477aa")
# As many as have no common factor with the colours, so that a pair comes again only after all combinations.
OTHER_MARKERS = ("P", "v", "X", "^", "p", "<", "h")


def colour(name: str, series: Sequence[str], *, index: int = 0) -> str:
    """The colour of a series: its own where it is known, else by its place among the further ones of the page."""
    # A further model may be called as a part of a chart is: baseline, judge.
    if name in COLOURS and (name in MARKERS or name not in series):
        return COLOURS[name]
    return OTHERS[_place(name, series, index) % len(OTHERS)]


def marker(name: str, series: Sequence[str], *, index: int = 0) -> str:
    """The marker of a series: its own where it is known, else by its place among the further ones of the page."""
    return MARKERS.get(name, OTHER_MARKERS[_place(name, series, index) % len(OTHER_MARKERS)])


def _place(name: str, series: Sequence[str], index: int = 0) -> int:
    """Where a name stands among those of `series` that are no arms; `index` where it is not one of them."""
    others = [one for one in series if one not in MARKERS]
    return others.index(name) if name in others else index


def chip(name: str, series: Sequence[str]) -> str:
    """The style class of a series' name: its own where it is known, never text of the name otherwise."""
    return name if name in MARKERS else f"other-{_place(name, series) % len(OTHERS)}"


def styles() -> str:
    """The style rules of all chips."""
    named = {**{name: COLOURS[name] for name in MARKERS}, **{f"other-{k}": one for k, one in enumerate(OTHERS)}}
    return "\n".join(f".chip.{name}::before {{ background: {found}; }}" for name, found in named.items())
