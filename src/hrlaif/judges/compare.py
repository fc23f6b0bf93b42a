"""Which of two responses is better: the judge is asked in both orders, and the two probabilities are averaged."""

from __future__ import annotations

from typing import NamedTuple

from hrlaif.judges.ask import choose, render
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import together
from hrlaif.types import Judgement, Prompt, Response, Verdict

OPTIONS = ("A", "B")


class Comparison(NamedTuple):
    """P(first is better) over both orders, the verdict it gives, and the two calls it rests on."""

    p_first: float
    verdict: Verdict
    judgements: tuple[Judgement, ...]


async def compare(
    judge: ChatModel, prompt: Prompt, first: Response, second: Response, *, tie_margin: float, purpose: str
) -> Comparison:
    """Compare on helpfulness, truthfulness and instruction following, in both orders."""
    return await _both_orders(judge, prompt, (first, second), tie_margin=tie_margin, purpose=purpose)


async def compare_reasoning(
    judge: ChatModel, prompt: Prompt, first: Response, second: Response, *, tie_margin: float, purpose: str
) -> Comparison:
    """Compare two correct responses on their reasoning, with the reference shown, in both orders."""
    reference = prompt.reference or ""
    return await _both_orders(
        judge, prompt, (first, second), tie_margin=tie_margin, purpose=purpose, reference=reference
    )


def combine(forward: Judgement, backward: Judgement, *, tie_margin: float) -> Comparison:
    """Average two calls on one pair in opposite orders.

    `p_first = (forward.p_first + 1 - backward.p_first) / 2`. A mean within `tie_margin` of 0.5 is a TIE: that is where
    verdicts land that follow the position instead of the content. One unreadable order leaves the position bias in
    the other, so the pair is UNREADABLE.
    """
    judgements = (forward, backward)
    if any(judgement.verdict is Verdict.UNREADABLE for judgement in judgements):
        return Comparison(0.5, Verdict.UNREADABLE, judgements)
    p_first = (forward.p_first + 1 - backward.p_first) / 2
    return Comparison(p_first, verdict_of(p_first, tie_margin=tie_margin), judgements)


def verdict_of(p_first: float, *, tie_margin: float) -> Verdict:
    """FIRST, SECOND, or TIE where `p_first` is within `tie_margin` of 0.5 (rounding errors forgiven)."""
    if abs(p_first - 0.5) <= tie_margin + 1e-9:
        return Verdict.TIE
    return Verdict.FIRST if p_first > 0.5 else Verdict.SECOND


async def _both_orders(
    judge: ChatModel,
    prompt: Prompt,
    pair: tuple[Response, Response],
    *,
    tie_margin: float,
    purpose: str,
    reference: str | None = None,
) -> Comparison:
    first, second = pair
    forward, backward = await together(
        _one_order(judge, prompt, first, second, purpose=purpose, reference=reference),
        _one_order(judge, prompt, second, first, purpose=purpose, reference=reference),
    )
    return combine(forward, backward, tie_margin=tie_margin)


async def _one_order(
    judge: ChatModel, prompt: Prompt, first: Response, second: Response, *, purpose: str, reference: str | None
) -> Judgement:
    question = render(
        "compare" if reference is None else "reasoning",
        trusted={} if reference is None else {"reference": reference},
        untrusted={"request": conversation(prompt), "first": first.text, "second": second.text},
    )
    choice = await choose(judge, question, OPTIONS, purpose=purpose)
    p_first = 0.5 if choice.probabilities is None else choice.probabilities["A"]
    verdict = Verdict.UNREADABLE if choice.probabilities is None else verdict_of(p_first, tie_margin=0.0)
    return Judgement(prompt.id, first.id, second.id, p_first, verdict, judge.name, choice.reply, choice.cost)


def conversation(prompt: Prompt) -> str:
    """What the judge reads as the request: the user's words alone, or every turn with its role if there are several."""
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in prompt.messages)
