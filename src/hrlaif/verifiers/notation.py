"""One way to write mathematics: plain ASCII LaTeX, whatever mix of Unicode, full-width and LaTeX the text came in."""

from __future__ import annotations

import re

# Full-width ASCII to ASCII, odd spaces to a space, odd minus signs to "-", typographic quotes to plain ones.
_CHARACTERS: dict[int, str] = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys((0x3000, 0x00A0, 0x2002, 0x2003, 0x2007, 0x2008, 0x2009, 0x200A, 0x202F), " "),
    **dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD), ""),
    **dict.fromkeys((0x2212, 0x2010, 0x2011, 0x2012, 0x2013, 0xFE63), "-"),
    **dict.fromkeys((0x201C, 0x201D, 0x201E, 0x300C, 0x300D, 0x300E, 0x300F), '"'),
    **dict.fromkeys((0x2018, 0x2019, 0x02BC), "'"),
}
_ODD = re.compile("[" + "".join(map(chr, _CHARACTERS)) + "]")
_SYMBOLS: dict[int, str] = {
    ord(symbol): latex
    for symbol, latex in {
        "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∗": "*", "÷": "/", "∕": "/", "⁄": "/",
        "π": "\\pi ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "λ": "\\lambda ", "∞": "\\infty ",
        "≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ", "⩾": "\\ge ", "≠": "\\ne ", "≈": "\\approx ", "±": "\\pm ",
        "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}",
        "℃": "°C", "℉": "°F", "º": "°", "˚": "°",
        "½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "⅕": " 1/5", "⅖": " 2/5", "⅗": " 3/5",
        "⅘": " 4/5", "⅙": " 1/6", "⅚": " 5/6", "⅛": " 1/8", "⅜": " 3/8", "⅝": " 5/8", "⅞": " 7/8",
    }.items()
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")

_FRAC = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_FRAC_BARE = re.compile(
    r"\\frac\s*(?:\{([^{}]*)\}|(\\[a-zA-Z]+|[\da-zA-Z]))\s*(?:\{([^{}]*)\}|(\\[a-zA-Z]+|[\da-zA-Z]))"
)
_SIZE = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|mathstrut)(?![a-zA-Z])\s*\.?")
_NEGATIVE_SPACE = re.compile(r"\\!|\{\}")
_SPACE = re.compile(r"(?<!\\)\\[,;:> ]|\\(?:quad|qquad|thinspace|hspace\*?\{[^{}]*\}|phantom\{[^{}]*\})(?![a-zA-Z])|~")
_GROUP = re.compile(r"(?<=\d)\{,\}(?=\d)|(?<=\d),(?:\\!|\\ |\{\})+\s*(?=\d{3})|(?<=\d)\\,(?=\d{3}(?!\d))")
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|normal)|mbox|hbox|operatorname\*?|bm|boldsymbol|emph)"
    r"\s*\{([^{}]*)\}"
)
_DEGREE = re.compile(
    r"\^\s*(?:\{\s*(?:\\circ|°|\\degree|o)\s*\}|\\circ(?![a-zA-Z])|°)|\\degree(?![a-zA-Z])|\\textdegree"
)
_DELIMITERS = re.compile(r"(?<!\\)(?:\$+|\\[()\[\]])")
_RELATION = re.compile(r"\\(leqslant|leq|le|geqslant|geq|ge|neq|ne|lt|gt)(?![a-zA-Z])")
_RELATIONS = {
    "leqslant": "\\le ",
    "leq": "\\le ",
    "geqslant": "\\ge ",
    "geq": "\\ge ",
    "neq": "\\ne ",
    "lt": "<",
    "gt": ">",
}
_ROOT = re.compile(r"(?:√|(?<![\\a-zA-Z])sqrt)\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[a-z](?![a-z])))")
_TIMES = re.compile(r"(?<=\d) [xX] (?=\d)")
_POWER = re.compile(r"(?<=[\w)}])\s?\*\*\s?(?=[\w({-])")
_PI = re.compile(r"(?<![\\a-zA-Z])(pi|infinity)(?![a-zA-Z])")
_BLANKS = re.compile(r"\s+")
_TIGHT = re.compile(r"\s*([-+*/=<>^_(){}\[\];:|])\s*")
_LIST_COMMA = re.compile(r"\s*,(?:\s+|(?!\d{3}(?!\d)))")
_SIMPLE_BRACES = re.compile(r"([\^_])\{([\da-zA-Z])\}")
_AFTER_COMMAND = re.compile(r"(\\[a-zA-Z]+) (?=[^a-zA-Z])")


def plain_characters(text: str) -> str:
    """The same text with full-width characters, odd spaces, minus signs and quotes replaced by the ASCII ones."""
    return text if text.isascii() else _ODD.sub(lambda match: _CHARACTERS[ord(match.group())], text)


def latex(text: str) -> str:
    r"""One expression in plain LaTeX: no delimiters, sizes, spacing commands, text styles or Unicode symbols.

    `12,\!000` and `12{,}000` become `12,000`, `\dfrac12` becomes `\frac{1}{2}`, `\text{ cm}` becomes ` cm`,
    `90^\circ` becomes `90°`, `x²` becomes `x^{2}`.
    """
    text = plain_characters(text)
    if "√" in text or "sqrt" in text:
        text = _ROOT.sub(
            lambda match: "\\sqrt{" + (match.group(1) or match.group(2) or match.group(3) or "") + "}", text
        )
    if not text.isascii():
        text = _SUPERSCRIPT.sub(lambda match: "^{" + match.group().translate(_SUPERSCRIPTS) + "}", text)
        text = text.translate(_SYMBOLS)
    if "\\\\" in text and "\\begin" not in text:
        text = text.replace("\\\\", "\\")
    if "\\" in text or "$" in text or "{," in text:
        text = _GROUP.sub(lambda match: "," if "," in match.group() else "", text)
        text = _NEGATIVE_SPACE.sub("", text)
        text = _DEGREE.sub("°", text.replace("\\%", "%").replace("\\$", "\\USD "))
        text = _DELIMITERS.sub(" ", text).replace("\\USD ", "$")
        text = _SPACE.sub(" ", _SIZE.sub("", text))
        previous = ""
        while previous != text and "{" in text:
            previous, text = text, _TEXT.sub(r" \1 ", text)
        text = _FRAC.sub(r"\\frac", text)
        text = _FRAC_BARE.sub(_braced_fraction, text)
        text = _RELATION.sub(lambda match: _RELATIONS.get(match.group(1), match.group()), text)
    text = _TIMES.sub(r" \\times ", text)
    text = _PI.sub(lambda match: "\\pi " if match.group() == "pi" else "\\infty ", _POWER.sub("^", text))
    return _BLANKS.sub(" ", text).strip().rstrip("\\")


def _braced_fraction(match: re.Match[str]) -> str:
    over = match.group(1) if match.group(1) is not None else match.group(2)
    under = match.group(3) if match.group(3) is not None else match.group(4)
    return "\\frac{" + over + "}{" + under + "}"


def key(expression: str) -> str:
    """What two spellings of the same expression share: no blanks around signs, no needless braces, no final period."""
    expression = _TIGHT.sub(r"\1", expression.strip().rstrip(".;,:?。 "))
    expression = _LIST_COMMA.sub(", ", _AFTER_COMMAND.sub(r"\1", expression))
    return _SIMPLE_BRACES.sub(r"\1\2", expression)


def split_top(expression: str, separators: str = ",;") -> list[str]:
    """The parts between separators that stand outside all brackets; a thousands comma (`1,000`) separates nothing."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(expression):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character in separators and depth <= 0 and not _is_thousands_comma(expression, index):
            parts.append(expression[start:index])
            start = index + 1
    parts.append(expression[start:])
    return [part.strip() for part in parts if part.strip()]


_BEFORE_COMMA = re.compile(r"(?:^|[^\d,.])\d{1,3}(?:,\d{3})*$")
_AFTER_COMMA = re.compile(r"\d{3}(?:,\d{3})*(?:\.\d+)?(?![\d])")


def _is_thousands_comma(expression: str, index: int) -> bool:
    return (
        expression[index] == ","
        and _AFTER_COMMA.match(expression, index + 1) is not None
        and _BEFORE_COMMA.search(expression, max(0, index - 40), index) is not None
    )


_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}")
_LONG_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}(?![a-zA-Z{])")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt frac dfrac max min "
    "gcd lcm mod det abs and or".split()
)


def is_prose(expression: str) -> bool:
    """True where words stand in an expression that are no function's name, so that no parser can read it."""
    return any(word not in _FUNCTIONS for word in _LONG_WORD.findall(_ENVIRONMENT.sub(" ", expression)))
