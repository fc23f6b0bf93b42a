"""Does a response's final answer equal the reference? Asked only where the rule verifier could not read the answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from hrlaif.judges.ask import ask_fields, render
from hrlaif.judges.compare import conversation
from hrlaif.models.base import ChatModel
from hrlaif.types import Outcome, Prompt, Response, Verification

_OUTCOMES = {"same": Outcome.CORRECT, "different": Outcome.WRONG, "none": Outcome.UNREADABLE}


class AnswerCheck(BaseModel):
    """The judge's structured reply; the answer comes first, so that it is found before it is compared."""

    final_answer: str
    verdict: Literal["same", "different", "none"]


async def check_answer(judge: ChatModel, prompt: Prompt, response: Response, *, purpose: str) -> Verification:
    """The judge's reading of a final answer; UNREADABLE where the judge finds none or its reply has another shape.

    `found` must occur in the response, else the judge made it up: that is UNREADABLE too.
    """
    question = render(
        "answer",
        trusted={"reference": _reference(prompt)},
        untrusted={"request": conversation(prompt), "response": response.text},
    )
    fields, _, cost = await ask_fields(judge, question, AnswerCheck, purpose=purpose, max_tokens=128)
    found = fields.final_answer.strip() if fields else ""
    if fields is None or not found or _plain(found) not in _plain(response.text):
        return Verification(response.id, Outcome.UNREADABLE, None, judge.name, cost=cost)
    outcome = _OUTCOMES[fields.verdict]
    return Verification(
        response.id, outcome, None if outcome is Outcome.UNREADABLE else found, judge.name, prompt.reference, cost
    )


def _reference(prompt: Prompt) -> str:
    """The reference as a person would say it: for a choice the letter with its text."""
    reference = prompt.reference or ""
    index = ord(reference[0].upper()) - ord("A") if len(reference) == 1 else -1
    return f"{reference}. {prompt.choices[index]}" if 0 <= index < len(prompt.choices) else reference


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
