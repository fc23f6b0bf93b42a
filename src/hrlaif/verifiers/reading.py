r"""The final answer of a mathematical response as it is written: out of its box, its sentence, or its closing words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrlaif.types import Finish
from hrlaif.verifiers.notation import latex
from hrlaif.verifiers.quantity import quantity
from hrlaif.verifiers.statement import (
    MATH,
    Commitment,
    Kind,
    clean,
    closing_sentences,
    commitments,
    is_conclusion,
    is_refusal,
    is_revised,
    last_statement,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer of a text: several `values` where it gives a list, or answers that may contradict each other.

    `is_certain` is False where it was only taken from the closing words, which need not be an answer.
    """

    values: tuple[str, ...]
    is_certain: bool = True


def reference_value(reference: str) -> str:
    """The final answer inside a reference that is written as a sentence or a solution; else the reference itself."""
    answer = read_answer(reference) if "box" in reference or len(reference) > 120 else None
    return ", ".join(answer.values) if answer is not None else reference


def read_answer(text: str, *, finish: Finish = Finish.STOP) -> Answer | None:
    """The final answer that a response commits itself to, None where there is none to read."""
    text = clean(text)
    if not text or finish is Finish.FAILED:
        return None
    is_cut = finish is Finish.LENGTH
    found = [commitment for commitment in commitments(text) if not commitment.is_negated]
    if is_cut:
        found = [commitment for commitment in found if commitment.is_whole]
    if any(commitment.kind is Kind.BOXED for commitment in found):
        while found[-1].kind is Kind.SAID and not _VALUE_LIKE.search(_value(found[-1]) or ""):
            found.pop()
    if found:
        last = found[-1]
        if is_revised(text, last.end):
            return None if is_cut else _closing_answer(text[last.end :])
        statement = last_statement(found, text)
        final = _value(statement[-1])
        earlier = (_value(commitment) for commitment in statement[:-1])
        kept = [value for value in earlier if value and _VALUE_LIKE.search(value)]
        return Answer((*kept, final)) if final else None
    return None if is_cut else _closing_answer(text)


_VALUE_LIKE = re.compile(r"[\d\\]|^.{1,3}$")


def _value(commitment: Commitment) -> str | None:
    if commitment.kind is Kind.BOXED:
        inside = commitments(latex(commitment.body))
        return said_value(inside[-1].body) if inside else commitment.body.strip() or None
    if is_refusal(commitment.body):
        return None
    return said_value(commitment.body)


# ---- reading a sentence ----

_MATH = re.compile(MATH, re.S)
_EMPHASIS = re.compile(r"\*\*|__|`|(?<![\w*])\*(?=\w)|(?<=\w)\*(?![\w*])|\"")
_LEADING = re.compile(
    r"(?:\s*(?:that|therefore|thus|then|so|simply|just|exactly|precisely|approximately|approx\.?|about|roughly"
    r"|around|indeed|"
    r"actually|clearly|equal to|equals|given by|as follows|the number|the value|a total of|only|约为?|大约|共|一共"
    r"|总共)\b[\s,:]*|\s*[:=≈]\s*)+",
    re.I,
)
_CLAUSE = re.compile(
    r",\s+(?=[a-z]{2,})|\s+(?:because|since|as|which|where|when|if|for|after|with|while|but|so|i\.e\.)\s"
    r"|\s+-\s+|[(（](?=[a-zA-Z=])|;\s|，",
    re.I,
)
_AMBIGUOUS = re.compile(
    r"\b(?:or|twice|half|double|triple|times|less|more|plus|minus|than|between|either|from|"
    r"at least|at most|up to|over|under|below|above|nearly|almost)\b|或|不|倍",
    re.I,
)
_SUPPOSED = re.compile(r"\W*(?:suppose|assume|assuming|let us|let's|what if|如果|假设|假如|设)", re.I)
_RESULT = re.compile(r"\b(?:which|that) (?:is|equals|gives|makes)\s+(?=\S)", re.I)
_NEGATED = re.compile(r"(?:\bnot|n't|\brather than|\binstead of|不是|而非)\s*$", re.I)
_IN_TEXT = re.compile(
    r"(?<![A-Za-z0-9_^{.\\])(?:[-+]\s?)?(?:US\$|[$€£¥])?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+|\s\d+/\d+)?"
    r"(?:\s*(?:%|percent\b)|(?:\s?[a-zA-Z]{1,3}\b|°))?|\\frac\s*\{\d+\}\s*\{\d+\}"
    r"|(?<=[有是为得共剩])[一二三四五六七八九十百两]{1,5}(?=[个只元条本张块米人天页支枝棵朵辆名位岁分])"
)
_IS = re.compile(r"\b(?:is|are|was|were|equals?|will be|would be)\b\s*:?|[是为]")
_COMMAND = re.compile(r"\\(?:begin|end)\{[a-z]+\}|\\[a-zA-Z]+")
_WORD = re.compile(r"[a-zA-Z]{3,}|[\u4e00-\u9fff]")
_JOINED = re.compile(r"\s*(?:,|;|and|or|和|或|、|,\s*and|,\s*or)\s*", re.I)
_UNIT_AFTER = re.compile(r"\s*(\\?%|percent(?:age)?\b|degrees?\b|°)", re.I)
_COPULA = re.compile(
    r"=|\b(?:is|are|was|were|be|equals?|costs?|has|have|had|needs?|gets?|got|makes?|made|takes?|took|total(?:s"
    r"|ed)?)\b|[是为有得共]",
    re.I,
)


def said_value(body: str) -> str | None:
    """The value in what follows "the answer is": mathematics or a number at its front, else the only one in it."""
    body = _EMPHASIS.sub("", body).strip()
    if body.endswith("}") and body.count("}") > body.count("{"):
        body = body.rstrip("} ,")
    segments = list(_MATH.finditer(body))
    if not segments:
        return _plain_value(body)
    lead = _LEADING.sub("", body[: segments[0].start()]).strip()
    if not lead:
        return _joined_segments(body, segments)
    before = _CLAUSE.split(lead, maxsplit=1)[0]
    if (value := quantity(before)) is not None and value.written is not None:
        return before.strip()
    if said := _IS.search(body):
        return said_value(body[said.end() :])
    return _inner(segments[-1]) if len(segments) == 1 and not _AMBIGUOUS.search(lead) else None


def _inner(segment: re.Match[str]) -> str:
    return (
        segment.group()
        .strip("$")
        .removeprefix("\\[")
        .removeprefix("\\(")[: -2 if segment.group()[0] == "\\" else None]
        .lstrip(" \n,;")
        .rstrip(" \n.,;")
    )


def _joined_segments(body: str, segments: list[re.Match[str]]) -> str:
    """The first segment, and those listed with it by commas, "and", "or"; a percent sign outside belongs to it."""
    values = [_inner(segments[0])]
    end = segments[0].end()
    for segment in segments[1:]:
        if not _JOINED.fullmatch(body[end : segment.start()]):
            break
        values.append(_inner(segment))
        end = segment.end()
    unit = _UNIT_AFTER.match(body, end)
    return ", ".join(values) + (" " + unit.group(1) if unit else "")


def _plain_value(body: str) -> str | None:
    body = _LEADING.sub("", body, count=1).strip() if _LEADING.match(body) else body
    head = _CLAUSE.split(body, maxsplit=1)[0].strip() or body
    if quantity(head) is not None:
        return head
    if quantity(body) is not None:
        return body
    if not _has_words(head):
        return head if _has_words(body) else body
    numbers = list(dict.fromkeys(match.group().strip() for match in _IN_TEXT.finditer(head)))
    if not numbers:
        return head if len(head.split()) <= 8 and len(head) <= 80 else None
    if len(numbers) == 1 and not _AMBIGUOUS.search(head):
        return _bare_number(numbers[0])
    if (result := _RESULT.search(body)) is not None:
        return _plain_value(body[result.end() :])
    if "=" in head and (tail := head.rpartition("=")[2].strip()) and quantity(tail) is not None:
        return tail
    return head if len(head) <= 80 else None


def _has_words(text: str) -> bool:
    return _WORD.search(_COMMAND.sub(" ", text)) is not None


def _bare_number(text: str) -> str:
    if quantity(text) is not None or re.search(r"\d(?:st|nd|rd|th)$", text):
        return text
    return re.sub(r"\s?[a-zA-Z]+$", "", text)


# "So it is 4": what such a sentence says stands behind its verb.
_SUBJECT = re.compile(
    r"\W*(?:(?:so|thus|hence|therefore|then|well)\W+)?(?:it|this|that|these|those|they)"
    r"(?:\s+(?:is|are|was|were|equals?|must be|would be|will be)|['’]s)\s+(?=\S)",
    re.I,
)


_SHORT_VERB = re.compile(r"(?<![\\a-zA-Z])(?:is|am|be)(?![a-zA-Z])", re.I)


def _closing_answer(text: str) -> Answer | None:
    """The answer in the last sentences of a text that announces none."""
    text = _SUBJECT.sub("", text, count=1) if _SUBJECT.match(text) else text
    if is_refusal("\n".join(closing_sentences(text, 2))):
        return None
    sentences = closing_sentences(text)
    if len(sentences) == 1 and len(text) <= 60 and not _IN_TEXT.search(text):
        return Answer((text,), is_certain=len(text.split()) <= 3)
    for sentence in sentences:
        value, is_lone = _closing_value(sentence)
        if value is not None:
            is_clear = (
                len(sentences) == 1 or is_conclusion(sentence) or "=" in sentence or quantity(sentence) is not None
            )
            return Answer((value,), is_certain=is_lone and is_clear)
        if _IN_TEXT.search(sentence) or _MATH.search(sentence):
            return None
    return None


def _closing_value(sentence: str) -> tuple[str | None, bool]:
    """(value, whether it is the only one) of a closing sentence; (None, False) if none stands out."""
    sentence = _EMPHASIS.sub("", sentence).strip().rstrip(".。!")
    sentence = sentence[found.end() :] if (found := _SUBJECT.match(sentence)) else sentence
    is_formula = len(sentence) <= 200 and not _has_words(sentence) and not _SHORT_VERB.search(sentence)
    if quantity(sentence) is not None or is_formula:
        return sentence, True
    segments = list(_MATH.finditer(sentence))
    if segments:
        rest = sentence[segments[-1].end() :].strip(" .,;:。")
        if not rest or (len(rest.split()) <= 3 and not _IN_TEXT.search(rest)):
            unit = _UNIT_AFTER.match(sentence, segments[-1].end())
            return _inner(segments[-1]) + (" " + unit.group(1) if unit else ""), len(segments) == 1
    if _SUPPOSED.match(sentence):
        return None, False
    flat = latex(sentence) if segments else sentence
    numbers = [match for match in _IN_TEXT.finditer(flat) if not _NEGATED.search(flat, 0, match.start())]
    if not numbers:
        return None, False
    if _AMBIGUOUS.search(flat) and "=" not in flat:
        return None, False
    if len({match.group().strip() for match in numbers}) == 1:
        return _bare_number(numbers[-1].group().strip()), True
    return _number_after_link(flat, numbers, is_conclusion(sentence)), False


def _number_after_link(flat: str, numbers: list[re.Match[str]], may_be_word: bool) -> str | None:
    """The one number after the last "=", or in a conclusion after the last "is", "has" ... that a number follows."""
    links = [match for match in _COPULA.finditer(flat) if match.start() < numbers[-1].start()]
    links = [link for link in links if link.group() == "="] or (links if may_be_word else [])
    following = {_bare_number(match.group().strip()) for match in numbers if links and match.start() >= links[-1].end()}
    return following.pop() if len(following) == 1 else None
