"""What a text must not be if it is to win a pair: rules on the text alone, before a judge is paid to read it."""

from __future__ import annotations

import dataclasses
import re

from hrlaif.judges.surface import is_gibberish, is_sure_refusal
from hrlaif.metrics.duplicates import normalised, similarity
from hrlaif.types import Finish, Response

COPY = 0.6  # similarity from which a rewrite is the same text again
_META = re.compile(
    r"^\W*(?:(?:sure|certainly|of course|okay|ok|absolutely|yes)\b\W*)?"
    r"(?:(?:here(?:'s| is| are)|below is|this is)\b.{0,40}\b(?:revis|rewrit|rephras|improved|safe|better|alternative)"
    r"|(?:the )?(?:revised|rewritten|improved|new|safe|final)?\s*(?:response|rewrite|answer|version)\s*:)"
    r"|^\W*(?:好的\W*)?(?:以下|下面)是.{0,12}(?:修改|改写|重写|回答|回复)|^\W*(?:修改后|改写后|重写后)",
    re.IGNORECASE,
)
_TALKS_OF_THE_TASK = re.compile(
    r"\b(?:original|revised|rewritten|harmful|previous) (?:response|answer|reply|rewrite)\b"
    r"|\bthe (?:principle|critique)\b"
    r"|原(?:来的)?(?:回答|回复)|改写|批评意见|\[/?[a-z]{8}\]",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"\b(?:as an?|i(?:'| a)m (?:just |only )?an?) (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|\bmy programming\b|作为一?(?:个|名)?(?:人工智能|AI|语言模型)",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"^\s*(?:[\[{]|```|</?\w)")
_FREQUENT_STEMS = (
    "about after also been being could does from give have help here into just like make more must need only other "
    "shoul some such tell than that their them then there these they this want what when where which while will with "
    "would write your"
)
_FREQUENT = frozenset(_FREQUENT_STEMS.split())
_WORD = re.compile(r"[^\W\d_]{4,}")
_HAN = re.compile("[\u3400-\u9fff]{2}")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)[\"')]?|[。！？][”」』]?")
KEPT = 0.5  # share of a cut-off text that its whole sentences must make up
_STEM = 5  # letters by which two forms of a word are taken as one


def wrong_with_text(text: str) -> str | None:
    """Why this text can never be a chosen response, None if nothing speaks against it."""
    if not text.strip():
        return "empty"
    if _MARKUP.match(text):
        return "markup"
    if is_gibberish(text):
        return "gibberish"
    if is_sure_refusal(text):
        return "bare refusal"
    if _META.search(text) or _TALKS_OF_THE_TASK.search(text):
        return "meta"
    return "boilerplate" if _BOILERPLATE.search(text) else None


def wrong_with_rewrite(text: str, *, request: str, rejected: str, ratios: tuple[float, float]) -> str | None:
    """Why this text can be no rewrite of `rejected`, None if nothing speaks against it.

    `ratios` are the least and the greatest length in characters, as shares of the rejected text's length.
    """
    if reason := wrong_with_text(text):
        return reason
    if similarity(text, rejected) >= COPY or f" {normalised(rejected)} " in f" {normalised(text)} ":
        return "copy"
    if not ratios[0] <= len(text) / max(1, len(rejected)) <= ratios[1]:
        return "length"
    return None if shares_a_word(text, request) or shares_a_word(text, rejected) else "off topic"


def shares_a_word(first: str, second: str) -> bool:
    """Whether two texts share a word of at least four letters (by its first five) or two Chinese characters in a row.

    A floor, not a test of topic: what shares nothing is about something else, or in another language.
    """
    return bool(_stems(first) & _stems(second))


def _stems(text: str) -> set[str]:
    words = {word.casefold()[:_STEM] for word in _WORD.findall(text)} - _FREQUENT
    pairs = {text[start : start + 2] for start in range(len(text) - 1) if _HAN.match(text, start)}
    return words | pairs


def ended(response: Response) -> Response | None:
    """The response, cut back to its last whole sentence where the token limit cut it off.

    None where that would lose more than half of it, or where the call failed: such a text cannot be chosen.
    """
    if response.finish is Finish.STOP:
        return response
    ends = [match.end() for match in _SENTENCE_END.finditer(response.text)]
    if response.finish is Finish.FAILED or not ends or ends[-1] < KEPT * len(response.text):
        return None
    return dataclasses.replace(response, text=response.text[: ends[-1]])
