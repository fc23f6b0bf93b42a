from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from hrlaif.report import palette, svg
from hrlaif.report.figures import draw
from hrlaif.report.layout import Chart, Curves, Dots, Grid, Histogram, Panel, Plane, Point, Stacks

POINT = Point(0.5, 0.4, 0.6)
CHARTS: dict[str, Chart] = {
    "dots": Dots(
        (("all", {"start": POINT, "rlaif": POINT}), ("$x_1$ <b>", {"start": POINT})),
        ("start", "rlaif"),
        "share",
        0.5,
        "g",
    ),
    "stacks": Stacks(
        (("数学", {"win": 3, "tie": 1, "loss": 0}), ("none", {})), ("win", "tie", "loss"), "share", as_share=True
    ),
    "bars": Stacks((("attacks", {"cases": 12000}), ("pairs", {"cases": 0})), ("cases",), "cases"),
    "curves": Curves({"rlaif": ((1.0, 0.1), (2.0, 0.3)), "hrlaif": ((1.0, 0.2),)}, "step"),
    "histogram": Histogram({"start": (1.0, 1.0), "hrlaif": (1.0,)}, "score"),
    "grid": Grid(("S1", "S2"), ("plain", "story"), {(0, 0): (1, 2), (1, 1): (0, 0)}),
    "plane": Plane({"start": (POINT, POINT), "rlaif": (Point(0, 0, 0), POINT)}, "harmful", "over-refusal"),
}


def element(name: str) -> str:
    return svg.inline(draw(Panel(name, name, CHARTS[name]))[0], name=name, description='a "chart" <of> things')


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_chart_gives_the_same_bytes(name: str) -> None:
    panel = Panel(name, "Title", CHARTS[name], half=True)
    assert draw(panel) == draw(panel)


@pytest.mark.parametrize("name", CHARTS)
def test_an_inline_svg_takes_its_ink_and_fonts_from_the_page(name: str) -> None:
    found = element(name)
    ElementTree.fromstring(found)
    assert svg.INK not in found
    assert "currentColor" in found
    assert "#000000" not in found
    assert "DejaVu" not in found
    assert "<style" not in found
    assert "<metadata" not in found
    assert not re.search(r"<path[^>]*fill: #ffffff", found), "no white page behind the drawing"


@pytest.mark.parametrize("name", CHARTS)
def test_ids_and_references_carry_the_name_of_the_figure(name: str) -> None:
    found = element(name)
    ids = re.findall(r'\bid="([^"]+)"', found)
    assert all(one.startswith(f"{name}-") for one in ids)
    references = re.findall(r'href="#([^"]+)"', found) + re.findall(r"url\(#([^)]+)\)", found)
    assert references
    assert set(references) <= set(ids)


def test_text_stays_text_and_is_not_read_as_mathematics() -> None:
    texts = [
        "".join(node.itertext()) for node in ElementTree.fromstring(element("dots")).iter() if node.tag.endswith("text")
    ]
    assert "$x_1$ <b>" in texts
    assert "all" in texts


def test_the_description_is_escaped_and_the_size_is_natural() -> None:
    root = ElementTree.fromstring(element("dots"))
    assert root.get("aria-label") == 'a "chart" <of> things'
    assert root.get("width") == "460"


def test_a_standalone_svg_is_dark_on_light_and_light_on_dark() -> None:
    found = svg.standalone(element("bars"))
    ElementTree.fromstring(found)
    assert "prefers-color-scheme:dark" in found


def test_every_bar_says_its_count() -> None:
    texts = [
        "".join(node.itertext()) for node in ElementTree.fromstring(element("bars")).iter() if node.tag.endswith("text")
    ]
    assert "12,000" in texts
    assert texts.count("0") == 2, "the empty bar's count and the axis"


def test_a_cell_of_a_grid_whose_tries_are_all_unjudged_is_no_zero() -> None:
    texts = [
        "".join(node.itertext()) for node in ElementTree.fromstring(element("grid")).iter() if node.tag.endswith("text")
    ]
    assert "1/2" in texts
    assert "?" in texts
    assert "0/0" not in texts


def test_a_further_model_has_one_colour_of_its_own_whatever_it_is_called() -> None:
    series = ("start", "hrlaif", "baseline", "win")
    for name, other in (("baseline", 0), ("win", 1)):
        assert palette.chip(name, series) == f"other-{other}"
        assert palette.colour(name, series) == palette.OTHERS[other]
    assert palette.colour("start", series) == palette.COLOURS["start"]
    assert palette.colour("win", series[:2]) == palette.COLOURS["win"]
