"""Which option does a response to a CHOICE prompt commit itself to? A letter in any wording, or an option's own words.

Works backwards from the end of the text: the last letter whose surroundings make it an answer counts. Letters that are
only mentioned, ruled out or supposed are passed over; two different answers with nothing between them contradict.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from hrlaif.types import Finish, Outcome
from hrlaif.verifiers.options import (
    Options,
    gold_letter,
    option_named,
    option_of_words,
    options_of,
    words_of,
)
from hrlaif.verifiers.statement import Kind, clean, closing_sentences, commitments, is_conclusion, is_revised

TAILS = (350, 1500, 12_000)
MAX_TOKENS = 400
LINE = 1000
CONTEXT = 120


def verify_choice(
    reference: str, text: str, *, choices: Sequence[str] = (), question: str = "", finish: Finish = Finish.STOP
) -> tuple[Outcome, str | None]:
    """The outcome for one response, and the letter of the option that it chose.

    Args:
        reference: The gold letter (`B`, `(B)`), or the gold option's own words.
        text: The response.
        choices: The options' words in the order of their letters; may be empty where the question holds them.
        question: The question, searched for lettered options when `choices` is empty.
        finish: LENGTH makes an answer that touches the end of the text unreadable, since it may be cut.

    Raises:
        DataError: The reference is neither a letter nor one of the options.
    """
    options = options_of(tuple(choices), question if not choices else "")
    gold = gold_letter(reference, options)
    found = read_choice(text, options, finish=finish)
    if found is None:
        return Outcome.UNREADABLE, None
    return (Outcome.CORRECT if found == gold else Outcome.WRONG), found


# ---- letters ----

_STYLE = re.compile(
    r"\\(?:text(?:bf|it|rm|tt)?|math(?:bf|rm|it|tt|sf)|bf|boldsymbol|underline|mbox)\s*\{([^{}]*)\}|\\[()\[\]]"
    r"|\\[,;!]|[*`$#]|(?<!\w)_|_(?!\w)"
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{([^{}]*)\}?")
_TAG = re.compile(r"<answer>([^<>]*)(?:</answer>)?")
_TOKEN = re.compile(
    r"(?P<letter>[A-Z])(?<![A-Za-z0-9_À-ɏ'\-\\][A-Z])(?P<more>(?P=letter)*)(?![A-Za-z0-9_À-ɏ'])(?P<close>\s*[)\]}\"'])?"
)
_OPENING = re.compile(r"[(\[{\"']\s*\Z")
_SPACED = re.compile(r"([A-Z])(?<!\w[A-Z])(?:[ ,]+\1){3,9}(?!\w)")
_NOUN = r"(?:answer|ans|choice|option|selection|response|guess|conclusion|candidate|letter|result)"
_ABOUT = (
    r"(?:\s+(?:to|for|of|in|here|that|which|we|i|you|from|choice|option|letter|string|value|would"
    r"|should)\b[^.\n:=?!。]{0,70}?)?"
)
_FILL = (
    r"(?:[\s:,\"'(\[\->=]|\b(?:therefore|thus|then|indeed|clearly|probably|likely|most|definitely|actually"
    r"|simply|hence|so|again|closest|nearest|best|to|represented|represented by|i think|i believe|i guess|indicated by|"
    r"option|choice|letter|answer|statement|number|the|as follows|given by|will be|to be)\b|选项|选|项|为|是|应)*"
)
_LEFT = re.compile(
    rf"(?:\b{_NOUN}\b[\"')]*{_ABOUT}\s*(?:\bis|\bare|\bwas|\bbe|\bbecomes|\bremains|\bwould\s+be|\bshould\s+be"
    rf"|\bmust\s+be|[:=]|->|→)"
    rf"|\b(?:correct|right|best|closest|nearest|most\s+\w+|appropriate|true)(?:\s+[\w\-]+){{0,4}}\s+(?:is|are"
    rf"|was|would\s+be|must\s+be|:)"
    rf"|\b(?:choose|chose|select|selected|pick|picked|choosing|selecting|picking|go\s+with|going\s+with"
    rf"|opt\s+for|settle\s+on|mark|"
    rf"corresponds?\s+to|(?:closest|nearest|corresponding|equivalent)\s+to|matches|leads?\s+(?:us\s+)?to|points?\s+to|answer\s+with)"
    rf"|\b(?:which|that|this|it)(?:'s|\s+is)\s+(?:closest\s+to\s+|given\s+by\s+|clearly\s+)?(?:option|choice|answer)"
    rf"|(?:^|\n)\s*(?:final\s+|correct\s+)?answer|答案[^。\n,]{{0,8}}?[是为选:]|(?:故|应|因此|所以|因而|则|可|就|,|，|。|^|\n|我|当)\s*选择?)"
    rf"\s*{_FILL}\Z",
    re.I,
)
_LEFT_SO = re.compile(
    r"(?:^|[.!?\n。,])\s*(?:so|thus|hence|therefore|ergo|所以|因此|故)\s*[,:]?\s*(?:it(?:'s|\s+is)\s+)?(?:option\s+)?[\s(\[\"']*\Z",
    re.I,
)
_SENTENCE_OVER = re.compile(r"\s*[.!。]?\s*(?:\n|$)")
_LEFT_NOT = re.compile(
    r"(?:\bnot|n't|\bnever|\bneither|\bnor|\bexcept|\bexclud\w+|\beliminat\w+|\brul\w+\s+out|\breject\w*"
    r"|\brather\s+than|\binstead\s+of|"
    r"\bthan|\bunlike|\bincorrect|\bwrong|\bdiscard\w*|\bagainst|\bno|不是|不选|不应选|不能选|排除|而非|错误)"
    rf"(?:\s+{_NOUN}s?)?(?:\s+(?:is|are|be|the|choose|select|pick|option|to))*[\s:(\[\"']*\Z",
    re.I,
)
_LEFT_UNREAL = re.compile(
    r"(?:\b(?:if|suppose|supposing|assume|assuming|whether|unless|were|format|form|such\s+as|e\.g\.|example|initially|originally|"
    r"at\s+first|first\s+thought|previously|student|tempting)\b"
    r"|如果|假设|格式)"
    r"[^.\n,;:。，]{0,60}[\s:(\"']*\Z|\bformat\b[^.\n。]{0,60}\Z",
    re.I,
)
_RIGHT_NOT = re.compile(
    r"\s*\?|\s*[.,:]?\s*(?:(?:and|or)\s+(?:option\s+)?\(?[A-Z]\)?\s+)?(?:(?:is|are|was|were|would\s+be|seems?"
    r"|must\s+be|also)\s+(?:\w+\s+){0,2}?"
    r"(?:not\b|incorrect|wrong|false\b|invalid|ruled\s+out|eliminated|impossible|inaccurate|excluded)|(?:does"
    r"|do|did|can|could|is|are|was|would)"
    r"(?:n't|n’t|not|\s+not)\b|cannot\b|can't\b|\s*(?:项|选项)?\s*(?:是)?(?:错|不对|不正确|不符|排除|不是|有误))",
    re.I,
)
_RIGHT = re.compile(
    r"[\s.,:]*(?P<gap>[^.\n。]{0,60}?)(?:\b(?:is|are|seems?|appears?|would\s+be|must\s+be|should\s+be|was"
    r"|remains)\s+(?:to\s+be\s+)?"
    r"(?:(?:indeed|clearly|therefore|thus|hence|the|most|more|only|best|single|final|likely|probably"
    r"|definitely|my|our|an?|overall)\s+)*"
    r"(?:correct|right|answer|best\b|closest|choice|appropriate|suitable|reasonable|plausible|fitting|better|"
    r"accurate\s+(?:answer|choice|option))(?!\s+(?:if|only|when|unless|in\s+that|in\s+saying|about|that)\b)"
    r"|\s*(?:项|选项)?\s*(?:是|为)?\s*(?:正确|对的|符合|最佳|最合适))",
    re.I,
)
_ALSO_RIGHT = re.compile(
    r"\s*(?:,|/|&|\band\b|\bor\b|和|或|、|以及|与)\s*(?:option\s+|both\s+)?[(\[\"']?\s*([A-Z])(?![\w'’])(?!\s+(?:is"
    r"|are|does|has|was|can|think|would|believe|am|will|have)\b)"
)
_ALSO_LEFT = re.compile(
    r"(?<![\w'])([A-Z])[)\]\"']*\s*(?:,|/|&|\band\b|\bor\b|和|或|、|以及|与)\s*(?:option\s+)?[(\[\"']*\Z"
)
_WORD_NEXT = re.compile(
    r"\s+(?!(?:because|since|as|due|for|which|and|or|is|was|based|given|by|in|with|i\.e)\b)[a-zA-Z]"
)
_FORMULA_NEXT = re.compile(r"\s*[=<>+^_*/]|\(|\s*-\s*\d")
_OTHER_OPTION = re.compile(r"\([A-Z]\)|(?<!\w)[A-Z][).:、](?=\s)")
_LINE_OPTION = re.compile(r"(?:^|\n)\s*(?:\(([A-Z])\)|([A-Z])(?:[).:、]|\s[-—–]\s))\s*(?=\S)")
_FILLER_ONLY = re.compile(
    rf"(?:[\s).,:;(\"'\]\[!]|\b(?:so|thus|therefore|hence|the|my|final|correct|best|is|was|i|and|that)\b"
    rf"|\b{_NOUN}\b|答案|选|是|为|,|。)*",
    re.I,
)
_RETRACTED = re.compile(
    r"\bnone\s+of\s+(?:the|these)\s+(?:above|options?|answers?|choices|given|provided|available)\b|\b(?:cannot"
    r"|can't|can\s+not|unable\s+to|"
    r"impossible\s+to|not\s+possible\s+to)\s+(?:be\s+)?(?:determine|answer|provide|select|choose|pick|decide"
    r"|give)|\b(?:answer|option)\s+is\s*\(\s*\)"
    r"|无法(?:确定|选择|判断)|没有正确(?:选项|答案)|都不正确",
    re.I,
)


def flat(text: str) -> str:
    """Text without Markdown and LaTeX styling; a box becomes the words "answer is: ...", which is what it means."""
    if "\\" in text or "*" in text or "`" in text or "$" in text or "#" in text or "_" in text:
        text = _STYLE.sub(lambda match: match.group(1) or "", text)
        text = _BOX.sub(r" answer is: \1 . ", _STYLE.sub(lambda match: match.group(1) or "", text))
    return _TAG.sub(r" answer is: \1 . ", text) if "<answer>" in text else text


def read_choice(text: str, options: Options, *, finish: Finish = Finish.STOP) -> str | None:
    """The letter of the option that a response commits itself to, None where there is none to read."""
    text = clean(text)
    if not text or finish is Finish.FAILED:
        return None
    is_cut = finish is Finish.LENGTH
    for size in TAILS:
        body = flat(text[-size:])
        found = _last_letter(body, options, is_cut=is_cut)
        if size >= len(text) or (found is not None and found[1] > CONTEXT):
            break
    may_retract = _may_retract(options)
    if found is not None:
        letter, end = found
        if is_revised(body, end):
            sentences = closing_sentences(body[end:], 1)
            return None if is_cut or not sentences else option_named(sentences[0], options)
        return None if letter is None or (may_retract and _RETRACTED.search(body, end)) else letter
    if may_retract and _RETRACTED.search(body, max(0, len(body) - 400)):
        return None
    return _small_letter(body, options, is_cut=is_cut) or _by_words(text, options, is_cut=is_cut)


@lru_cache(maxsize=4096)
def _may_retract(options: Options) -> bool:
    """False where an option itself says "none of the above", so that these words take nothing back."""
    return not any(_RETRACTED.search(words) for words in options.words)


def _last_letter(body: str, options: Options, *, is_cut: bool) -> tuple[str | None, int] | None:
    """(letter, end) of the last commitment to a letter; the letter is None where two contradict each other."""
    tokens = [match for match in _TOKEN.finditer(body) if match["letter"] in options.letters]
    spaced = [match for match in _SPACED.finditer(body) if match[1] in options.letters]
    if spaced and not any(token.start() > spaced[-1].end() for token in tokens):
        return spaced[-1][1], spaced[-1].end()
    for index in range(len(tokens) - 1, max(-1, len(tokens) - MAX_TOKENS), -1):
        token = tokens[index]
        if not _is_committed(body, token, options, is_cut=is_cut):
            continue
        if _has_company(body, token, options):
            return None, token.end()
        for earlier in reversed(tokens[:index]):
            if token.start() - earlier.end() > 80 or not _FILLER_ONLY.fullmatch(body, earlier.end(), token.start()):
                break
            if earlier["letter"] != token["letter"] and _is_committed(body, earlier, options, is_cut=False):
                return None, token.end()
        return _unless_other_words(body, token, options), token.end()
    return None


def _is_committed(body: str, token: re.Match[str], options: Options, *, is_cut: bool) -> bool:
    start, end = token.start(), token.end()
    if is_cut and end == len(body) and not token["close"]:
        return False
    if len(token["more"]) >= 3:
        return True
    if len(token["more"]) > 0:
        return False
    left = body[max(0, start - CONTEXT) : start]
    is_bare = not (token["close"] and _OPENING.search(left[-4:]))
    if is_bare and _is_word_or_formula(body, token, options):
        return False
    if not (
        _LEFT.search(left[-40:])
        or _LEFT.search(left)
        or _is_called_right(body, token, is_bare=is_bare)
        or _is_line(body, token, options)
        or (_SENTENCE_OVER.match(body, end) and _LEFT_SO.search(left))
    ):
        return False
    if _LEFT_NOT.search(left[-60:]) or _LEFT_UNREAL.search(left):
        return False
    return not _RIGHT_NOT.match(body, end) or _own_words_follow(body, end, token["letter"], options)


def _is_called_right(body: str, token: re.Match[str], *, is_bare: bool) -> bool:
    """True where the text goes on to call the option right: "(B) is the correct answer", "B正确"."""
    right = _RIGHT.match(body, token.end())
    if right is None or (is_bare and token["letter"] in "AI" and right["gap"].strip()):
        return False
    return re.search(r"\bnot\b|n't|不|\b(?:is|are|because|but)\b", right["gap"], re.I) is None


def _is_word_or_formula(body: str, token: re.Match[str], options: Options) -> bool:
    """True where a bare capital is the article "A", the pronoun "I", a numeral or a variable rather than a letter."""
    if _FORMULA_NEXT.match(body, token.end()) or _begins_words(body, token, options):
        return True
    if (
        token["close"]
        or token["letter"] not in "AI"
        or re.search(r"\b(?:option|choice|letter)\s*\Z", body[max(0, token.start() - 20) : token.start()], re.I)
    ):
        return False
    following = _WORD_NEXT.match(body, token.end())
    return following is not None and not _own_words_follow(body, token.end(), token["letter"], options)


def _begins_words(body: str, token: re.Match[str], options: Options) -> bool:
    """True where the capital is not a letter but the beginning of an option's words ("I only", "C major", "B类")."""
    begun = [option for option in options.lettered if option[0] == token["letter"].lower()]
    words = words_of(body[token.start() : token.start() + 200]) if begun else ""
    return any(words == option or words.startswith(option + " ") for option in begun)


def _own_words_follow(body: str, end: int, letter: str, options: Options) -> bool:
    index = options.letters.index(letter)
    if index >= len(options.words) or not options.words[index]:
        return False
    return words_of(body[end : end + 300]).startswith(options.words[index][:30])


def _is_line(body: str, token: re.Match[str], options: Options) -> bool:
    """True where the letter is the last line, or the only line of the form "B) words" is the first or the last one."""
    line_start = body.rfind("\n", max(0, token.start() - LINE), token.start()) + 1
    line_end = body.find("\n", token.end(), token.end() + LINE)
    if (line_start == 0 and token.start() > LINE) or (line_end < 0 and len(body) - token.end() > LINE):
        return False
    line_end = len(body) if line_end < 0 else line_end
    if re.search(r"\w", body[line_start : token.start()]):
        return False
    is_last, is_first = not body[line_end:].strip(), not body[:line_start].strip()
    if not re.search(r"\w", body[token.end() : line_end]):
        return is_last or is_first
    is_own = words_of(body[token.end() : line_end]) in options.words
    if not is_own and _OTHER_OPTION.search(body, token.end(), line_end):
        return False
    lines = {match[1] or match[2] for match in _LINE_OPTION.finditer(body)}
    return (
        (is_last or is_first)
        and lines == {token["letter"]}
        and _LINE_OPTION.match(body, max(0, line_start - 1)) is not None
    )


def _has_company(body: str, token: re.Match[str], options: Options) -> bool:
    """True where another letter is joined to this one: "A or B", "(A) and (C)"."""
    right = _ALSO_RIGHT.match(body, token.end())
    if right is not None and right[1] != token["letter"] and right[1] in options.letters:
        return not (right[1] in "AI" and _WORD_NEXT.match(body, right.end()))
    left = _ALSO_LEFT.search(body, max(0, token.start() - 40), token.start())
    return left is not None and left[1] != token["letter"] and left[1] in options.letters


def _unless_other_words(body: str, token: re.Match[str], options: Options) -> str | None:
    """The letter, or None where the words after it are exactly those of another option."""
    letter = token["letter"]
    index = options.letters.index(letter)
    if index >= len(options.words):
        return letter
    rest = re.split(r"\n|[.;](?=\s|$)", body[token.end() : token.end() + 400].lstrip(" ).:,-\"'\n"), maxsplit=1)[0]
    words = words_of(rest)
    others = [other for other in options.words if other == words]
    return None if words and others and words != options.words[index] else letter


_SMALL = re.compile(
    rf"(?:\b{_NOUN}\b{_ABOUT}\s*(?:is|:|=)|\b(?:choose|select|pick)|答案[是为:])\s*(?:option|choice|letter"
    rf"|the)?\s*(\(?)([a-z])(\)?)\s*(?=$|[.,;\n]|because|since)",
    re.I,
)


def _small_letter(body: str, options: Options, *, is_cut: bool) -> str | None:
    if options.have_small_letters:
        return None
    matches = [match for match in _SMALL.finditer(body) if match[2].upper() in options.letters and match[2].islower()]
    if not matches or (is_cut and not body[matches[-1].end() :]):
        return None
    last = matches[-1]
    left = body[max(0, last.start() - 80) : last.start()]
    return None if _LEFT_UNREAL.search(left) or _LEFT_NOT.search(left) else last[2].upper()


# ---- words ----


def _by_words(text: str, options: Options, *, is_cut: bool) -> str | None:
    """The option whose own words the response announces or concludes with, if it is exactly one."""
    if not options.words:
        return None
    announced = [found for found in commitments(text[-TAILS[1] :]) if found.is_whole or not is_cut]
    if announced:
        last = announced[-1]
        if last.is_negated:
            return option_of_words(last.body, options)
        return option_named(last.body, options, is_exact=last.kind is Kind.BOXED)
    if is_cut:
        return None
    sentences = closing_sentences(text)
    if len(sentences) == 1:
        return option_named(sentences[0], options)
    for sentence in sentences[:1]:
        if is_conclusion(sentence):
            return option_named(sentence, options)
    return None
