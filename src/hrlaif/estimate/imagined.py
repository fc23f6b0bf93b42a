"""What a policy and a judge might say, in the shares that are assumed: the same text for the same request."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
import string
from collections.abc import Callable, Iterable
from importlib import resources
from typing import get_args

from hrlaif.config import Adaptive
from hrlaif.estimate.assumptions import Assumptions
from hrlaif.judges.ask import template, visible
from hrlaif.judges.compare import conversation
from hrlaif.labels.solve import PURPOSE as SOLVE
from hrlaif.models.base import ChatRequest
from hrlaif.prompts import calibration_pairs
from hrlaif.red_team.attacker import template as attacker_template
from hrlaif.types import Finish, Message, Prompt, Task

START = "answers/start"
REFUSAL = "I'm sorry, but I can't help with that. "
# Open every imagined rewrite, message of an attacker and answer to it, so that policy and judge know them again.
REWRITTEN = "There is a kinder way to reach what you are after. "
ADAPTED = "Let us look at it from another side. "
ANSWERED = "From that side it looks like this. "
ATTACKER = "attacker_"
REASON_TOKENS = 80
TOKENS_OF_OWN_WORD = 2
_ANY_ANSWER = {Task.MATH: "7", Task.CHOICE: "A", Task.SHORT: "yes"}
_QUOTED = re.compile(r"\[([a-z]{8})\]\n(.*?)\n\[/\1\]", re.DOTALL)
_NUMBER = re.compile(
    "[0-9=一二两三四五六七八九十百零]|\\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|dozen)", re.I
)
_HAN = re.compile("[\u3400-\u9fff]")


def chance(*parts: object) -> float:
    """A number in 0..1 that depends on the parts alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


class Imagination:
    """A policy (`answer`) and a judge (`reply`) that behave as assumed; each gives a text and how it ended."""

    def __init__(self, assumed: Assumptions, prompts: Iterable[Prompt], *, tokens: Callable[[str], int]) -> None:
        self._assumed, self._tokens = assumed, tokens
        self._by_messages: dict[tuple[Message, ...], Prompt] = {}
        self._tricky: set[str] = set()
        for prompt in prompts:
            self._by_messages[prompt.messages] = prompt
            if prompt.task is Task.BENIGN_TRICKY:
                self._tricky.add(visible(conversation(prompt)))

    def answer(self, request: ChatRequest) -> tuple[str, Finish]:
        """What a policy says: to a prompt of the run, or (any other request) to an attack."""
        prompt = self._by_messages.get(request.messages)
        question = request.messages[-1].content
        who: tuple[object, ...] = (request.seed, question)
        if request.purpose.startswith("answers/"):
            is_changed = request.purpose != START and chance("changed", *who, request.purpose) < self._assumed.changed
            who = (request.purpose if is_changed else START, *who)
        elif chance("distinct", *who) >= self._assumed.distinct:
            who = ("all alike", question)
        return self._response(prompt, question, who, request.max_tokens), Finish.STOP

    def _response(self, prompt: Prompt | None, question: str, who: tuple[object, ...], most_tokens: int) -> str:
        assumed = self._assumed
        if prompt is None or prompt.task in (Task.RED_TEAM, Task.BENIGN_TRICKY):
            is_tricky = prompt is not None and prompt.task is Task.BENIGN_TRICKY
            refused = assumed.over_refused if is_tricky else assumed.refused
            if chance("plain", *who) < refused * assumed.plain:
                return REFUSAL + self._prose(question, 20, *who).replace("\n", " ")
        if question.startswith(ADAPTED):
            return ANSWERED + self._prose(question, max(1, int(assumed.length * most_tokens)), *who)
        if prompt is not None and prompt.task.is_checkable:
            ending = "\n" + _final_answer(prompt, self._outcome(*who))
            left = max(1, int(assumed.length * most_tokens) - self._tokens(ending))
            return self._prose(question, left, *who) + ending
        return self._prose(question, max(1, int(assumed.length * most_tokens)), *who)

    def _outcome(self, *who: object) -> str:
        draw = chance("outcome", *who)
        if draw < self._assumed.unreadable:
            return "unreadable"
        return "right" if draw < self._assumed.unreadable + self._assumed.right else "wrong"

    def reply(self, request: ChatRequest) -> tuple[str, Finish]:
        """What a judge says to one of the questions in `judges/templates`, or to a prompt that it solves."""
        if request.purpose == SOLVE:
            return self._solution(request), Finish.STOP
        question = request.messages[-1].content
        texts = [text for _, text in _QUOTED.findall(question)]
        asked, shown = (texts[0], texts[-1]) if texts else (question, question)
        kind = kind_of(question)
        if kind in ("critique", "rewrite"):
            opening = f"{REWRITTEN}{asked[:60]} " if kind == "rewrite" else ""
            most_tokens = max(1, int(self._assumed.length * request.max_tokens) - self._tokens(opening))
            return opening + self._prose(asked, most_tokens, kind, request.seed, shown), Finish.STOP
        if kind.startswith(ATTACKER):
            if chance(kind, request.seed, shown) < self._assumed.attacker_refused:
                return REFUSAL, Finish.STOP
            most_tokens = max(1, int(self._assumed.length * request.max_tokens))
            message = ADAPTED + self._prose(asked, most_tokens, kind, request.seed, shown)
            return json.dumps({"plan": "another side", "message": message}, ensure_ascii=False), Finish.STOP
        if kind == "answer":
            is_found = chance(kind, shown) < self._assumed.found
            word = re.search(r"\w+", shown)
            answer = {"final_answer": word.group() if word else "", "verdict": "same" if is_found else "none"}
            return json.dumps(answer, ensure_ascii=False), Finish.STOP
        if kind == "satisfaction_reason":
            reason = self._prose(asked, REASON_TOKENS, kind, shown)
            is_parsed = chance(kind, shown) < self._assumed.parsed
            return json.dumps({"reason": reason, "satisfied": "yes" if is_parsed else "?"}), Finish.STOP
        if kind == "reply_json":
            verdict = {
                "reason": self._prose(asked, REASON_TOKENS, kind, shown),
                "better": self._letter(kind, asked, shown),
            }
            return json.dumps({**verdict, "confidence": 75}), Finish.STOP
        return self._letter(kind, asked, shown), Finish.STOP

    def _letter(self, kind: str, asked: str, shown: str) -> str:
        assumed = self._assumed
        # Refusals that a rule sees never reach the judge: what does is a share of the rest.
        refused = assumed.over_refused if asked in self._tricky else assumed.refused
        rest = 1 - refused * assumed.plain
        is_rewrite, draw = shown.startswith(REWRITTEN), chance("harm", shown) * rest
        declines = not is_rewrite and draw < refused * (1 - assumed.plain)
        harmful = assumed.broken if shown.startswith(ANSWERED) else assumed.harmful
        is_harmful = not is_rewrite and not declines and rest - draw <= harmful
        if kind == "harm_refusal":
            return "C" if declines else "A"
        if kind == "harm_useful":
            return "B" if is_rewrite and chance(kind, shown) >= assumed.rewritten else "A"
        if kind in ("harm_1", "harm_2"):
            return "A" if is_harmful == (kind == "harm_1") else "B"
        return "C" if kind == "harm_severity" else "AB"[chance(kind, asked, shown) < 0.5]

    def _solution(self, request: ChatRequest) -> str:
        prompt = self._by_messages[request.messages]
        question = request.messages[-1].content
        is_solved = chance("solved", question) < self._assumed.solved
        ending = "\n" + _final_answer(prompt, "right" if is_solved else "unreadable")
        most_tokens = max(1, int(self._assumed.length * request.max_tokens) - self._tokens(ending))
        return self._prose(question, most_tokens, "solve", request.seed) + ending

    def _prose(self, question: str, tokens: int, *who: object) -> str:
        """About so many tokens in the question's language, another text for everybody who says it."""
        is_chinese = bool(_HAN.search(question))
        words, tokens_per_word = _shipped_words(self._tokens, is_chinese=is_chinese)
        draw = random.Random("\0".join(map(str, (question, *who))))
        # A word of one's own first, since short texts could be the same by chance.
        own = "".join(draw.choices(string.ascii_lowercase, k=6))
        said = draw.choices(words, k=max(0, round((tokens - TOKENS_OF_OWN_WORD) / tokens_per_word)))
        return f"{own} {('' if is_chinese else ' ').join(said)}"


@functools.cache
def _shipped_words(tokens: Callable[[str], int], *, is_chinese: bool) -> tuple[list[str], float]:
    """The words (or Chinese characters) of the shipped labelled pairs, as often as they occur, and tokens per word.

    None that is a number: a rule could take it for a final answer.
    """
    text = " ".join(pair.response_a for pair in calibration_pairs() if (pair.lang == "zh") == is_chinese)
    words = [word for word in (list("".join(text.split())) if is_chinese else text.split()) if not _NUMBER.search(word)]
    return words, tokens(("" if is_chinese else " ").join(words)) / len(words)


def _final_answer(prompt: Prompt, outcome: str) -> str:
    """How a response ends that is right, wrong, or cannot be read."""
    right = prompt.reference or _ANY_ANSWER[prompt.task]
    if outcome == "unreadable":
        return "It is hard to say."
    if outcome == "right":
        return f"The answer is {right}"
    if prompt.task is Task.CHOICE:
        return f"The answer is {'B' if right.strip().casefold() == 'a' else 'A'}"
    return f"The answer is {'7919' if prompt.task is Task.MATH or right.strip().isdigit() else 'Zanzibar'}"


def kind_of(question: str) -> str:
    """The template that a judge's question was made from, by how it ends; "" where none ends so."""
    ending = question.rstrip()
    return next((name for name, tail in _tails() if ending.endswith(tail)), "")


@functools.cache
def _tails() -> tuple[tuple[str, str], ...]:
    folder = resources.files("hrlaif.judges").joinpath("templates")
    names = [file.name.removesuffix(".txt") for file in folder.iterdir() if file.name.endswith(".txt")]
    forms = {name: template(name) for name in names}
    forms |= {ATTACKER + strategy: attacker_template(strategy) for strategy in get_args(Adaptive)}
    tails = [(name, re.split(r"\$[a-z]+", form.template)[-1].strip()) for name, form in forms.items()]
    # The longest first: some templates end as a whole other one reads.
    return tuple(sorted(((name, tail) for name, tail in tails if tail), key=lambda one: (-len(one[1]), one[0])))
