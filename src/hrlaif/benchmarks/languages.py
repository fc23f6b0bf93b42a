"""Which language a text is in: by its script, and among languages of one script by their commonest words and letters.

Made for whole responses of a sentence or more in the 30 languages that IFEval asks for; it has no dependency and
does not guess: a text that shows nothing of any language has none.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib import resources

# Ranges of code points, and the languages written in them; the first of each is what the script alone says.
_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("A-Za-z\u00c0-\u024f\u1e00-\u1eff", "latin"),
    ("\u0400-\u04ff", "cyrillic"),
    ("\u0600-\u06ff\u0750-\u077f\ufb50-\ufeff", "arabic"),
    ("\u0900-\u097f", "devanagari"),
    ("\u0590-\u05ff", "he"),
    ("\u0980-\u09ff", "bn"),
    ("\u0a00-\u0a7f", "pa"),
    ("\u0a80-\u0aff", "gu"),
    ("\u0b80-\u0bff", "ta"),
    ("\u0c00-\u0c7f", "te"),
    ("\u0c80-\u0cff", "kn"),
    ("\u0d00-\u0d7f", "ml"),
    ("\u0e00-\u0e7f", "th"),
    ("\u0370-\u03ff", "el"),
    ("\u1100-\u11ff\uac00-\ud7af", "ko"),
    ("\u3040-\u30ff", "ja"),
    ("\u4e00-\u9fff", "zh"),
)
_PATTERNS = tuple((re.compile(f"[{ranges}]"), script) for ranges, script in _SCRIPTS)
# Japanese is written with Chinese characters too: this share of kana tells it apart.
_KANA_SHARE = 0.1
# Combining vowel signs are no word characters to `\w`, so words are what stands between spaces and marks.
_BETWEEN_WORDS = re.compile(r"[\s.,;:!?\"'()\[\]{}<>*_#/\\|।،؛؟۔«»“”„–—-]+|\d+")


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the text's language, None where nothing says which."""
    counts = Counter({script: len(pattern.findall(text)) for pattern, script in _PATTERNS})
    script, letters = counts.most_common(1)[0]
    if not letters:
        return None
    if script in ("zh", "ja"):
        return "ja" if counts["ja"] >= _KANA_SHARE * (counts["ja"] + counts["zh"]) else "zh"
    languages = _words().get(script)
    if languages is None:
        return script
    said = [word for word in _BETWEEN_WORDS.split(text.lower()) if word]
    found = {code: _score(said, words, marks) for code, (words, marks) in languages.items()}
    best = max(found, key=lambda code: found[code])
    return best if found[best] else None


def _score(said: list[str], words: frozenset[str], marks: frozenset[str]) -> int:
    """Words that are among a language's commonest, and words with a letter that the others of its script lack."""
    return sum((word in words) + bool(marks & set(word)) for word in said)


@cache
def _words() -> dict[str, dict[str, tuple[frozenset[str], frozenset[str]]]]:
    """By script and language: its commonest words, and its own letters (after `|`)."""
    found: dict[str, dict[str, tuple[frozenset[str], frozenset[str]]]] = {}
    for line in resources.files("hrlaif.benchmarks").joinpath("languages.txt").read_text("utf-8").splitlines():
        place, _, rest = line.partition(":")
        script, _, code = place.partition(" ")
        words, _, marks = rest.partition("|")
        found.setdefault(script, {})[code] = (frozenset(words.split()), frozenset(marks.strip()))
    return found
