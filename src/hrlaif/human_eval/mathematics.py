"""TeX as a tree of MathML elements; whatever cannot be read whole stays as its source."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element

Node = str | list[object]
"""A text, or `[tag, attributes, *children]`."""
MOST_CHARACTERS = 2000
MOST_DEPTH = 60
TAGS = frozenset(
    "math mrow mi mn mo mtext mspace msup msub msubsup mfrac msqrt mroot munder mover munderover mtable mtr mtd mstyle "
    "mpadded menclose".split()
)
# Attributes that only say how a symbol looks; none takes an address, a script, a colour or a negative length.
_ATTRIBUTES = {
    "display": re.compile("block|inline"),
    "mathvariant": re.compile("[a-z-]{1,24}"),
    "columnalign": re.compile("(left|right|center| ){1,12}"),
    "linethickness": re.compile("0"),
    "width": re.compile(r"[0-4](\.\d{1,4})?em"),
    "linebreak": re.compile("newline"),
    "notation": re.compile("box"),
    **dict.fromkeys(("stretchy", "fence", "accent", "movablelimits", "displaystyle"), re.compile("true|false")),
    "form": re.compile("prefix|postfix|infix"),
    "minsize": re.compile(r"[0-4](\.\d{1,4})?em"),
    "maxsize": re.compile(r"[0-4](\.\d{1,4})?em"),
}
_ENTITY = re.compile(r"&#x([0-9A-Fa-f]{4,5});")
# Environments that stand inside display mathematics and look like the ones that the converter knows.
_INNER = re.compile(r"\\(begin|end)\{(aligned|gathered|split|align|gather|equation\*?)\}")


class UnreadableError(ValueError):
    """Some TeX that has to be shown as its source."""


def mathematics(tex: str, *, is_block: bool) -> Node:
    """A tree of MathML for one formula, or its source in a span of class `tex` where any part cannot be read.

    A formula is not shown in part: a rater would judge an answer by what the converter left out.
    """
    try:
        if len(tex) > MOST_CHARACTERS:
            raise UnreadableError("too long")
        return _node(convert_to_element(_INNER.sub(_known, tex), display="block" if is_block else "inline"), 0)
    except Exception:  # the converter's own errors have no common base, and none of them may take the page away
        return ["span", {"class": "tex"}, tex]


def _known(match: re.Match[str]) -> str:
    name = "align*" if match[2] in ("aligned", "align", "split") else "matrix"
    return f"\\{match[1]}{{{name}}}"


def _node(element: Element, depth: int) -> list[object]:
    if element.tag not in TAGS or depth > MOST_DEPTH:
        raise UnreadableError(element.tag)
    text = _ENTITY.sub(lambda match: chr(int(match[1], 16)), element.text or "")
    if text.startswith("\\") or text == "&" or (element.tail or "").strip():
        raise UnreadableError(text)
    attributes = {name: value for name, value in element.attrib.items() if name in _ATTRIBUTES and _fits(name, value)}
    children: list[object] = [_node(child, depth + 1) for child in element]
    return [element.tag, attributes, *([text] if text else []), *children]


def _fits(name: str, value: str) -> bool:
    return _ATTRIBUTES[name].fullmatch(value) is not None
