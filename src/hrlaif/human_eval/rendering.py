"""Model text as a tree of harmless elements: Markdown, code and mathematics, and nothing that acts.

The page builds the tree with `createElement` and text nodes, so that no text of a model is ever parsed as HTML. What is
an element here stands in `TAGS`, on this side and on the page's; there are no links, images, styles or raw HTML.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.tree import SyntaxTreeNode

from hrlaif.human_eval import mathematics
from hrlaif.human_eval.mathematics import Node

MOST_CHARACTERS = 30_000
MOST_NESTING = 60
"""Of what is longer or nested deeper, Markdown is not read: all of it is shown as it is. Reading takes quadratic time
on some texts (a row of brackets), which this keeps below two seconds.
"""
TAGS = mathematics.TAGS | frozenset(
    "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code hr table thead tbody tr th td em strong s br span".split()
)
CLASSES = frozenset({"tex", "unseen", "address", "block"})
# Characters that cannot be seen or that reorder what stands around them: controls, embeddings, overrides and isolates
# of direction, zero-width spaces, fillers and tags. Joiners and the marks of single letters are needed to write.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u115f\u1160\u180e\u200b\u202a-\u202e\u2060-\u2064\u2066-\u206f\u3164\ufe00\ufeff"
    "\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f\ud800-\udfff]"
)
_WRAPPED = {
    "paragraph": "p",
    "bullet_list": "ul",
    "list_item": "li",
    "blockquote": "blockquote",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tr": "tr",
    "th": "th",
    "td": "td",
    "em": "em",
    "strong": "strong",
    "s": "s",
}
_CLOSING = {"\\(": "\\)", "\\[": "\\]", "$$": "$$", "$": "$"}


def rendered(text: str) -> list[Node]:
    """The text as nodes: Markdown, with mathematics between dollars or TeX brackets."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > MOST_CHARACTERS:
        return _plain(text)
    try:
        tokens = _markdown().parse(text)
    except Exception:  # whatever trips the parser, its text is still to be judged
        return _plain(text)
    if any(token.level > MOST_NESTING for token in tokens):
        return _plain(text)
    return list(_nodes(SyntaxTreeNode(tokens).children))


def _plain(text: str) -> list[Node]:
    return [["pre", {}, ["code", {}, *_text(text)]]]


@functools.cache
def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "maxNesting": 2 * MOST_NESTING}).enable(["table", "strikethrough"])
    made.disable(["html_block", "html_inline", "entity"])
    made.inline.ruler.before("escape", "mathematics", _mathematics)
    return made


def _mathematics(state: StateInline, silent: bool) -> bool:
    """The inline rule for mathematics between dollars, double dollars or TeX's brackets; a price is no formula."""
    source, start = state.src, state.pos
    opening = next((sign for sign in _CLOSING if source.startswith(sign, start)), "")
    if not opening:
        return False
    begin = start + len(opening)
    end = source.find(_CLOSING[opening], begin, state.posMax)
    content = source[begin:end] if end > begin else ""
    after = source[end + len(opening) : end + len(opening) + 1]
    if not content.strip() or (opening == "$" and (content != content.strip() or after.isdigit() or "\n\n" in content)):
        return False
    if not silent:
        token = state.push("mathematics", "math", 0)
        token.content, token.markup = content.strip(), opening
    state.pos = end + len(opening)
    return True


def _nodes(syntax: list[SyntaxTreeNode]) -> Iterator[Node]:
    for one in syntax:
        if one.type in _WRAPPED:
            yield [_WRAPPED[one.type], {}, *_nodes(one.children)]
        elif one.type in _SPECIAL:
            yield from _SPECIAL[one.type](one)
        elif one.type == "inline":
            yield from _nodes(one.children)
        else:
            yield from _text(one.content)


def _heading(one: SyntaxTreeNode) -> Iterator[Node]:
    yield [one.tag if one.tag in TAGS else "p", {}, *_nodes(one.children)]


def _ordered(one: SyntaxTreeNode) -> Iterator[Node]:
    start = str(one.attrs.get("start", "1"))
    yield ["ol", {"start": start} if re.fullmatch(r"\d{1,6}", start) else {}, *_nodes(one.children)]


def _code(one: SyntaxTreeNode) -> Iterator[Node]:
    yield ["pre", {}, ["code", {}, *_text(one.content.removesuffix("\n"))]]


def _code_inline(one: SyntaxTreeNode) -> Iterator[Node]:
    yield ["code", {}, *_text(one.content)]


def _link(one: SyntaxTreeNode) -> Iterator[Node]:
    """A link as its words and its address, both text: nothing on the page leads anywhere."""
    words = list(_nodes(one.children))
    address = str(one.attrs.get("href", ""))
    yield from words
    if words != [address]:
        yield ["span", {"class": "address"}, *_text(f" ({address})")]


def _image(one: SyntaxTreeNode) -> Iterator[Node]:
    address = str(one.attrs.get("src", ""))
    yield ["span", {"class": "address"}, *_text(f"[image: {one.content} ({address})]")]


def _formula(one: SyntaxTreeNode) -> Iterator[Node]:
    is_block = one.markup in ("$$", "\\[")
    node = mathematics.mathematics(one.content, is_block=is_block)
    if node[0] == "span":
        node = ["span", {"class": "tex"}, *_text(one.markup + one.content + _CLOSING[one.markup])]
    yield ["span", {"class": "block"}, _seen(node)] if is_block else _seen(node)


def _seen(node: Any) -> Node:
    """The node with what cannot be seen made visible in all of its texts."""
    tag, attributes, *children = node
    out: list[object] = [tag, attributes]
    for child in children:
        # Inside MathML an HTML span would end the formula; there a mark stands as text.
        out += [_UNSEEN.sub(_named, child)] if isinstance(child, str) else [_seen(child)]
    return out


def _hardbreak(_: SyntaxTreeNode) -> Iterator[Node]:
    yield ["br", {}]


def _softbreak(_: SyntaxTreeNode) -> Iterator[Node]:
    # Models mean the line breaks that they write.
    yield ["br", {}]


def _rule(_: SyntaxTreeNode) -> Iterator[Node]:
    yield ["hr", {}]


_SPECIAL: dict[str, Callable[[SyntaxTreeNode], Iterator[Node]]] = {
    "heading": _heading,
    "ordered_list": _ordered,
    "code_block": _code,
    "fence": _code,
    "code_inline": _code_inline,
    "link": _link,
    "image": _image,
    "mathematics": _formula,
    "hardbreak": _hardbreak,
    "softbreak": _softbreak,
    "hr": _rule,
}


def _named(match: re.Match[str]) -> str:
    return f"U+{ord(match[0]):04X}"


def _text(text: str) -> Iterator[Node]:
    """The text, with a visible mark for each character that could not be seen."""
    end = 0
    for match in _UNSEEN.finditer(text):
        if match.start() > end:
            yield text[end : match.start()]
        yield ["span", {"class": "unseen"}, _named(match)]
        end = match.end()
    if end < len(text):
        yield text[end:]
