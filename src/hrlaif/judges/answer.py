"""Does a response's final answer equal the reference? Asked only where the rule verifier could not read the answer."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hrlaif.judges.addressed import withhold
from hrlaif.judges.ask import ask_fields, render
from hrlaif.judges.compare import conversation
from hrlaif.models.base import ChatModel
from hrlaif.types import Finish, Outcome, Prompt, Response, Verification
from hrlaif.verifiers import verify

_FRACTION = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
# A whole number with its sign, thousands, decimals and denominator; a word; a letter of a script that writes no spaces.
_WORDS = re.compile(
    r"(?:(?<![\w)\]}])[-\u2212])?\d+(?:,\d{3}(?!\d))*(?:\.\d+)?(?:/\d+)?|[^\W\d_\u0e00-\uffff]+|[^\W\d_]"
)


class AnswerCheck(BaseModel):
    """The judge's structured reply; the answer comes first, so that it is found before it is compared."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    final_answer: str
    verdict: Literal["same", "different", "none"]


async def check_answer(judge: ChatModel, prompt: Prompt, response: Response, *, purpose: str) -> Verification:
    """The judge's reading of a final answer; UNREADABLE where the judge finds none or its reply has another shape.

    `found` must occur in the response, word for word and number for number, else the judge made it up: that is
    UNREADABLE too, and so is a verdict that a rule contradicts.
    """
    request = conversation(prompt)
    text = withhold(response.text, request=request)
    question = render(
        "answer", trusted={"reference": _reference(prompt)}, untrusted={"request": request, "response": text}
    )
    fields, _, cost = await ask_fields(judge, question, AnswerCheck, purpose=purpose, max_tokens=128)
    found = fields.final_answer.strip() if fields else ""
    if fields is None or fields.verdict == "none" or not found or not _occurs(found, text):
        return Verification(response.id, Outcome.UNREADABLE, None, judge.name, cost=cost)
    outcome = Outcome.CORRECT if fields.verdict == "same" else Outcome.WRONG
    # The judge reads; where a rule can compare what it read with the reference, the two must agree.
    rule = await asyncio.to_thread(verify, prompt, replace(response, text=found, finish=Finish.STOP))
    if {outcome, rule.outcome} == {Outcome.CORRECT, Outcome.WRONG}:
        outcome = Outcome.UNREADABLE
    return Verification(response.id, outcome, found, judge.name, prompt.reference, cost)


def _reference(prompt: Prompt) -> str:
    """The reference as a person would say it: for a choice the letter with its text."""
    reference = prompt.reference or ""
    index = ord(reference[0].upper()) - ord("A") if len(reference) == 1 else -1
    return f"{reference}. {prompt.choices[index]}" if 0 <= index < len(prompt.choices) else reference


def _occurs(found: str, text: str) -> bool:
    """True where `text` holds `found`, whatever the case, punctuation and markup: 12 is in "**12.**", not in "120"."""
    wanted, words = _words(found), _words(text)
    if not wanted:
        return found in text
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))


def _words(text: str) -> list[str]:
    plain = _FRACTION.sub(r"\1/\2", unicodedata.normalize("NFKC", text)).casefold()
    return [word.replace(",", "").replace("\u2212", "-") for word in _WORDS.findall(plain)]
