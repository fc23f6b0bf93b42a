"""Which of two responses is better: every judge is asked in both orders, and their probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from string import Template
from typing import NamedTuple

from hrlaif.config import STANDARD_PROMPT
from hrlaif.judges.addressed import addressed, withhold
from hrlaif.judges.ask import render, template
from hrlaif.judges.panel import Judge, Panel, panel_of
from hrlaif.judges.verdict import opinion, verdict_of
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import together
from hrlaif.types import Judgement, Label, Prompt, Response, Verdict

Ordered = tuple[Response, Response]


class Comparison(NamedTuple):
    """P(first is better) over all judges and both orders, the verdict it gives, and the calls it rests on."""

    p_first: float
    verdict: Verdict
    judgements: tuple[Judgement, ...]


class Vote(NamedTuple):
    """One judge's calls on one pair: in the pair's order, and in the opposite one."""

    forward: Judgement
    backward: Judgement

    @property
    def is_readable(self) -> bool:
        """False where either order could not be read: the other one alone carries the judge's position bias."""
        return Verdict.UNREADABLE not in (self.forward.verdict, self.backward.verdict)


async def compare(
    judge: ChatModel | Panel, prompt: Prompt, first: Response, second: Response, *, tie_margin: float, purpose: str
) -> Comparison:
    """Compare on helpfulness, truthfulness and instruction following, or as a judge's own wording says."""
    return await _ask_all(judge, prompt, (first, second), tie_margin=tie_margin, purpose=purpose)


async def compare_reasoning(
    judge: ChatModel | Panel, prompt: Prompt, first: Response, second: Response, *, tie_margin: float, purpose: str
) -> Comparison:
    """Compare two correct responses on their reasoning, with the reference shown."""
    reference = prompt.reference or ""
    return await _ask_all(judge, prompt, (first, second), tie_margin=tie_margin, purpose=purpose, reference=reference)


def combine(votes: Sequence[Vote], *, tie_margin: float) -> Comparison:
    """The weighted mean of all votes that are readable in both orders.

    `p_first = sum(weight * (forward.p_first + 1 - backward.p_first) / 2) / sum(weight)`. A mean within `tie_margin` of
    0.5 is a TIE: that is where verdicts land that follow the position instead of the content. Without a readable vote
    the pair is UNREADABLE. All calls are kept, those of judges that dropped out too.
    """
    judgements = tuple(judgement for vote in votes for judgement in vote)
    readable = [vote for vote in votes if vote.is_readable]
    if not readable:
        return Comparison(0.5, Verdict.UNREADABLE, judgements)
    p_first = _weighted(readable, [(vote.forward.p_first + 1 - vote.backward.p_first) / 2 for vote in readable])
    return Comparison(p_first, verdict_of(p_first, tie_margin=tie_margin), judgements)


def votes_of(label: Label) -> list[Vote]:
    """The votes in a label's evidence, in the order of the panel; a call without its opposite is left out."""
    found: dict[tuple[str, str, str], Judgement] = {}
    for judgement in label.evidence.judgements:
        found[judgement.judge, judgement.first_id, judgement.second_id] = judgement
    pairs = [
        (found.get((judge, label.first_id, label.second_id)), found.get((judge, label.second_id, label.first_id)))
        for judge in dict.fromkeys(judgement.judge for judgement in label.evidence.judgements)
    ]
    return [Vote(forward, backward) for forward, backward in pairs if forward is not None and backward is not None]


def pooled(votes: Sequence[Vote]) -> Vote:
    """A panel as if it were one judge: its one vote, or for each order the weighted mean of the readable ones.

    The reply is empty, and nothing was paid for it. There must be a vote.
    """
    readable = [vote for vote in votes if vote.is_readable]
    if len(votes) == 1 or not readable:
        return votes[0]
    forward, backward = (
        Judgement(
            calls[0].prompt_id,
            calls[0].first_id,
            calls[0].second_id,
            p_first := _weighted(readable, [call.p_first for call in calls]),
            verdict_of(p_first, tie_margin=0.0),
            "panel",
            "",
        )
        for calls in zip(*readable, strict=True)
    )
    return Vote(forward, backward)


def orders(vote: Vote) -> tuple[Verdict, Verdict]:
    """The verdicts of a vote's two calls, each as the judge gave it: a row of a flip rate."""
    return vote.forward.verdict, vote.backward.verdict


def _weighted(votes: Sequence[Vote], values: Sequence[float]) -> float:
    weights = [vote.forward.weight for vote in votes]
    return math.fsum(w * value for w, value in zip(weights, values, strict=True)) / math.fsum(weights)


async def _ask_all(
    judge: ChatModel | Panel,
    prompt: Prompt,
    pair: Ordered,
    *,
    tie_margin: float,
    purpose: str,
    reference: str | None = None,
) -> Comparison:
    # A policy that is trained on these verdicts would otherwise learn to write to the judge.
    request = conversation(prompt)
    first, second = (replace(response, text=withhold(response.text, request=request)) for response in pair)
    calls = [
        _one_order(one, prompt, shown, purpose=purpose, reference=reference)
        for one in panel_of(judge).judges
        for shown in ((first, second), (second, first))
    ]
    made = await together(*calls)
    given = [Vote(forward, backward) for forward, backward in zip(made[::2], made[1::2], strict=True)]
    return combine(given, tie_margin=tie_margin)


async def _one_order(judge: Judge, prompt: Prompt, shown: Ordered, *, purpose: str, reference: str | None) -> Judgement:
    first, second = shown
    found = await opinion(judge, question(judge, prompt, shown, reference=reference), purpose=purpose)
    return Judgement(
        prompt.id, first.id, second.id, found.p_first, found.verdict, judge.name, found.reply, found.cost, judge.weight
    )


def question(judge: Judge, prompt: Prompt, shown: Ordered, *, reference: str | None = None) -> str:
    """What a judge is asked about two responses; with a reference both are correct, and their reasoning is compared.

    For that the standard wording has one of its own; to any other the reference and what to compare are added.
    """
    trusted = {"form": template(f"reply_{judge.reply}").template.strip()}
    wording: str | Template = f"compare_{judge.prompt}"
    if judge.template:
        names = [found["named"] or found["braced"] for found in Template.pattern.finditer(judge.template)]
        wording = Template(judge.template if "form" in names else f"{judge.template.rstrip()}\n\n$form")
    if reference is not None and judge.prompt == STANDARD_PROMPT:
        wording, trusted["reference"] = "reasoning_standard", reference
    elif reference is not None:
        note = template("reasoning_other").substitute(reference=reference)
        trusted["form"] = f"{note}{trusted['form']}"
    first, second = shown
    untrusted = {"request": conversation(prompt), "first": first.text, "second": second.text}
    return render(wording, trusted=trusted, untrusted=untrusted)


def withheld_from_judge(prompt: Prompt, response: Response) -> list[str]:
    """The sentences of a response that its judge is not shown, because they speak to the judge."""
    return addressed(response.text, request=conversation(prompt))


def conversation(prompt: Prompt) -> str:
    """What the judge reads as the request: the user's words alone, or every turn with its role if there are several."""
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in prompt.messages)
