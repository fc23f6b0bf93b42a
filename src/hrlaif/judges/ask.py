"""How every judge asks: a template, untrusted text between unguessable marks, and a reply read strictly or not at all.

Two kinds of question. `choose` wants one of a few letters and returns their probabilities (from the log-probabilities
of the verdict tokens where the endpoint returns them, otherwise from the reply's text). `ask_fields` wants a JSON
object and returns it validated. Both skip what a reasoning model thinks aloud first, and return None for what cannot
be read: never a guess.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hrlaif.errors import CallError
from hrlaif.judges.inert import inert
from hrlaif.models.base import ChatModel, ChatReply, ChatRequest
from hrlaif.types import Cost, Finish, Message

Fields = TypeVar("Fields", bound=BaseModel)
LETTER_TOKENS = 4
TOP_LOGPROBS = 20
# Characters that a reader does not see but a model reads: controls, zero-width, bidirectional controls, fillers,
# variation selectors, tags, soft hyphen, half surrogate pairs.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
# A reply that chooses: one letter, with nothing but quotation marks and the like before it. Not "<<b" (a weak judge
# that repeats a mark), not "A, B", not "A good answer would" (only "A is" and "A because" go on about the response).
_CHOICE = re.compile(
    r"(?:[^\w<]|_)*([A-Za-z])(?![A-Za-z0-9])(?![ \t]+(?!is\b|because\b)[a-z]|[ \t]*[,/&][ \t]*[A-Z]\b)"
)
# What may stand around the letter within its token; "Ġ" is the space as some tokenizers write it.
_AROUND = re.compile(r"^Ġ|[^\w<]|_")
_THOUGHTS = re.compile(r"(?:\s*<think>.*?</think>)*", re.DOTALL)
_CLOSED = "</think>"
_OBJECT = re.compile(r"\s*(?:\{|```)")
# The closing marks of `render`, which no untrusted text can imitate, and the name that the templates give to marks.
_MARK = re.compile(r"^\[/([a-z]{8})\]$", re.MULTILINE)
_NAMED_MARK = re.compile(r"^[ \t]*\[/?code\][ \t]*(?:\n|\Z)|\A\s*\[/?code\]|\[/?code\]\s*\Z", re.MULTILINE)
_AS_LETTERS = bytes(ord("a") + byte % 26 for byte in range(256))


@dataclass(frozen=True, slots=True)
class Choice:
    """The judge's choice among letters: probabilities that sum to 1, or None where the reply was unreadable."""

    probabilities: Mapping[str, float] | None
    reply: str
    cost: Cost


@functools.cache
def template(name: str) -> string.Template:
    """The prompt `templates/NAME.txt`; `$name` marks stand for values."""
    return string.Template(resources.files("hrlaif.judges").joinpath(f"templates/{name}.txt").read_text("utf-8"))


def render(
    form: str | string.Template, *, trusted: Mapping[str, str] | None = None, untrusted: Mapping[str, str]
) -> str:
    """A template (or the one of that name) with its values; each untrusted text stands between marks that it cannot
    contain.

    The mark is a hash of all untrusted texts: whoever wrote one of them cannot know it, yet the same question always
    gives the same prompt, so that the ledger recognises it. The texts are sorted first, so that both orders of a pair
    begin alike up to the first response, which an endpoint with a prompt cache reads once. Square brackets, because
    small models begin to repeat marks of other shapes.
    """
    shown = {key: _quotable(text) for key, text in untrusted.items()}
    digest = hashlib.sha256("\0".join(sorted(shown.values())).encode()).digest()
    # Letters, because models split digits into one token each, and every mark is paid for six times a question.
    nonce = digest[:8].translate(_AS_LETTERS).decode()
    quoted = {key: f"[{nonce}]\n{text}\n[/{nonce}]" for key, text in shown.items()}
    chosen = template(form) if isinstance(form, str) else form
    return chosen.substitute({**(trusted or {}), **quoted})


def without_marks(text: str, question: str) -> str:
    """What a model wrote on a question of `render`, without the marks around its texts, which small models repeat.

    The marks of this question go wherever they stand: nobody else knows them, so nothing else can be meant. The
    `[code]` by which the templates speak of them goes from lines of its own and from both ends.
    """
    if nonces := "|".join(dict.fromkeys(_MARK.findall(question))):
        text = re.sub(rf"^[ \t]*\[/?(?:{nonces})\][ \t]*\n|\[/?(?:{nonces})\]", "", text, flags=re.MULTILINE)
    return _NAMED_MARK.sub("", text).strip()


@functools.lru_cache(maxsize=1024)  # each text is quoted in both orders, and a request with all of its responses
def _quotable(text: str) -> str:
    return inert(visible(text))


@functools.lru_cache(maxsize=1024)
def visible(text: str) -> str:
    """The text as a person would see it: invisible and direction-changing characters removed."""
    return _INVISIBLE.sub("", text)


def after_thoughts(text: str) -> str | None:
    """The reply after the `<think>` blocks that it opens with; None where the last one is not closed: it was cut off.

    Some chat templates open the block themselves, so that only its end is in the reply. A reply that begins with an
    object has no thoughts: what looks like their end is quoted in it.
    """
    skipped = _THOUGHTS.match(text)
    answer = text[skipped.end() :] if skipped else text
    if answer.lstrip().startswith("<think>"):
        return None
    if len(answer) == len(text) and not _OBJECT.match(text):
        answer = text.rpartition(_CLOSED)[2]
    return answer


async def choose(judge: ChatModel, question: str, options: tuple[str, ...], *, purpose: str) -> Choice:
    """Ask for one of the letters in `options`. A failed call is an unreadable choice, so that it costs one label."""
    request = ChatRequest(
        (Message("user", question),), max_tokens=LETTER_TOKENS, top_logprobs=TOP_LOGPROBS, purpose=purpose
    )
    reply = await _asked(judge, request)
    return Choice(letter_probabilities(reply, options), reply.text, reply.cost)


async def _asked(judge: ChatModel, request: ChatRequest) -> ChatReply:
    """The reply, or for a failed call one that says so: nothing to read, and nothing paid."""
    try:
        return await judge.chat(request)
    except CallError as error:
        return ChatReply(f"call failed: {error}", Finish.FAILED, judge.name)


def letter_probabilities(reply: ChatReply, options: tuple[str, ...]) -> dict[str, float] | None:
    """P(option), normalised over the options; None where the reply does not begin with one of these letters.

    Read from the alternatives of the token that holds the letter; variants (" A", "a", "A.") count together. Without
    log-probabilities the reply's letter gets probability 1. Thoughts before the letter are skipped.
    """
    answer = after_thoughts(reply.text)
    if answer is None or _may_be_cut_thoughts(reply):
        return None
    chosen = _CHOICE.match(answer)
    if chosen is None or (letter := chosen.group(1).upper()) not in options:
        return None
    for alternatives in _positions_after_thoughts(reply.top_logprobs):
        best = _letter(max(alternatives, key=alternatives.__getitem__, default=""))
        if not best:
            continue
        mass = option_mass(alternatives, options)
        total = sum(mass.values())
        if best in options and total > 0:
            return {option: probability / total for option, probability in mass.items()}
        break
    return {option: float(option == letter) for option in options}


def _may_be_cut_thoughts(reply: ChatReply) -> bool:
    """True where a reply had room to think, used it up, and shows no end of thoughts: "A is" may be one of them."""
    had_room = reply.cost.completion_tokens > LETTER_TOKENS
    return reply.finish is Finish.LENGTH and had_room and _CLOSED not in reply.text


def _positions_after_thoughts(positions: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    """Endpoints that keep thoughts out of the text still give their tokens; the first key is the token drawn."""
    if len(positions) <= LETTER_TOKENS:
        return positions
    drawn = [next(iter(alternatives), "") for alternatives in positions]
    end = "".join(drawn).rfind(_CLOSED)
    return positions if end < 0 else positions[token_at(drawn, end + len(_CLOSED) - 1) + 1 :]


def token_at(tokens: Sequence[str], character: int) -> int:
    """Which of the tokens holds a character of the text that they make together; the last one beyond its end."""
    for index, token in enumerate(tokens):
        character -= len(token)
        if character < 0:
            return index
    return len(tokens) - 1


def option_mass(alternatives: Mapping[str, float], options: Sequence[str]) -> dict[str, float]:
    """How much probability the alternatives (log-probabilities in nats) give to each option, however it is written."""
    mass = dict.fromkeys(options, 0.0)
    for token, logprob in alternatives.items():
        if (variant := _letter(token)) in mass:
            mass[variant] += math.exp(logprob)
    return mass


@functools.lru_cache(maxsize=4096)  # the same few tokens come up in every reply
def _letter(token: str) -> str:
    return _AROUND.sub("", token).upper()


async def ask_fields(
    judge: ChatModel, question: str, fields: type[Fields], *, purpose: str, max_tokens: int = 256
) -> tuple[Fields | None, str, Cost]:
    """Ask for a JSON object of the shape `fields`; returns (the object or None, the raw reply, its cost)."""
    found, reply = await ask_object(judge, question, fields, purpose=purpose, max_tokens=max_tokens)
    return found, reply.text, reply.cost


async def ask_object(
    judge: ChatModel, question: str, fields: type[Fields], *, purpose: str, max_tokens: int, top_logprobs: int = 0
) -> tuple[Fields | None, ChatReply]:
    """As `ask_fields`, with the whole reply, whose log-probabilities say how sure the judge is of each word."""
    request = ChatRequest(
        (Message("user", question),),
        max_tokens=max_tokens,
        top_logprobs=top_logprobs,
        response_schema=fields.model_json_schema(),
        purpose=purpose,
    )
    reply = await _asked(judge, request)
    answer = after_thoughts(reply.text)
    return (None if answer is None else parse_fields(answer, fields)), reply


def parse_fields(text: str, fields: type[Fields]) -> Fields | None:
    """The last JSON object in the text that fits `fields`, None if there is none."""
    decoder = json.JSONDecoder()
    found: Fields | None = None
    position = text.find("{")
    while position >= 0:
        try:
            value: Any
            value, end = decoder.raw_decode(text, position)
            found = fields.model_validate(value)
            position = text.find("{", end)
        # RecursionError: a reply of nothing but brackets.
        except (ValueError, ValidationError, RecursionError):
            position = text.find("{", position + 1)
    return found
