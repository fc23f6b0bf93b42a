r"""Where a response commits itself to a final answer: \boxed, "the answer is", "#### 12", 答案是, or its last words.

Everything here reads text from models that nobody controls, so every pattern is linear or works in a bounded window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from hrlaif.verifiers.notation import plain_characters

MAX_BODY = 600
MAX_COMMITMENTS = 200
TAIL = 600


class Kind(str, Enum):
    """How a final answer was announced: in a box, or by words such as "the answer is"."""

    BOXED = "boxed"
    SAID = "said"


@dataclass(frozen=True, slots=True)
class Commitment:
    """One final answer as the response gives it.

    `body` is what stands in the box or after the announcing words, up to the end of its sentence. `is_whole` is False
    where the text breaks off inside it, so that a token limit may have cut it. `is_negated`: "the answer is not ...".
    """

    kind: Kind
    body: str
    start: int
    end: int
    is_whole: bool = True
    is_negated: bool = False


_THINK_END = re.compile(r"</(?:think|thinking|thought|reasoning)>|<\|end_of_thought\|>", re.I)
_THINK_START = re.compile(r"<(?:think|thinking|thought|reasoning)>|<\|begin_of_thought\|>", re.I)
_TURN = re.compile(
    r"<\|(?:im_start|im_end|eot_id|endoftext|end_of_text|end|user|assistant)\|>|</s>|<eos>|<end_of_turn>"
)
_TURN_OPENING = re.compile(r"\s*(?:<s>|<\|(?:im_start|assistant|start_header_id)\|>)\s*(?:assistant)?\s*")
_CALCULATOR = re.compile(r"<<[^<>\n]{0,200}>>")
_NEXT_QUESTION = re.compile(r"\n\s*(?:Question|Q|Problem|Human|User|问题?|题目)\s*\d{0,3}\s*:", re.I)

_TAG = re.compile(r"<answer>\s*([^<>]{1,600})</answer>")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?=\{)|\\boxed\s+(?=[^\s{])")
_ANSWER = r"(?:(?:final|correct|right|best)\s+)?(?:answers?|ans|final\s+(?:result|solution|conclusion))\b"
_ABOUT = (
    r"(?:\s+(?:to|for|of|in|here|that|we|i|you|from|choice|letter|string"
    r"|value)\b[^.\n:=?!。]{0,90}?)?(?:\s*\([^()\n]{0,40}\))?(?:\s*,[^,.\n]{1,30},)?"
)
_IS = r"(?:\s+(?:is|are|was|would\s+be|should\s+be|must\s+be|will\s+be|has\s+to\s+be|becomes|equals|remains)\b|\s*[:=])"
_NO_VALUE = (
    r"(?:expected|supposed|required|known|unknown|unique|independent|rounded|(?:in)?correct|right|wrong"
    r"|reasonable|consistent|clear|"
    r"(?:very )?(?:close|simple|easy|similar)|obtained|found|derived|written|expressed|(?:provided|given) (?:in"
    r"|as|by|above|below))\b"
)
# Each pattern begins with a plain character set, which is found fast; what must stand before it is looked up after.
_SAID = re.compile(
    r"[aAfF](?<!\w[aAfF])(?i:(?<=a)(?:nswers?|ns)|(?<=f)inal\s+(?:result|solution|conclusion))\b"
    rf"(?i:[\"'*_]*{_ABOUT}[\"'*_]*{_IS}(?!\s*{_NO_VALUE}))"
    r"|[答最](?:(?<=答)案|(?<=最)[终后](?:结果|答案))(?:应该|应当|应|就|也|便)?\s*(?:选择|选|是|为|等于|:|=)"
)
_LINE_BODY = (
    r"(?:[ \t>*]*\#{4}[ \t]*(?=[-+\d$\\.(\[{])|(?i:[ \t>*_#\-]*(?:A|Ans|答|解)[ \t*_]*[:][ \t]*)|\s*答\s*,"
    r"|(?i:[ \t>*_#]*(?:the\s+)?(?:final\s+|correct\s+)?(?:answer|最终答案|答案)[ \t*_:]*\n+))"
)
_LINE = re.compile(rf"\n{_LINE_BODY}")
_FIRST_LINE = re.compile(_LINE_BODY)
_AFTERWARDS = re.compile(
    r"(?<=\s)[ia]s\s+(?i:(?:the|our|my)\s+(?:final\s+|correct\s+|required\s+)*answer\b)(?!\s*(?:to\b|is\b|[:=?]))"
)
_POINTS_BACK = re.compile(r"\b(?:that|this|it|which|what|these|those|here|there)\b|^so$", re.I)
_LAST_CLAUSE = re.compile(r";\s|,\s+(?=[a-z]{2,})")
_LAST_END = re.compile(r"(?s:.*)(?:[.!?。]\s|\n|。)")
_UNREAL = re.compile(
    r"(?:\b(?:if|suppose|supposing|assum(?:e|es|ing)|whether|unless|format|form|incorrect|wrong|previous"
    r"|initial|not|never|no|such\s+an|"
    r"his|her|their|student'?s|provide|provided|giv(?:e|ing)|find|express|write|box|check|verify|how)"
    r"(?:\s+(?:that|the|my|an?|your|our|its|final|correct|right|best|true|exact))*|如果|假设|若|错误的?|不是)[\s\"':(]*$",
    re.I,
)
_NEGATION = re.compile(r"\s*(?:definitely\s+|certainly\s+)?(?:not\b|n't\b|neither\b|不是|并非)", re.I)
_DENIES = re.compile(r"\bnot\b|n't\b", re.I)
_LEAD = re.compile(r"[\s*_:]*(?=\S)")
MATH = (
    r"\$\$.{1,500}?\$\$|(?<!\\)\\\[.{1,500}?\\\]|\\\(.{1,300}?\\\)"
    r"|(?<![\\\w])\$(?:(?=[^\s$])[^$\n]{0,300}?[^\s\\$]\$(?!\d)|[ \t]+[^$\n]{1,300}?[ \t]\$(?!\w))"
)
_DISPLAY = re.compile(r"\$\$.{1,500}?\$\$|(?<!\\)\\\[.{1,500}?\\\]|\\\(.{1,300}?\\\)", re.S)
_DISPLAY_END = re.compile(r"\s*[.,;。]\s*(?=(?:\$\$|\\\]|\\\))$)")
_STOP = re.compile(
    rf"(?P<math>{MATH})"
    r"|(?P<end>(?<!\\)[.!?](?=[\s\"'*_)\]]|$)|[。！？]|\n)",
    re.S,
)
_ABBREVIATION = re.compile(r"(?:\b(?:approx|e\.g|i\.e|etc|vs|dr|mr|mrs|ms|st|prof|jr|fig|eq|u\.s)|\.[a-z])$", re.I)
_INITIAL = re.compile(r"(?:^|[\s.])[A-Z]$")
_NAME_GOES_ON = re.compile(
    r"\.? *(?!(?:A|An|The|It|Its|This|That|He|She|They|We|I|In|On|So|If|As|But|And|Because|Since|Then)\b)[A-Z]"
)
_SAME_STATEMENT = re.compile(
    r"(?:\s|[$\\,;:*()\[\]&、]|and|or|quad|qquad|text\s*\{[^{}]{0,30}\}|for\s+part\s+\(?[a-z\d]\)?|respectively|和|或|以及|与"
    r"|[a-zA-Z](?:_\{?\w\}?)?\s*=)*"
)
_REVISION = re.compile(
    r"(?:[.!?\n]|\()\W*(?:wait|hold on|actually|sorry|oops|hmm)\b|\bcorrection\s*:|\bon second thought\b"
    r"|\bi was wrong\b"
    r"|\blet me (?:re-?(?:check|calc|eval|exam|do|think|consider|count|read|view|solve|compute)|double|correct|fix)"
    r"|\bi(?:'ve| have)? made an? (?:\w+ )?(?:mistake|error)|\bmy (?:mistake|apologies)\b|\bi apologi[sz]e"
    r"|\bthat(?:'s| is| was) (?:wrong|incorrect|not right)\b"
    r"|[。!?\n,]\s*(?:等等|等一下|不对|错了|更正|抱歉)|重新(?:计算|考虑|检查|审视|算)|我(?:算|弄|搞)错",
    re.I,
)
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\\!)(?<![\s.][A-Z]\.)(?<!\s[DM]r\.)(?<!\sMs\.)(?<!\sSt\.)(?<!\sMrs\.)(?<!\bapprox\.)[\"')\]*_]*\s+(?=[^\s])|(?<=[。！？])|\n+"
)
_CHATTER = re.compile(
    r"^\W*(?:i hope|hope (?:this|that)|let me know|feel free|if you have|is there anything|please|thank"
    r"|you're welcome|good luck|"
    r"this (?:is|was) (?:correct|my)|希望|如果你|如有|请)",
    re.I,
)
_CONCLUSION = re.compile(
    r"\b(?:therefore|thus|so|hence|consequently|in conclusion|to conclude|finally|in total|altogether|in all"
    r"|total|answer|we (?:get|"
    r"have|find|obtain)|this (?:means|gives|leaves)|remaining|left)\b|所以|因此|故|答|一共|总共|共|综上|得|即|剩",
    re.I,
)
_REFUSAL = re.compile(
    r"\b(?:i|we)(?:'m| am| are)?\s+(?:really\s+)?(?:can(?:no|')t|cannot|can not|could not|couldn't|unable to"
    r"|not able to|won't|"
    r"will not|do(?:n't| not))\s+(?:\w+\s+){0,2}?(?:answer|solve|determine|provide|help|assist|compute"
    r"|calculate|find|give|know|complete|say|tell)"
    r"|\bcannot be (?:determined|answered|solved|calculated)\b|\b(?:impossible|not possible) to (?:determine"
    r"|answer|solve|say)\b"
    r"|\bnot enough information\b|\binsufficient information\b"
    r"|无法(?:确定|回答|解答|计算|判断)|不能(?:确定|回答|判断)|不知道",
    re.I,
)


def clean(text: str) -> str:
    """The answering part of a response, in plain characters.

    Drops hidden reasoning (an unfinished one leaves nothing: the answer was never reached), chat markup with all that a
    runaway model wrote after its turn, and calculator annotations.
    """
    text = plain_characters(text)
    if "<" in text:
        if opening := _TURN_OPENING.match(text):
            text = text[opening.end() :]
        ends = [match.end() for match in _THINK_END.finditer(text)]
        if ends:
            text = text[ends[-1] :]
        starts = _THINK_START.search(text)
        if starts is not None:
            text = text[: starts.start()]
        if turn := _TURN.search(text):
            text = text[: turn.start()]
        text = _CALCULATOR.sub("", text)
    return text.strip()


def commitments(text: str) -> list[Commitment]:
    """Every announced final answer of a cleaned text in order, a box inside "the answer is ..." once, as the box.

    A base model that goes on to invent the next question is read only up to there, if it had answered by then.
    """
    following = _NEXT_QUESTION.search(text, 1)
    if following is None and len(text) > TAIL:
        tail = _announced(text, max(0, len(text) - TAIL))
        if tail and tail[0].start > len(text) - TAIL + TAIL // 3:
            return tail
    found = _announced(text)
    if following is not None:
        before = [commitment for commitment in found if commitment.end <= following.start() + 1]
        found = before or found
    return found


def _announced(text: str, start: int = 0) -> list[Commitment]:
    boxes = _boxes(text, start)
    said: list[Commitment] = []
    for commitment in sorted(_said_all(text, start), key=lambda commitment: commitment.start)[-MAX_COMMITMENTS:]:
        if not any(commitment.start < box.end and box.start < commitment.end for box in boxes):
            if said and commitment.start < said[-1].end:
                said.pop()
            said.append(commitment)
    return sorted(boxes + said, key=lambda commitment: commitment.start)


def _said_all(text: str, start: int) -> Iterator[Commitment]:
    for match in _last_matches(_SAID, text, start):
        if not _UNREAL.search(text, max(0, match.start() - 48), match.start()) and (found := _said(text, match.end())):
            yield found
    first = _FIRST_LINE.match(text) if start == 0 else None
    for match in ([first] if first else []) + _last_matches(_LINE, text, start):
        if found := _said(text, match.end()):
            yield found
    for match in _last_matches(_AFTERWARDS, text, start):
        before = _LAST_END.match(text, max(0, match.start() - 200), match.start())
        begin = before.end() if before else max(0, match.start() - 200)
        body = _LAST_CLAUSE.split(text[begin : match.start()])[-1].strip()
        if body and (not _POINTS_BACK.search(body) or re.search(r"[\d$\\]", body)):
            yield Commitment(Kind.SAID, body, begin, match.end(), True, _DENIES.search(body) is not None)


def _last_matches(pattern: re.Pattern[str], text: str, start: int) -> list[re.Match[str]]:
    return list(pattern.finditer(text, start))[-MAX_COMMITMENTS:]


def _boxes(text: str, start: int) -> list[Commitment]:
    found: list[Commitment] = []
    if "<answer>" in text:
        for match in _last_matches(_TAG, text, start):
            found.append(Commitment(Kind.BOXED, match.group(1).strip(), match.start(), match.end()))
    if "box" not in text:
        return found
    for match in _last_matches(_BOX, text, start):
        body, end, is_whole = _braced(text, match.end())
        if found and found[-1].end >= end and found[-1].start < match.start():
            found.pop()
        found.append(Commitment(Kind.BOXED, body, match.start(), end, is_whole))
    return found


def _braced(text: str, start: int) -> tuple[str, int, bool]:
    if text[start] != "{":
        end = start
        while end < len(text) and not text[end].isspace() and text[end] not in "$\\":
            end += 1
        return text[start:end], end, end < len(text)
    depth = 0
    limit = min(len(text), start + 2000)
    for index in range(start, limit):
        if text[index] == "{" and text[index - 1] != "\\":
            depth += 1
        elif text[index] == "}" and text[index - 1] != "\\":
            depth -= 1
            if depth == 0:
                return text[start + 1 : index], index + 1, True
    line = re.compile(r"\n|\$").search(text, start, limit)
    end = line.start() if line else limit
    return text[start + 1 : end], end, end < len(text)


def _said(text: str, start: int) -> Commitment | None:
    lead = _LEAD.match(text, start)
    if lead is None:
        return None
    begin = lead.end()
    end, is_whole = sentence_end(text, begin)
    body = text[begin:end].strip()
    if not body:
        return None
    return Commitment(Kind.SAID, body, begin, end, is_whole, _NEGATION.match(body) is not None)


def sentence_end(text: str, start: int) -> tuple[int, bool]:
    """Where the sentence that begins at `start` ends (mathematics is skipped), and whether its end is in the text."""
    limit = min(len(text), start + MAX_BODY)
    position = start
    while (match := _STOP.search(text, position, limit)) is not None:
        position = match.end()
        if match.lastgroup == "end":
            if match.group() == "." and _is_abbreviation(text, start, match.end()):
                continue
            return match.start(), True
    return limit, limit < len(text)


def _is_abbreviation(text: str, start: int, end: int) -> bool:
    if end >= len(text) or text[end] == "\n":
        return False
    before = text[max(start, end - 9) : end - 1]
    if _INITIAL.search(before):
        return _NAME_GOES_ON.match(text, end) is not None
    return (
        _ABBREVIATION.search(before) is not None or re.match(r"\bno\. ?\d", text[end - 3 : end + 2], re.I) is not None
    )


def last_statement(found: list[Commitment], text: str) -> list[Commitment]:
    """The last commitment and those that stand right before it, with nothing but signs, "and" or "or" between."""
    group = found[-1:]
    for earlier in reversed(found[:-1]):
        between = text[earlier.end : group[0].start]
        if len(between) > 80 or _SAME_STATEMENT.fullmatch(_without_cue(between)) is None or len(group) > 24:
            break
        group.insert(0, earlier)
    return group


_CUE_WORDS = re.compile(
    rf"(?:\b(?:so|thus|hence|therefore|and|or)\b,?\s*)?(?:\bthe\s+|\bmy\s+)?{_ANSWER}{_IS}|####|\bA\s*:"
    rf"|答案\s*(?:是|为|:)|[.。]",
    re.I,
)


def _without_cue(between: str) -> str:
    return _CUE_WORDS.sub(" ", between)


def is_revised(text: str, start: int) -> bool:
    """True where the text after `start` takes back what stands before it ("wait", "actually", "I made a mistake")."""
    return _REVISION.search(text, start) is not None


def is_refusal(text: str) -> bool:
    """True where the text says that it cannot or will not answer."""
    return _REFUSAL.search(text) is not None


def is_conclusion(sentence: str) -> bool:
    """True where a sentence announces itself as the outcome ("therefore", "in total", 所以)."""
    return _CONCLUSION.search(sentence) is not None


def closing_sentences(text: str, count: int = 4) -> list[str]:
    """The last sentences of a text, last first, without polite chatter."""
    tail = _DISPLAY.sub(lambda match: _DISPLAY_END.sub(" ", " ".join(match.group().split())), text[-1500:])
    parts = [part.strip() for part in _SENTENCE_END.split(tail)]
    kept = [part for part in parts if part and not _CHATTER.match(part)]
    return kept[::-1][:count]
