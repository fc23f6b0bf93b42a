"""From a harmful response to one that may be chosen over it: critique, rewrite, and a check that trusts neither."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from hrlaif.config import RedTeamSection
from hrlaif.errors import CallError, ConfigError
from hrlaif.judges.ask import render, without_marks
from hrlaif.judges.harm import CLEAR_MARGIN, NO_CUTS, Useful, judge_harm, judge_useful
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.models.base import ChatModel, ChatRequest
from hrlaif.red_team.attacks import seed_of
from hrlaif.red_team.checks import ended, wrong_with_rewrite
from hrlaif.types import Finish, HarmOutcome, HarmVerdict, Message, Prompt, Response

PURPOSE = "red_team"
REWRITE = "rewrite by "  # how the source of a rewritten chosen text starts
VOTES = 2
CRITIQUE_TOKENS = 120
TEMPERATURE = 0.7
_NOT_SAFE = {
    HarmOutcome.HARMFUL: "still harmful",
    HarmOutcome.INCOHERENT: "gibberish",
    HarmOutcome.UNJUDGED: "unjudged",
}
_NOT_USEFUL = {Useful.ONLY_REFUSAL: "bare refusal", Useful.ANOTHER_SUBJECT: "off topic", None: "unjudged"}
_ADVICE = {
    "empty": "It was empty.",
    "markup": "It was markup or JSON; write plain sentences.",
    "gibberish": "It made no sense.",
    "bare refusal": "It only refused; after the refusal, offer something that helps.",
    "meta": "It talked about the rewriting; start with the answer itself.",
    "boilerplate": "It said what kind of being the assistant is; leave that out.",
    "copy": "It repeated the text that is not good enough.",
    "length": "It was far too short or far too long.",
    "off topic": "It was not about the request.",
    "cut off": "It was too long; end it earlier.",
    "still harmful": "It was still harmful.",
}


class Rewrite(NamedTuple):
    """The outcome of rewriting one response: a text that passed every check, or why the last attempt did not."""

    text: str | None
    principle: str
    verdicts: tuple[HarmVerdict, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Editor:
    """Who rewrites, who checks, and under which rules; `cuts` are those of the judge's scores on harm."""

    judge: ChatModel
    rewriter: ChatModel
    section: RedTeamSection
    principles: tuple[str, ...]
    seed: int
    cuts: HarmCuts = NO_CUTS

    async def rewrite(self, prompt: Prompt, rejected: Response) -> Rewrite:
        """Rewrite a harmful response, at most `section.max_rewrites` times, each time told what was wrong before."""
        verdicts: list[HarmVerdict] = []
        failed: list[str] = []
        principle = ""
        for attempt in range(self.section.max_rewrites):
            identity = f"{rejected.id}/rewrite/{attempt}"
            principle = random.Random(f"{self.seed}/{identity}").choice(self.principles)
            reply = await self._written(prompt, rejected, principle, again=failed[-1:], identity=identity)
            text, reason, verdict = await self.accepted(prompt, reply, rejected)
            verdicts += [verdict] if verdict else []
            if text is not None:
                return Rewrite(text, principle, tuple(verdicts), tuple(failed))
            failed.append(reason)
        return Rewrite(None, principle, tuple(verdicts), tuple(failed))

    async def judged(self, prompt: Prompt, responses: Sequence[Response]) -> list[HarmVerdict]:
        """What each response is, by two votes."""
        return list(
            await asyncio.gather(
                *(
                    judge_harm(self.judge, prompt, response, purpose=PURPOSE, votes=VOTES, cuts=self.cuts)
                    for response in responses
                )
            )
        )

    async def accepted(
        self, prompt: Prompt, candidate: Response, rejected: Response, *, margin: float = CLEAR_MARGIN
    ) -> tuple[str | None, str, HarmVerdict | None]:
        """The candidate's text if it may be chosen over the rejected response, else None and why; the judge's verdict.

        The text's own faults first, since they cost nothing; then a fresh judgement of harm by two votes; then
        whether it offers help on the request's subject, since it may decline the harm but must not leave it at that.
        What the judge cannot decide by the margin (a lead in probability) counts against the candidate.
        """
        whole = ended(candidate)
        if whole is None:
            return None, "call failed" if candidate.finish is Finish.FAILED else "cut off", None
        ratios = (self.section.min_length_ratio, self.section.max_length_ratio)
        if reason := wrong_with_rewrite(whole.text, request=prompt.question, rejected=rejected.text, ratios=ratios):
            return None, reason, None
        verdict = await judge_harm(
            self.judge, prompt, whole, purpose=PURPOSE, votes=VOTES, cuts=self.cuts, margin=margin
        )
        if reason := _NOT_SAFE.get(verdict.outcome):
            return None, reason, verdict
        useful, _, _ = await judge_useful(self.judge, prompt, whole, purpose=PURPOSE, margin=margin)
        if reason := _NOT_USEFUL.get(useful):
            return None, reason, verdict
        return whole.text, "", verdict

    async def _written(
        self, prompt: Prompt, rejected: Response, principle: str, *, again: Sequence[str], identity: str
    ) -> Response:
        """Critique first, then the rewrite; a failed call gives a FAILED response."""
        texts = {"request": prompt.question, "response": rejected.text}
        name, seed = self.rewriter.name, seed_of(self.seed, identity)
        try:
            question = render("critique", trusted={"principle": principle}, untrusted=texts)
            critique = await self.rewriter.chat(
                ChatRequest((Message("user", question),), max_tokens=CRITIQUE_TOKENS, purpose=PURPOSE)
            )
            advice = "".join(f"- An earlier attempt failed. {_ADVICE.get(reason, '')}" for reason in again)
            question = render(
                "rewrite",
                trusted={"principle": principle, "again": advice},
                untrusted={**texts, "critique": without_marks(critique.text, question)},
            )
            request = ChatRequest(
                (Message("user", question),),
                max_tokens=self.section.max_tokens,
                temperature=TEMPERATURE,
                seed=seed,
                purpose=PURPOSE,
            )
            reply = await self.rewriter.chat(request)
        except CallError:
            return Response(identity, prompt.id, "", name, seed, Finish.FAILED)
        return Response(identity, prompt.id, without_marks(reply.text, question), name, seed, reply.finish)


def principles(constitution: str) -> tuple[str, ...]:
    """The principles of a constitution file (our own if `constitution` is empty): one a line, # starts a comment.

    Raises:
        ConfigError: The file cannot be read or holds no principle.
    """
    try:
        if constitution:
            text = Path(constitution).read_text("utf-8")
        else:
            text = resources.files("hrlaif.red_team").joinpath("constitution.txt").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"red_team.constitution: {constitution} cannot be read ({error}).") from error
    found = tuple(text_lines(text))
    if not found:
        raise ConfigError(f"red_team.constitution: {constitution} holds no principle. Write one a line.")
    return found


def text_lines(text: str) -> list[str]:
    """The lines that hold something and are no comment."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
