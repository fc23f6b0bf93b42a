"""The options of a multiple-choice question: their letters and words, from a list or out of the question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from hrlaif.errors import DataError
from hrlaif.verifiers.notation import latex

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
