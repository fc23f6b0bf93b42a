"""Does a response's final answer equal the reference of a SHORT prompt: yes or no, a name, a number, a list?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache

from hrlaif.types import Finish, Outcome
from hrlaif.verifiers.notation import latex
from hrlaif.verifiers.quantity import Match, Quantity, compare, quantity
from hrlaif.verifiers.reading import said_value
from hrlaif.verifiers.statement import (
    Commitment,
    clean,
    closing_sentences,
    commitments,
    is_refusal,
    is_revised,
    last_statement,
)

_YES = frozenset("yes true yeah yep correct 是 是的 对 对的 正确 真 成立".split())
_NO = frozenset("no false nope incorrect 否 不 不是 不对 错 错误 不正确 假 不成立".split())
_POLAR = re.compile(
    r"(?:(?P<word>yes|no|true|false|yeah|yep|nope|correct|incorrect)\b|(?P<zh>是的|不是|不对|不正确|不成立|错误|对的|正确|成立|是|否"
    r"|对|错|真|假))"
    r"(?P<next>\s*(?:[.,;:!。、)\n]|$|\s-|\s+because\b|\s+since\b|\s+as\b))",
    re.I,
)
_VERDICT = re.compile(
    r"\b(?:statement|claim|sentence|argument|proposition|it|that|this)\s+(?:is|was)\s+(?:therefore\s+|thus\s+"
    r"|indeed\s+)?(not\s+)?"
    r"(true|false|correct|incorrect)\W*$",
    re.I,
)
_EMPHASIS = re.compile(r"\*\*|__|`|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)")
_ARTICLES = frozenset(("a", "an", "the"))
_SYMBOLS_KEPT = "+#%&$€£¥°"
_BRACKETED = re.compile(r"\s*[(\[（][^()\[\]（）]*[)\]）]")
_LEAD = re.compile(
    r"^(?:(?:that|it is|it's|it was|they are|they were|he is|she is|probably|likely|simply|just|indeed"
    r"|definitely|clearly|called|named|known as|"
    r"therefore|thus|so|then|in|on|at)\b[\s,:]*|[\s:\"'*_\-])+",
    re.I,
)
_CLAUSE = re.compile(
    r"[,;]\s+(?=[a-z])|\s+(?:because|since|which|who|whose|where|when|while|although|but|so that|as (?=the|it"
    r"|he|she|they|this)|i\.e\.)\s|\s+[-]{1,2}\s+|[,，;；]",
)
_COPULA = re.compile(r"\b(?:is|was|are|were|called|named|as|equals)\b\s*:?|[是为叫]", re.I)
_INTERJECTION = re.compile(r"^\W*(?:no|yes|well|so|thus|therefore|hence|indeed)\s*[,:]\s*", re.I)
_LINK = re.compile(r"\b(?:is|was|are|were)\b|是|为")
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|no|isn't|wasn't|aren't|weren't|doesn't|didn't|cannot|can't|except|rather than"
    r"|instead of)\b|n't\b|不|非|没",
    re.I,
)
_STOP = (
    frozenset(
        "is was are were be been it this that of in on at to by for and who which what where when "
        "did do does has had have".split()
    )
    | _ARTICLES
)
_JOIN = frozenset(("and", "then", "和", "与"))


def verify_short(
    reference: str, text: str, *, question: str = "", finish: Finish = Finish.STOP
) -> tuple[Outcome, str | None]:
    """The outcome for one response, and the final answer that was found in it.

    Case, articles, accents, punctuation and character width do not count; the order of a list does. A name is CORRECT
    only if nothing but the reference is named, and WRONG only if it shares nothing with it: what lies between (an
    alias, a longer name, two alternatives) is UNREADABLE.

    Args:
        reference: The final answer only.
        text: The response.
        question: Lets a closing sentence that restates the question ("Paris is the capital of France") count.
        finish: LENGTH makes an answer that touches the end of the text unreadable, since it may be cut.
    """
    text = _EMPHASIS.sub("", clean(unicodedata.normalize("NFKC", text) if not text.isascii() else text))
    if not text or finish is Finish.FAILED:
        return Outcome.UNREADABLE, None
    is_cut = finish is Finish.LENGTH
    found = [commitment for commitment in commitments(text) if commitment.is_whole or not is_cut]
    if found and is_revised(text, found[-1].end):
        text, found = text[found[-1].end :], []
    if found:
        return _announced(reference, last_statement(found, text))
    if is_cut or is_refusal("\n".join(closing_sentences(text, 2))):
        return Outcome.UNREADABLE, None
    return _closing(reference, text, question)


def _announced(reference: str, statement: list[Commitment]) -> tuple[Outcome, str | None]:
    results = []
    for commitment in statement:
        body = latex(commitment.body) if "\\" in commitment.body else commitment.body
        is_denied = commitment.is_negated and _polarity(body) is None
        results.append((_negated if is_denied else _match)(reference, body))
    body = statement[-1].body.strip().rstrip(".。")
    if is_refusal(body):
        return Outcome.UNREADABLE, None
    if len(set(results)) > 1:
        whole = _match(reference, ", ".join(commitment.body for commitment in statement))
        return (Outcome.CORRECT, body) if whole is Match.SAME else (Outcome.UNREADABLE, None)
    return _outcome(results[-1]), body


def _negated(reference: str, body: str) -> Match:
    """Of "the answer is not X": wrong where X is the reference, nothing known otherwise."""
    denied = re.sub(r"^\s*(?:not|neither|不是|并非)\s*", "", body, flags=re.I)
    return Match.DIFFERENT if _match(reference, denied) is Match.SAME else Match.UNKNOWN


def _outcome(match: Match) -> Outcome:
    return {Match.SAME: Outcome.CORRECT, Match.DIFFERENT: Outcome.WRONG}.get(match, Outcome.UNREADABLE)


# ---- comparing ----


def _match(reference: str, body: str) -> Match:
    """How what follows "the answer is" relates to the reference."""
    if not re.search(r"\w", reference):
        return _match_symbols(reference, body)
    gold = _polarity(reference)
    if gold is not None:
        found = _polarity(body) if len(body) < 12 else None
        found = _leading_polarity(body) if found is None else found
        return Match.UNKNOWN if found is None else Match.SAME if found is gold else Match.DIFFERENT
    number = quantity(reference)
    if number is not None:
        other = _number(body)
        return Match.UNKNOWN if other is None else compare(number, other)
    return _match_words(reference, body)


def _number(body: str) -> Quantity | None:
    """The one number of a short answer, in digits or as a word ("seven fruits"); "two thirds" is not two."""
    value = said_value(body)
    number = quantity(value) if value is not None else None
    if number is None and not re.search(r"\d", body):
        words = _words(body)
        named = [place for place, word in enumerate(words) if word.isascii() and quantity(word) is not None]
        if len(named) == 1 and not {"half", "and"} & set(words):
            number = quantity(" ".join(words[named[0] :][:2])) or quantity(words[named[0]]) if len(words) < 12 else None
    return number


def _match_symbols(reference: str, body: str) -> Match:
    left, right = ("".join(text.split()) for text in (reference, body))
    return Match.SAME if left == right or left == right.rstrip(".") else Match.DIFFERENT


def _match_words(reference: str, body: str) -> Match:
    gold = _words(reference)
    variants = [_words(variant) for variant in _variants(body)]
    if gold in variants:
        return Match.SAME
    is_list = "," in reference or len(gold) >= 3
    if is_list and _listed(gold) in [_listed(variant) for variant in variants]:
        return Match.SAME
    head = variants[-1] or variants[0]
    if not head or len(head) > 40:
        return Match.UNKNOWN
    if is_list and sorted(_listed(gold)) == sorted(_listed(variants[0])):
        return Match.DIFFERENT if "," in reference or len(gold) >= 4 else Match.UNKNOWN
    if is_list and len(_listed(gold)) == len(_listed(variants[0])) and len(gold) >= 4:
        return Match.DIFFERENT
    return Match.DIFFERENT if len(head) <= 8 and not _is_related(gold, variants[0]) else Match.UNKNOWN


def _variants(body: str) -> Iterator[str]:
    """The answer as written, without its opening words, brackets, and explaining clause."""
    yield body
    body = _LEAD.sub("", body)
    yield body
    yield _BRACKETED.sub("", body)
    first = next((part for part in _CLAUSE.split(_BRACKETED.sub("", body)) if part.strip()), "")
    rest = _BRACKETED.sub("", body)[len(first) :]
    if not re.match(r"[,，;；]\s*(?:or\b|and\b|或|和|[A-Z\d])", rest):
        yield first


def _is_related(gold: tuple[str, ...], found: tuple[str, ...]) -> bool:
    """True where two names may mean the same: shared words, initials, near spellings, or different scripts."""
    if (set(gold) & set(found)) - _STOP:
        return True
    ours, theirs = "".join(gold), "".join(found)
    if ours.isascii() != theirs.isascii() or not theirs:
        return True
    for words, short in ((gold, theirs), (found, ours)):
        initials = "".join(word[0] for word in words)
        if len(words) > 1 and len(short) <= 6 and (short.startswith(initials) or initials.startswith(short)):
            return True
    if len(ours) > 3 and (ours in theirs or theirs in ours):
        return not (len(gold) == len(found) == 1 and abs(len(ours) - len(theirs)) in (2, 3) and ours[:1] != theirs[:1])
    return SequenceMatcher(None, ours, theirs, autojunk=False).ratio() >= 0.8


@lru_cache(maxsize=8192)
def _words(text: str) -> tuple[str, ...]:
    """The words that count, in order: folded case, no accents, articles or punctuation."""
    text = text if text.isascii() else unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text))
    kept = "".join(
        character if character.isalnum() or character in _SYMBOLS_KEPT else "" if character in "'’`" else " "
        for character in text.casefold()
        if not unicodedata.combining(character)
    )
    words = tuple(kept.split())
    return tuple(word for word in words if word not in _ARTICLES) or words


def _listed(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _JOIN)


# ---- yes and no ----


def _polarity(text: str) -> bool | None:
    word = " ".join(text.casefold().strip(" .,!。*\"'_()").split())
    return True if word in _YES else False if word in _NO else None


def _leading_polarity(text: str) -> bool | None:
    """The yes or no that a text begins with, None where it takes it back at once ("yes and no", "no doubt")."""
    match = _POLAR.match(text.lstrip(" *_\"'(:"))
    if match is None:
        return None
    rest = text.lstrip(" *_\"'(:")[match.end() : match.end() + 20]
    other = _POLAR.match(rest.lstrip(" ,"))
    first = _polarity(match["word"] or match["zh"])
    return None if other is not None and _polarity(other["word"] or other["zh"]) is not first else first


def _closing_polarity(text: str) -> bool | None:
    """Yes or no from a text without "the answer is": its first word or its last sentence, None where they disagree."""
    sentences = closing_sentences(text, 1)
    readings = {_leading_polarity(text)}
    if sentences:
        sentence = re.sub(r"^(?:so|thus|therefore|hence|所以|因此)[\s,]*", "", sentences[0], flags=re.I)
        readings.add(_leading_polarity(sentence))
        verdict = _VERDICT.search(sentence)
        if verdict is not None:
            readings.add((verdict[2].lower() in ("true", "correct")) is not bool(verdict[1]))
    readings.discard(None)
    return readings.pop() if len(readings) == 1 else None


# ---- answers that are not announced ----


def _closing(reference: str, text: str, question: str) -> tuple[Outcome, str | None]:
    gold = _polarity(reference)
    if gold is not None:
        polarity = _closing_polarity(text)
        if polarity is None:
            return Outcome.UNREADABLE, None
        return (Outcome.CORRECT if polarity is gold else Outcome.WRONG), ("yes" if polarity else "no")
    sentences = closing_sentences(text, 8)
    if len(sentences) == 1 and len(text.split()) <= max(6, len(reference.split()) + 3) and not _COPULA.search(text):
        if _NEGATION.search(text) and not _NEGATION.search(reference):
            match = _negated(reference, text)
        else:
            match = _match(reference, text)
        return (_outcome(match), text) if match is not Match.UNKNOWN else (Outcome.UNREADABLE, text)
    for sentence in sentences:
        sentence = _INTERJECTION.sub("", sentence)
        if _NEGATION.search(sentence):
            break
        said = _restated(sentence, question)
        if said is not None and (match := _match(reference, said)) is not Match.UNKNOWN:
            return _outcome(match), said
    for sentence in sentences[:1]:
        if _states(reference, sentence, question):
            return Outcome.CORRECT, reference
        number, other = quantity(reference), _number(_predicate(sentence)) if len(sentences) == 1 else None
        if number is not None and other is not None and not _NEGATION.search(sentence):
            return _outcome(compare(number, other)), _predicate(sentence)
    return Outcome.UNREADABLE, None


def _restated(sentence: str, question: str) -> str | None:
    """What a sentence adds to the question's own words on the other side of "is": "The capital of France is Paris"."""
    link = _LINK.search(sentence)
    if link is None:
        return None
    left, right = sentence[: link.start()], sentence[link.end() :]
    head = _CLAUSE.split(right, maxsplit=1)[0]
    if _is_asked(left, question) and not _is_asked(head, question):
        return right
    return left if _is_asked(head, question) and not _is_asked(left, question) else None


def _is_asked(part: str, question: str) -> bool:
    """True where a part says something, and only in words (or Chinese characters) of the question."""
    words = set(_words(part)) - _STOP
    if not words or not question:
        return False
    asked = set(_words(question))
    return all(word in asked or (not word.isascii() and set(word) <= set(question) | {"的"}) for word in words)


def _predicate(sentence: str) -> str:
    return _COPULA.split(sentence)[-1].strip()


def _states(reference: str, sentence: str, question: str) -> bool:
    """True where a sentence ends in "... is REFERENCE", or holds only the reference and words of the question."""
    if _NEGATION.search(sentence) and not _NEGATION.search(reference):
        return False
    gold = _words(reference)
    if _COPULA.search(sentence) and gold in [_words(variant) for variant in _variants(_predicate(sentence))]:
        return True
    words = _words(sentence)
    places = [index for index in range(len(words) - len(gold) + 1) if words[index : index + len(gold)] == gold]
    asked = frozenset(_words(question))
    if len(places) != 1 or not gold or not asked or set(gold) <= asked:
        return False
    others = words[: places[0]] + words[places[0] + len(gold) :]
    return all(word in asked or word in _STOP for word in others) and "or" not in others
