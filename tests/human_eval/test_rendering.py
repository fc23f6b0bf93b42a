from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("latex2mathml", reason="needs the web extra: pip install 'hrlaif[web]'")

from hrlaif.human_eval import rendering
from hrlaif.human_eval.mathematics import mathematics
from hrlaif.human_eval.rendering import CLASSES, TAGS, rendered


def elements(nodes: list[Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for node in nodes:
        if not isinstance(node, str):
            tag, attributes, *children = node
            yield tag, attributes
            yield from elements(children)


def words(nodes: list[Any]) -> str:
    return "".join(node if isinstance(node, str) else words(node[2:]) for node in nodes)


def tags(text: str) -> list[str]:
    return [tag for tag, _ in elements(rendered(text))]


def test_no_text_of_a_model_becomes_an_element_or_an_attribute_that_is_not_allowed(hostile: dict[str, str]) -> None:
    for name, text in hostile.items():
        for tag, attributes in elements(rendered(text)):
            assert tag in TAGS, name
            for key, value in attributes.items():
                assert key in {"class", "start", *rendering.mathematics._ATTRIBUTES}, (name, key)
                assert not re.search(r"[:;(<]|script", value), (name, value)
                assert key != "class" or value in CLASSES, name


def test_what_is_dangerous_elsewhere_stays_readable_as_text(hostile: dict[str, str]) -> None:
    assert words(rendered(hostile["script"])) == hostile["script"]
    assert "onerror=alert(1)" in words(rendered(hostile["handlers"]))
    assert "[a](javascript:alert(1))" in words(rendered(hostile["addresses"]))
    assert "[image: b (https://evil.test/b.png)]" in words(rendered(hostile["addresses"]))
    assert words(rendered(hostile["entities"])) == hostile["entities"]


def test_no_letter_of_a_deep_or_long_text_is_left_out(hostile: dict[str, str]) -> None:
    assert words(rendered(hostile["quotes"])).endswith("deep")
    assert words(rendered(hostile["lists"])).count("x") == 200
    assert words(rendered(hostile["long"])).count("x") == 20_000
    assert len(words(rendered(hostile["huge line"]))) == 30_000


def test_markdown_is_read_as_people_write_it() -> None:
    assert rendered("# A\n\n**b** `c`\nd") == [
        ["h1", {}, "A"],
        ["p", {}, ["strong", {}, "b"], " ", ["code", {}, "c"], ["br", {}], "d"],
    ]
    assert rendered("3. x") == [["ol", {"start": "3"}, ["li", {}, ["p", {}, "x"]]]]
    assert rendered("```py\na < b\n```") == [["pre", {}, ["code", {}, "a < b"]]]
    assert tags("| a |\n|---|\n| b |") == ["table", "thead", "tr", "th", "tbody", "tr", "td"]


def test_a_link_is_its_words_and_its_address_and_leads_nowhere() -> None:
    assert rendered("[x](https://a.test)") == [["p", {}, "x", ["span", {"class": "address"}, " (https://a.test)"]]]
    assert rendered("<https://a.test>") == [["p", {}, "https://a.test"]]


@pytest.mark.parametrize("text", ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "so \\[\nx^2\n\\]"])
def test_mathematics_is_drawn_between_dollars_and_tex_brackets(text: str) -> None:
    assert {"math", "msup"} <= set(tags(text))


@pytest.mark.parametrize("text", ["It costs $5 and $10.", "$ x $", "a $1$2 b", "`$x$`", "\\$x$ y", "$$", "$"])
def test_a_price_or_code_is_no_formula(text: str) -> None:
    assert "math" not in tags(text)


@pytest.mark.parametrize(
    "tex", ["\\frac{1}{", "x^", "\\left(", "\\unknown{x}", "\\phantom{x}", "{" * 900 + "}" * 900, "x" * 3000]
)
def test_what_cannot_be_drawn_whole_is_shown_as_its_source(tex: str) -> None:
    assert mathematics(tex, is_block=False) == ["span", {"class": "tex"}, tex]


def test_a_formula_can_neither_lead_nor_hide_nor_reach_out_of_its_place() -> None:
    found = [*elements(rendered("$\\href{javascript:x}{a} \\style{b}{c} \\color{white}{d} \\hspace{-99em}$"))]
    assert found[1][0] == "math"
    assert {key for _, attributes in found for key in attributes} <= {"display"}


def test_characters_that_cannot_be_seen_are_shown_by_their_number_everywhere() -> None:
    marked = ["span", {"class": "unseen"}, "U+202E"]
    assert rendered("a\u202eb") == [["p", {}, "a", marked, "b"]]
    assert rendered("`a\u202eb`") == [["p", {}, ["code", {}, "a", marked, "b"]]]
    assert rendered("```\n\u202e\n```") == [["pre", {}, ["code", {}, marked]]]
    assert "\u202e" not in words(rendered("$\\text{a\u202eb}$ [x](a\u202eb) $\\frac\u202e$"))
    # Emoji, and scripts that are written from the right, stay whole.
    plain = "👩\u200d💻 ❤\ufe0f שלום"
    assert rendered(plain) == [["p", {}, plain]]


def test_the_page_builds_the_same_elements_as_the_server_allows() -> None:
    source = (Path(rendering.__file__).parent / "static" / "tree.js").read_text()
    named = set(re.findall(r"[a-z0-9]+", " ".join(re.findall(r'"([a-z0-9 ]+)"', source.split("const CLASSES")[0]))))
    assert named == set(TAGS)
