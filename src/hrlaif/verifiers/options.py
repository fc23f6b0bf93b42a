"""The options of a multiple-choice question: their letters and words, from a list or out of the question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from hrlaif.errors import DataError
from hrlaif.verifiers.notation import latex
from hrlaif.verifiers.quantity import Match, compare, quantity

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_UNKNOWN_OPTIONS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one question: the valid letters, and the words of each (empty where they are not given).

    `lettered` are those words that begin with a single letter themselves ("I only", "C major").
    """

    letters: str
    words: tuple[str, ...]
    have_small_letters: bool
    lettered: tuple[str, ...] = ()


_OPTION = re.compile(
    r"(?:^|(?<=\s))(?:\(([A-Z])\)|([A-Z])[).:、．](?=\s|[^\sa-zA-Z.]))[ \t]*(.*?)(?=\s+(?:\([A-Z]\)"
    r"|[A-Z][).:、．])\s|\n|$)",
    re.M,
)


@lru_cache(maxsize=4096)
def options_of(choices: tuple[str, ...], question: str) -> Options:
    """The options as listed, else those found in the question (`(A) ...`, `B. ...`), else ten unknown ones."""
    words = tuple(words_of(choice) for choice in choices)
    small = any(re.search(r"\([a-j]\)", choice) for choice in choices)
    if choices:
        return Options(_LETTERS[: len(choices)], words, small, _lettered(words))
    listed: list[str] = []
    for match in _OPTION.finditer(question[-8000:]):
        letter = match.group(1) or match.group(2)
        if letter == "A":
            listed = []
        if letter == _LETTERS[len(listed) : len(listed) + 1]:
            listed.append(match.group(3))
    if len(listed) < 2:
        return Options(_UNKNOWN_OPTIONS, (), False)
    small = any(re.search(r"\([a-j]\)", words) for words in listed)
    words = tuple(words_of(option) for option in listed)
    return Options(_LETTERS[: len(listed)], words, small, _lettered(words))


def _lettered(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(option for option in words if len(option) > 1 and re.match(r"i{1,3}\b|[a-z](?![a-z])", option))


_NOT_WORDS = re.compile(r"[^\w%°$+\-./=^<>\\{}()\[\]]+|[.,;:](?=\s|$)")
_ARTICLE = re.compile(r"^(?:the|a|an) ")


def words_of(text: str) -> str:
    """An option's words in the form in which they are compared."""
    flat = latex(text).casefold().replace("{", "").replace("}", "")
    return _ARTICLE.sub("", " ".join(_NOT_WORDS.sub(" ", flat).split()).strip(" ."))


@lru_cache(maxsize=4096)
def gold_letter(reference: str, options: Options) -> str:
    """The letter that a reference means: `B`, `(B)`, or the words of one option; else DataError."""
    letter = re.fullmatch(r"\W*([A-Za-z])\W*", latex(reference))
    if letter is not None:
        return letter.group(1).upper()
    same = [
        letter for letter, words in zip(options.letters, options.words, strict=False) if words == words_of(reference)
    ]
    if len(same) != 1:
        raise DataError(f"reference {reference!r} is neither a letter nor the words of one option. Give the letter.")
    return same[0]


_DENIED = re.compile(
    r"(?<![a-z])(?:not|no|never|neither|nor|except|incorrect|wrong|false|none|unlike|cannot)(?![a-z])|n't\b|不|非|没",
    re.I,
)


_CONTRAST = re.compile(r",?\s+(?:and\s+not|but\s+not|not|rather\s+than|instead\s+of)\s|(?:而不是|而非)", re.I)


def option_named(sentence: str, options: Options, *, is_exact: bool = False) -> str | None:
    """The letter of the one option that a sentence names in whole words, denying nothing."""
    if (same := option_of_words(sentence, options)) is not None:
        return same
    sentence = _CONTRAST.split(sentence, maxsplit=1)[0]
    words = words_of(sentence)
    if not words:
        return None
    value = quantity(sentence)
    if value is not None:
        values = [(letter, quantity(option)) for letter, option in zip(options.letters, options.words, strict=True)]
        equal = [letter for letter, other in values if other is not None and compare(other, value) is Match.SAME]
        return equal[0] if len(equal) == 1 else None
    if is_exact:
        return None
    inside = sorted(_inside(words, options), key=lambda item: -len(item[1]))
    kept: list[tuple[str, str]] = []
    rest = f" {words} "
    for letter, option in inside:
        if f" {option} " in rest:
            kept.append((letter, option))
            rest = rest.replace(f" {option} ", "  ")
    if len(kept) != 1 or _DENIED.search(rest):
        return None
    letter, option = kept[0]
    if len(option) <= 3 and not re.search(rf"(?:\b(?:is|are|was|be|equals)|=|:) (?:\w+ )?{re.escape(option)}$", words):
        return None
    return letter


def option_of_words(text: str, options: Options) -> str | None:
    """The letter of the one option whose words are the whole text."""
    words = words_of(text)
    same = [letter for letter, option in zip(options.letters, options.words, strict=True) if option == words]
    return same[0] if len(same) == 1 else None


def _inside(words: str, options: Options) -> Iterator[tuple[str, str]]:
    padded = f" {words} "
    for letter, option in zip(options.letters, options.words, strict=True):
        if option and f" {option} " in padded:
            yield letter, option
