"""Words of a text in any script, and how varied the words of many texts are."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Chinese and Japanese are written without spaces: there, each character counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+(?:['’][^\\W{_UNSPACED}]+)*")


def words(text: str) -> list[str]:
    """The text's words: runs of letters and digits, and each Chinese or Japanese character; no punctuation."""
    return _WORD.findall(text)


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Different n-grams of words divided by all n-grams of all texts, 0..1; NaN where no text has n words.

    It falls as text is added, so compare only collections of the same prompts and similar length. Low values show a
    policy that repeats itself.
    """
    grams = []
    for text in texts:
        row = [word.lower() for word in words(text)]
        grams += [tuple(row[start : start + n]) for start in range(len(row) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")
