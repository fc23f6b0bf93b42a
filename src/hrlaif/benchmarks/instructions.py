"""IFEval's 25 verifiable instructions: each a function of the response and of the row's own arguments.

After Zhou et al., "Instruction-Following Evaluation for Large Language Models" (arXiv:2311.07911): the same ids and
argument names as in its published file. Sentences, words and languages are told apart by rules of our own, where the
authors use nltk and langdetect.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence

from hrlaif.benchmarks.languages import language_of
from hrlaif.errors import DataError

Check = Callable[..., bool]
_RELATIONS = {"less than": operator.lt, "at least": operator.ge}
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_ABBREVIATED = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|No|Inc|[A-Z])\.$")
_END_OF_SENTENCE = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|[。！？]+|\n\s*\n")
_WORD = re.compile(r"\w+")


def _holds(found: int, relation: str, wanted: int) -> bool:
    if relation not in _RELATIONS:
        raise DataError(f"relation {relation!r} is none of {', '.join(_RELATIONS)}")
    return bool(_RELATIONS[relation](found, int(wanted)))


def _occurrences(text: str, pattern: str) -> int:
    return len(re.findall(pattern, text, re.IGNORECASE))


def existence(text: str, *, keywords: Sequence[str]) -> bool:
    """Every keyword occurs."""
    return all(_occurrences(text, re.escape(keyword)) for keyword in keywords)


def frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """A keyword occurs that often."""
    return _holds(_occurrences(text, re.escape(keyword.strip())), relation, frequency)


def forbidden_words(text: str, *, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs as a whole word."""
    return not any(_occurrences(text, rf"\b{re.escape(word)}\b") for word in forbidden_words)


def letter_frequency(text: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """A letter occurs that often, in either case."""
    return _holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def response_language(text: str, *, language: str) -> bool:
    """The response is in that language."""
    return language_of(text) == language


def number_sentences(text: str, *, num_sentences: int, relation: str) -> bool:
    """That many sentences."""
    return _holds(len(sentences(text)), relation, num_sentences)


def sentences(text: str) -> list[str]:
    """Parts that end in a full stop, a question or an exclamation mark, or an empty line, and hold a word."""
    parts, start = [], 0
    for end in _END_OF_SENTENCE.finditer(text):
        if not _ABBREVIATED.search(text[start : end.end()]):
            parts.append(text[start : end.end()])
            start = end.end()
    return [part for part in (*parts, text[start:]) if _WORD.search(part)]


def number_paragraphs(text: str, *, num_paragraphs: int) -> bool:
    """That many paragraphs with `***` between them, none of them empty."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1]
    return all(inner) and sum(map(bool, parts)) == int(num_paragraphs)


def number_words(text: str, *, num_words: int, relation: str) -> bool:
    """That many words."""
    return _holds(len(_WORD.findall(text)), relation, num_words)


def nth_paragraph_first_word(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """That many paragraphs with an empty line between them, one of which begins with a given word."""
    parts = text.split("\n\n")
    if sum(bool(part.strip()) for part in parts) != int(num_paragraphs) or not 0 < int(nth_paragraph) <= len(parts):
        return False
    begun = parts[int(nth_paragraph) - 1].split()
    word = re.match(r"[^.,?!'\"]*", begun[0].lstrip("'\"")) if begun else None
    return word is not None and word[0].lower() == first_word.lower()


def number_placeholders(text: str, *, num_placeholders: int) -> bool:
    """At least that many placeholders in square brackets."""
    return len(re.findall(r"\[.*?\]", text)) >= int(num_placeholders)


def postscript(text: str, *, postscript_marker: str) -> bool:
    """A postscript after its marker."""
    spelled = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
    pattern = spelled.get(postscript_marker, re.escape(postscript_marker.lower()))
    return re.search(pattern, text.lower()) is not None


def number_bullet_lists(text: str, *, num_bullets: int) -> bool:
    """Exactly that many bullet points, each begun with `*` or `-`."""
    stars = re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", text, re.MULTILINE)
    return len(stars) + len(dashes) == int(num_bullets)


def constrained_response(text: str) -> bool:
    """One of the three answers that may be given."""
    return any(answer in text for answer in _CONSTRAINED)


def number_highlighted_sections(text: str, *, num_highlights: int) -> bool:
    """At least that many *highlighted* parts."""
    found = (*re.findall(r"\*[^\n*]*\*", text), *re.findall(r"\*\*[^\n*]*\*\*", text))
    return sum(bool(part.strip("*").strip()) for part in found) >= int(num_highlights)


def multiple_sections(text: str, *, section_spliter: str, num_sections: int) -> bool:
    """At least that many sections, each headed by the given word and a number."""
    return len(re.split(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) - 1 >= int(num_sections)


def json_format(text: str) -> bool:
    """The whole response is JSON, which may stand in a code block."""
    inner = re.sub(r"^```(?:json)?", "", text.strip(), flags=re.IGNORECASE).removesuffix("```").strip()
    try:
        json.loads(inner)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """A title in <<double angular brackets>>."""
    return any(found.strip("<>").strip() for found in re.findall(r"<<[^\n]+>>", text))


def two_responses(text: str) -> bool:
    """Two different responses with six asterisks between them."""
    parts = [part.strip() for part in text.split("******")]
    said = [part for part in parts if part]
    return all(parts[1:-1]) and len(said) == 2 and said[0] != said[1]


def repeat_prompt(text: str, *, prompt_to_repeat: str) -> bool:
    """The request is repeated first."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, *, end_phrase: str) -> bool:
    """The response ends with a phrase."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    """The whole response stands in double quotation marks."""
    inner = text.strip()
    return len(inner) > 1 and inner.startswith('"') and inner.endswith('"')


def capital_word_frequency(text: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """That many words all in capitals."""
    words = re.findall(r"\w+(?:[-']\w+)*", text)
    return _holds(sum(word.isupper() for word in words), capital_relation, capital_frequency)


def english_capital(text: str) -> bool:
    """English, all in capitals."""
    return text.isupper() and language_of(text) in ("en", None)


def english_lowercase(text: str) -> bool:
    """English, without capitals."""
    return text.islower() and language_of(text) in ("en", None)


def no_comma(text: str) -> bool:
    """No comma."""
    return "," not in text


CHECKS: dict[str, Check] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
