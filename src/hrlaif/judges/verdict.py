"""One judge's answer to one comparison: a letter, or an object with a reason, read as P(the first is better)."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from hrlaif.judges.ask import ask_object, choose, option_mass, token_at
from hrlaif.judges.panel import FEW_LOGPROBS, Judge, with_room
from hrlaif.models.base import ChatReply
from hrlaif.types import Cost, Verdict

OPTIONS = ("A", "B")
OBJECT_TOKENS = 512
_STATED = {"A": Verdict.FIRST, "B": Verdict.SECOND, "tie": Verdict.TIE}
# The beginnings of "tie" that a tokenizer may make of it.
_TIE = ("T", "TI", "TIE")
# Some tokenizers write the space as "Ġ" or "▁".
_BETTER = re.compile(r'"better"[\sĠ▁]*:[\sĠ▁]*"')


class Reasoned(BaseModel):
    """The judge's structured reply; the reason comes first, so that it is found before the verdict."""

    reason: str
    better: Literal["A", "B", "tie"]
    confidence: float = Field(ge=50, le=100)


class Opinion(NamedTuple):
    """What a judge says of an ordered pair; `p_first` is 0.5 where its reply was unreadable."""

    p_first: float
    verdict: Verdict
    reply: str
    cost: Cost


async def opinion(judge: Judge, question: str, *, purpose: str) -> Opinion:
    """Ask one judge which response is better, in its form of reply.

    A letter gives its token's probability. An object gives the probability of the verdict's token where the endpoint
    returns alternatives to it (a tie counts half), else the confidence that it states: `c / 100` for A, `1 - c / 100`
    for B, 0.5 for a tie.
    """
    model = with_room(judge.model, judge.reply_max_tokens)
    if judge.reply == "letter":
        choice = await choose(model, question, OPTIONS, purpose=purpose)
        if choice.probabilities is None:
            return Opinion(0.5, Verdict.UNREADABLE, choice.reply, choice.cost)
        p_first = choice.probabilities["A"]
        return Opinion(p_first, verdict_of(p_first, tie_margin=0.0), choice.reply, choice.cost)
    found, reply = await ask_object(
        model, question, Reasoned, purpose=purpose, max_tokens=OBJECT_TOKENS, top_logprobs=FEW_LOGPROBS
    )
    if found is None:
        return Opinion(0.5, Verdict.UNREADABLE, reply.text, reply.cost)
    from_token = token_p_first(reply, found.better)
    p_first = stated_p_first(found) if from_token is None else from_token
    return Opinion(p_first, _STATED[found.better], reply.text, reply.cost)


def verdict_of(p_first: float, *, tie_margin: float) -> Verdict:
    """FIRST, SECOND, or TIE where `p_first` is within `tie_margin` of 0.5 (rounding errors forgiven)."""
    if abs(p_first - 0.5) <= tie_margin + 1e-9:
        return Verdict.TIE
    return Verdict.FIRST if p_first > 0.5 else Verdict.SECOND


def stated_p_first(found: Reasoned) -> float:
    """P(first) as the judge states it: its confidence, on the side that it prefers."""
    share = found.confidence / 100
    return {"A": share, "B": 1 - share, "tie": 0.5}[found.better]


def token_p_first(reply: ChatReply, better: str) -> float | None:
    """P(first) from the token at which the object's last "better" says which; None without alternatives to it.

    None also where that token does not say what was read from the text: then it belongs to something else.
    """
    drawn = [next(iter(alternatives), "") for alternatives in reply.top_logprobs]
    places = list(_BETTER.finditer("".join(drawn)))
    if not places:
        return None
    alternatives = reply.top_logprobs[token_at(drawn, places[-1].end())]
    mass = option_mass(alternatives, (*OPTIONS, *_TIE))
    shares = {"A": mass["A"], "B": mass["B"], "tie": sum(mass[start] for start in _TIE)}
    if len(alternatives) < 2 or max(shares, key=lambda option: shares[option]) != better or not shares[better]:
        return None
    return (shares["A"] + shares["tie"] / 2) / sum(shares.values())
