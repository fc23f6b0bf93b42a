"""Does a response's final answer equal the reference of a MATH prompt? Read, compare exactly, then symbolically."""

from __future__ import annotations

import re
from collections.abc import Callable

from hrlaif.types import Finish, Outcome
from hrlaif.verifiers import solver
from hrlaif.verifiers.notation import is_prose, key, latex, split_top
from hrlaif.verifiers.quantity import Match, Quantity, compare, quantity
from hrlaif.verifiers.reading import read_answer, reference_value

Relate = Callable[[str, str], Match]


def verify_math(
    reference: str, text: str, *, finish: Finish = Finish.STOP, relate: Relate | None = None
) -> tuple[Outcome, str | None]:
    r"""The outcome for one response, and the final answer that was found in it.

    The last committed answer counts: a \boxed one, "the answer is 12", "#### 12", "A: 12", 答案是12, else the closing
    sentence. UNREADABLE, with None: no final answer (cut off, refused, empty) or two that contradict each other.
    UNREADABLE, with the answer: neither its equality nor its difference could be shown.

    Args:
        reference: The final answer only; a sentence or solution that holds it in a box is read like a response.
        text: The response.
        finish: LENGTH makes an answer that touches the end of the text unreadable, since it may be cut.
        relate: Symbolic comparison of two expressions that are not plain quantities; by default the process's own
            worker with its time limit (`solver.shared`).
    """
    answer = read_answer(text, finish=finish)
    if answer is None:
        return Outcome.UNREADABLE, None
    gold = reference_value(reference)
    relate = relate or solver.shared().relate
    match = _match_values(gold, answer.values, relate)
    if match is None:
        return Outcome.UNREADABLE, None
    found = ", ".join(answer.values)
    if match is Match.SAME:
        return Outcome.CORRECT, found
    is_wrong = match is Match.DIFFERENT and answer.is_certain
    return (Outcome.WRONG if is_wrong else Outcome.UNREADABLE), found


_SYMBOL = r"(?:\\(?:angle|triangle|overline|vec)\s*\{?\w+\}?|\\[a-zA-Z]+|[a-zA-Z]{1,4})(?:_\{?\w{1,6}\}?)?'*"
_NAME = re.compile(
    rf"^\s*(?:\|?{_SYMBOL}\|?(?:\s*\(\s*[\w, ]{{1,9}}\))?(?:\s*[:/]\s*{_SYMBOL})*"
    rf"|\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z]){{1,3}}\s*\))\s*(?:=|\\in(?![a-z]))\s*"
)
_UNKNOWN = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z](?![a-zA-Z])")
_APPROXIMATE = re.compile(r"\s*(?:\\approx|≈|\\simeq|\\sim|≒)\s*")
_NO_NUMBER = re.compile(
    r"(?:there (?:is|are) )?(?:no(?: real| such| integer)?(?: solutions?| answer| numbers?| values?)?|none|undefined"
    r"|impossible|never|(?:it )?does not exist|dne|infinite(?:ly many)?|infinity|yes|true|false|even|odd|always)"
    r"(?: solutions?)?|无解|不存在|不可能",
    re.I,
)
_ORDINAL = re.compile(r"\d(?:st|nd|rd|th)\b")
_UNIT_WORDS = re.compile(
    r"\s+(?:(?:square|cubic|sq\.?)\s+)?(?:units?|radians?|rad|degrees?|cm|mm|km|in|ft|inch(?:es)?|feet|foot|yards?|miles?"
    r"|(?:centi|milli|kilo)?met(?:er|re)s?|dollars?|seconds?|minutes?|hours?|days?)(?:\s*\^\s*\{?[23]\}?)?$"
)
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_BASE = re.compile(r"^\s*\(?([\da-zA-Z]+)\)?_\{?(\d{1,2})\}?\s*$")
_LETTER = re.compile(r"^\s*\(?\s*([A-Za-z])\s*\)?\s*[.:]?\s*$")
_LETTERED = re.compile(r"^\s*\(?([A-Z])(?:\)|[.:])\s*(?=\S)")
_PURE_WORDS = re.compile(r"(?:[a-zA-Z]{3,}|no|is|of|to|an?)(?:[ \-']+(?:[a-zA-Z]+))*|[\u4e00-\u9fff]+")
_BRACKETS = {"(": ")", "[": "]", "\\{": "\\}"}
_OR = re.compile(r"\s*(?<![a-zA-Z\\])or(?![a-zA-Z])\s*|\s*或\s*")
_LIST_WORD = re.compile(
    r"\s*(?:,\s*)?(?:\\text\s*\{\s*)?(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])(?:\s*\})?\s*|\s*[和或、]\s*"
)


def _match_values(gold: str, values: tuple[str, ...], relate: Relate) -> Match | None:
    """None where several values contradict each other and the reference is not the list of them."""
    if len(values) == 1:
        return match_value(gold, values[0], relate)
    is_list = len(_list_parts(latex(gold))) == len(values)
    whole = match_value(gold, ", ".join(values), relate) if is_list else None
    if whole is Match.SAME:
        return Match.SAME
    each = [match_value(gold, value, relate) for value in values]
    if all(match is Match.SAME for match in each):
        return Match.SAME
    if whole is None and _is_list(latex(gold)) and match_value(gold, ", ".join(values), relate) is Match.SAME:
        return Match.SAME
    if all(match_value(values[0], value, relate) is Match.SAME for value in values[1:]):
        return each[0]
    return Match.DIFFERENT if is_list else None


def match_value(reference: str, found: str, relate: Relate) -> Match:
    """How a bare answer relates to the reference: by spelling, by exact quantity, part by part, then symbolically."""
    left, right = _prepared(reference), _prepared(found)
    if not left or not right:
        return Match.UNKNOWN
    if key(left) == key(right):
        return Match.SAME
    decided = _match_plain(left, right)
    if decided is not None:
        return decided
    if _OR.search(right) and not _is_list(left):
        parts = [match_value(left, part, relate) for part in _OR.split(right) if part.strip()]
        return parts[0] if len(set(parts)) == 1 else Match.UNKNOWN
    if (match := _match_parts(left, right)) is not None:
        return match
    left, right = _without_unit(left), _without_unit(right)
    if any(is_prose(text) and re.search(r"[\d\\=]", text) for text in (left, right)):
        return Match.UNKNOWN
    return relate(left, right)


def _prepared(text: str) -> str:
    text = latex(text)
    parts = _APPROXIMATE.split(text)
    if len(parts) > 1:
        text = parts[0] if not _NAME.fullmatch(parts[0] + "=") else parts[1]
    return text.lstrip(" ,;:*").rstrip(" .,;:*")


def _without_unit(text: str) -> str:
    return _UNIT_WORDS.sub("", text) if "\\" in text else text


def _match_plain(left: str, right: str) -> Match | None:
    """Quantities, words, letters and numbers in a base; None where either side is something else."""
    names = _NAME.match(left), _NAME.match(right)
    if (names[0] is None) != (names[1] is None):
        left, right = _NAME.sub("", left), _NAME.sub("", right)
        if key(left) == key(right):
            return Match.SAME
    elif names[0] and names[1] and key(names[0].group()) == key(names[1].group()):
        left, right = left[names[0].end() :], right[names[1].end() :]
    if (_DECIMAL_COMMA.fullmatch(left) or _DECIMAL_COMMA.fullmatch(right)) and left.replace(",", ".") == right.replace(
        ",", "."
    ):
        return Match.SAME
    ours, theirs = _last_quantity(left), _last_quantity(right)
    if ours is not None and theirs is not None:
        return compare(ours, theirs)
    if _ORDINAL.search(left) or _ORDINAL.search(right):
        return Match.UNKNOWN
    bases = _BASE.match(left), _BASE.match(right)
    if bases[0] or bases[1]:
        return _match_bases(bases[0], bases[1], left, right)
    letters = _LETTER.match(left), _LETTER.match(right) or _LETTERED.match(right)
    if letters[0] and letters[1]:
        same = letters[0].group(1) == letters[1].group(1)
        return Match.SAME if same else Match.DIFFERENT
    is_words = bool(_PURE_WORDS.fullmatch(left)), bool(_PURE_WORDS.fullmatch(right))
    if all(is_words):
        return _match_words(left, right)
    if ours is not None and is_words[1]:
        return Match.DIFFERENT if _NO_NUMBER.fullmatch(right) else Match.UNKNOWN
    return None


def _last_quantity(text: str) -> Quantity | None:
    r"""The quantity of `12`, or of the last part of a chain without unknowns, `3 \cdot 4 = 12`."""
    value = quantity(text)
    if value is None and "=" in text and len(split_top(text)) == 1 and not _UNKNOWN.search(_NAME.sub("", text)):
        value = quantity(text.rpartition("=")[2])
    return value


def _match_bases(left: re.Match[str] | None, right: re.Match[str] | None, ours: str, theirs: str) -> Match:
    if left is None or right is None:
        plain = quantity(theirs if right is None else ours)
        based = left or right
        if plain is None or based is None or not based.group(1).isdigit():
            return Match.UNKNOWN
        digits, base = based.group(1), int(based.group(2))
        is_near = plain.value in (int(digits), _in_base(digits, base))
        return Match.UNKNOWN if is_near else Match.DIFFERENT
    values = _in_base(left.group(1), int(left.group(2))), _in_base(right.group(1), int(right.group(2)))
    same = values[0] == values[1] if None not in values else key(ours) == key(theirs)
    return Match.SAME if same else Match.DIFFERENT


def _in_base(digits: str, base: int) -> int | None:
    try:
        return int(digits, base)
    except ValueError:
        return None


def _match_words(left: str, right: str) -> Match:
    ours, theirs = (" ".join(re.sub(r"\b(?:the|a|an)\b", " ", text.casefold()).split()) for text in (left, right))
    if ours == theirs:
        return Match.SAME
    return Match.DIFFERENT if len(ours.split()) == len(theirs.split()) == 1 and len(ours) > 1 else Match.UNKNOWN


def _match_parts(left: str, right: str) -> Match | None:
    """Tuples, intervals, sets and lists whose parts are quantities or spelled alike; None where a part is neither."""
    ours, theirs = _parts(left), _parts(right)
    if ours is None or theirs is None or ours[0] != theirs[0]:
        return None
    if len(ours[1]) != len(theirs[1]):
        return Match.DIFFERENT if all(quantity(part) for part in ours[1] + theirs[1]) else None
    is_ordered = ours[0][0] in ("(", "[")
    results = [[_match_part(one, other) for other in theirs[1]] for one in ours[1]]
    if any(match is None for row in results for match in row):
        return None
    if is_ordered:
        diagonal = [row[index] for index, row in enumerate(results)]
    else:
        diagonal = [Match.SAME if row.count(Match.SAME) == 1 else Match.DIFFERENT for row in results]
        columns = [[row[index] for row in results].count(Match.SAME) == 1 for index in range(len(results))]
        if any(Match.UNKNOWN in row for row in results) or not all(columns):
            return None if any(Match.UNKNOWN in row for row in results) else Match.DIFFERENT
    if Match.DIFFERENT in diagonal:
        return Match.DIFFERENT
    return Match.UNKNOWN if Match.UNKNOWN in diagonal else Match.SAME


def _list_parts(text: str) -> list[str]:
    return split_top(_LIST_WORD.sub(", ", text))


def _is_list(text: str) -> bool:
    return len(_list_parts(text)) > 1 or text[:1] in "([{" or text[:2] == "\\{" or "\\pm" in text


def _match_part(left: str, right: str) -> Match | None:
    if key(left) == key(right):
        return Match.SAME
    ours, theirs = quantity(left), quantity(right)
    return compare(ours, theirs) if ours is not None and theirs is not None else None


def _parts(text: str) -> tuple[tuple[str, str], list[str]] | None:
    """((opening, closing), parts) of a bracketed or bare list of at least two parts."""
    text = _LIST_WORD.sub(", ", text.strip())
    for opening, closing in (("(", ")"), ("(", "]"), ("[", ")"), ("[", "]"), ("\\{", "\\}")):
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening + closing):
            inner = text[len(opening) : -len(closing)]
            parts = split_top(inner)
            if len(parts) > 1 and not any(character in "()[]" for character in inner):
                return (opening, closing), parts
            break
    parts = split_top(text)
    return (("", ""), parts) if len(parts) > 1 else None
