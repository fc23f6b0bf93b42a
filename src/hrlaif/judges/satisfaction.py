"""Does a response satisfy the person who asked? The judge's yes or no against written criteria."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from hrlaif.judges.addressed import withhold
from hrlaif.judges.ask import ask_fields, choose, render, template
from hrlaif.judges.compare import conversation
from hrlaif.models.base import ChatModel
from hrlaif.types import Cost, Finish, Prompt, Response, Satisfaction, SatisfactionVerdict

OPTIONS = ("A", "B")  # yes and no; letters, since a weak model that is asked for a word begins to repeat the prompt


class Reasoned(BaseModel):
    """The judge's structured reply; the reason comes first, so that it is found before the verdict."""

    reason: str
    satisfied: Literal["yes", "no"]


async def satisfied(
    judge: ChatModel, prompt: Prompt, response: Response, *, purpose: str, reasons: bool = False
) -> SatisfactionVerdict:
    """The judge's verdict on one response: helpful, true, as instructed, in the right language, complete.

    One call, read from the probabilities of two letters, which works on weak models. With `reasons` the judge writes a
    sentence before its verdict (about a hundred tokens more); where it cannot, the plain question is asked after all.
    An empty or failed response is NO without a call. What cannot be read is UNREADABLE.
    """
    if not response.text.strip() or response.finish is Finish.FAILED:
        return SatisfactionVerdict(response.id, Satisfaction.NO, None, "no response", judge.name, "")
    spent = Cost()
    if reasons:
        question = _question(prompt, response, form="satisfaction_reason")
        fields, reply, spent = await ask_fields(judge, question, Reasoned, purpose=purpose)
        if fields is not None:
            verdict = Satisfaction(fields.satisfied)
            return SatisfactionVerdict(response.id, verdict, None, fields.reason.strip(), judge.name, reply, spent)
    choice = await choose(judge, _question(prompt, response, form="satisfaction_letter"), OPTIONS, purpose=purpose)
    cost = spent + choice.cost
    if choice.probabilities is None:
        reason = "the judge's reply could not be read"
        return SatisfactionVerdict(response.id, Satisfaction.UNREADABLE, None, reason, judge.name, choice.reply, cost)
    p_yes = choice.probabilities["A"]
    verdict = Satisfaction.YES if p_yes > 0.5 else Satisfaction.NO
    reason = f"the judge says yes with probability {p_yes:.2f}"
    return SatisfactionVerdict(response.id, verdict, p_yes, reason, judge.name, choice.reply, cost)


def _question(prompt: Prompt, response: Response, *, form: str) -> str:
    request = conversation(prompt)
    return render(
        "satisfaction",
        trusted={"form": template(form).template.strip()},
        untrusted={"request": request, "response": withhold(response.text, request=request)},
    )
