"""Writes sections to a folder: NAME.html (one file, nothing from elsewhere), NAME.md and the figures."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from hrlaif.artifacts import write_atomic, writing_to
from hrlaif.report import palette, svg
from hrlaif.report.layout import Panel, Section
from hrlaif.report.wording import tidy

try:
    from hrlaif.report import figures
except ModuleNotFoundError:  # matplotlib comes with the extra `report`; the tables need none
    figures = None  # type: ignore[assignment]

WITHOUT_FIGURES = (
    "This page has no figures, because matplotlib is not installed. Every number is in the tables. For the figures: "
    "pip install 'hrlaif[report]', then the same command again."
)


@dataclass(frozen=True, slots=True)
class Page:
    """A page before it is written. `facts` stand under the title, `series` are the names that have a colour.

    `shown` is the warning that the page shows texts that it usually hides.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    series: tuple[str, ...]
    shown: str = ""


def write_page(page: Page, folder: Path, name: str, *, prefix: str = "") -> Path:
    """The path of `name`.html, written into `folder` beside `name`.md and `figures/PANEL.svg` and `.png`.

    Figures there whose names begin with `prefix` and that the page does not have are removed. Without matplotlib the
    page has tables only and says how to get figures. The same page gives the same bytes.

    Raises:
        DataError: The page cannot be written; the message names the file.
    """
    drawn = _draw(page)
    _clear(folder / "figures", prefix=prefix, keep=set(drawn or {}))
    for panel, (element, pixels) in (drawn or {}).items():
        write_atomic(folder / "figures" / f"{panel}.svg", svg.standalone(element).encode())
        write_atomic(folder / "figures" / f"{panel}.png", pixels)
    values: dict[str, Any] = {
        "title": page.title,
        "facts": page.facts,
        "sections": page.sections,
        "series": page.series,
        "shown": page.shown,
        "without_figures": WITHOUT_FIGURES if drawn is None else "",
        "svgs": {panel: Markup(element) for panel, (element, _) in (drawn or {}).items()},
    }
    for file, template in ((f"{name}.md", "page.md.txt"), (f"{name}.html", "page.html")):
        write_atomic(folder / file, _environment().get_template(template).render(values).encode("utf-8", "replace"))
    return folder / f"{name}.html"


def _draw(page: Page) -> dict[str, tuple[str, bytes]] | None:
    """Every panel as (SVG element, PNG) by name; None without matplotlib."""
    if figures is None:
        return None
    drawn = {}
    for panel in (panel for section in page.sections for figure in section.figures for panel in figure.panels):
        text, pixels = figures.draw(panel, page.series)
        drawn[panel.name] = (svg.inline(text, name=panel.name, description=_description(panel)), pixels)
    return drawn


def _description(panel: Panel) -> str:
    return f"{panel.title}; its numbers are in the table below"


def _clear(folder: Path, *, prefix: str, keep: set[str]) -> None:
    """Figures of an earlier page that this one does not have would only mislead."""
    with writing_to(folder):
        for path in (*folder.glob(f"{prefix}*.svg"), *folder.glob(f"{prefix}*.png")):
            if path.stem not in keep:
                path.unlink()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hrlaif.report", "."),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    environment.globals["css"] = Markup(f"{css}{palette.styles()}\n")
    environment.filters["chip"] = palette.chip
    environment.filters["link"] = lambda path: quote(os.fsencode(path))
    environment.filters["tidy"] = tidy
    environment.filters["cell"] = markdown_cell
    environment.filters["quoted"] = markdown_quote
    return environment


def markdown_cell(text: str) -> str:
    """Text on one line in which nothing is markup: for Markdown tables and paragraphs."""
    line = tidy(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]|#!~$":
        line = line.replace(mark, "\\" + mark)
    return line


def markdown_quote(text: str) -> str:
    """Text as an indented code block, which no text can end."""
    return "\n".join("    " + line for line in text.splitlines())
