"""The red-team stage: attacks are sent, answers judged, harmful ones rewritten; resumable block by block."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from hrlaif.artifacts import Journal, read_manifest
from hrlaif.config import RedTeamSection
from hrlaif.errors import GateError
from hrlaif.models.base import ChatModel, Decoding, Sampler, SampleRequest
from hrlaif.models.flow import ordered
from hrlaif.progress import Progress
from hrlaif.red_team.attacks import as_prompt, plan, seed_of
from hrlaif.red_team.cases import BENIGN, benign_attack, counter_cases, harm_cases
from hrlaif.red_team.rewrite import REWRITE, Editor, principles
from hrlaif.types import Attack, HarmOutcome, Prompt, RedTeamCase, Response, Split, Task

BLOCK = 32  # attacks sampled at a time; what a crash can cost
Follow = Callable[[Editor, Prompt, Attack, Sequence[Response]], Awaitable[list[RedTeamCase]]]


def attack(
    prompts: Sequence[Prompt],
    *,
    sampler: Sampler,
    judge: ChatModel,
    rewriter: ChatModel,
    section: RedTeamSection,
    seed: int,
    path: Path,
    fingerprint: str,
) -> dict[str, int]:
    """Attack the policy, write one RedTeamCase per response to `path`, and return the funnel: how many of what.

    Of `prompts`, the training ones with task RED_TEAM and BENIGN_TRICKY are used, the others passed over. A crashed
    attempt with the same fingerprint continues at the last whole block.

    Raises:
        ConfigError: An unknown strategy, or a constitution that cannot be used.
    """
    train = [prompt for prompt in prompts if prompt.split is Split.TRAIN]
    seeds = [prompt for prompt in train if prompt.task is Task.RED_TEAM]
    benign = [prompt for prompt in train if prompt.task is Task.BENIGN_TRICKY]
    attacks, repeats = plan(seeds, wanted=section.strategies, per_prompt=section.attacks_per_prompt, seed=seed)
    editor = Editor(judge, rewriter, section, principles(section.constitution), seed)
    run = _Run(editor, sampler, {prompt.id: prompt for prompt in train})
    with Journal(path, fingerprint=fingerprint) as journal:
        cases = [case for block in journal.done(RedTeamCase) for case in block] if journal.items else []
        with Progress("red team", len(attacks), done=min(len(attacks), journal.items * BLOCK)) as progress:
            for start in range(journal.items * BLOCK, len(attacks), BLOCK):
                block = attacks[start : start + BLOCK]
                cases += run.block(block, harm_cases, journal)
                progress.advance(len(block))
        wanted = max(section.min_counter_pairs, round(section.counter_pairs * _pairs(cases, benign=False)))
        cases += run.counter_pairs(benign, cases, journal, wanted=wanted)
        counts = {"prompts": len(seeds), "attacks": len(attacks), **funnel(cases), **_dropped(repeats)}
        journal.finish(policy=sampler.name, judge=judge.name, rewriter=rewriter.name, seed=seed, counts=counts)
    return counts


def check_gate(path: Path, *, max_unjudged: float) -> None:
    """Let nobody train on a red team whose judge could not judge.

    Raises:
        GateError: More than the share `max_unjudged` of the responses in the finished file were left unjudged.
    """
    counts = (read_manifest(path) or {})["counts"]
    unjudged, responses = counts[HarmOutcome.UNJUDGED.value], counts["responses"]
    if unjudged > max_unjudged * responses:
        raise GateError(
            f"red team: the judge left {unjudged} of {responses} responses unjudged, more than the share of "
            f"{max_unjudged} that red_team.max_unjudged allows. Use a stronger judge; the cases are in {path}."
        )


def funnel(cases: Sequence[RedTeamCase]) -> dict[str, int]:
    """How many responses had which outcome, how many pairs came of them, and what was dropped for which reason.

    `confirmed` counts the responses that every vote found harmful, `rewritten` those that a rewrite replaces.
    """
    outcomes = Counter(case.verdict.votes[0] for case in cases)
    final = Counter(case.verdict.outcome for case in cases)
    return {
        "responses": len(cases),
        **{outcome.value: final[outcome] for outcome in HarmOutcome},
        "harmful_once": outcomes[HarmOutcome.HARMFUL],
        "rewritten": sum(case.chosen_source.startswith(REWRITE) for case in cases),
        "pairs": _pairs(cases, benign=False),
        "counter_pairs": _pairs(cases, benign=True),
        **_dropped(Counter(case.dropped for case in cases if case.dropped)),
    }


def _pairs(cases: Sequence[RedTeamCase], *, benign: bool) -> int:
    return sum(case.chosen is not None and (case.attack.strategy == BENIGN) == benign for case in cases)


def _dropped(reasons: Mapping[str, int]) -> dict[str, int]:
    return {f"dropped: {reason}": count for reason, count in sorted(reasons.items(), key=lambda item: -item[1])}


class _Run:
    """The models and the prompts of one stage, and what is done with a block of attacks."""

    def __init__(self, editor: Editor, sampler: Sampler, prompts: Mapping[str, Prompt]) -> None:
        self.editor, self.sampler, self.prompts = editor, sampler, prompts

    def block(self, attacks: Sequence[Attack], follow: Follow, journal: Journal) -> list[RedTeamCase]:
        """Sample a block of attacks, follow every response, and journal the cases as one item."""
        sampled = self._sampled(attacks)
        cases = asyncio.run(self._followed(attacks, sampled, follow))
        journal.append(cases)
        return cases

    def counter_pairs(
        self, benign: Sequence[Prompt], cases: Sequence[RedTeamCase], journal: Journal, *, wanted: int
    ) -> list[RedTeamCase]:
        """Cases of harmless requests, block by block until `wanted` pairs came of them or no request is left.

        `cases` may hold some of an earlier attempt: where it stood follows from them alone.
        """
        seed = self.editor.seed
        order = [benign_attack(prompt) for prompt in sorted(benign, key=lambda prompt: seed_of(seed, prompt.id))]
        asked = len({case.attack.id for case in cases if case.attack.strategy == BENIGN})
        made, new = _pairs(cases, benign=True), list[RedTeamCase]()
        with Progress("red team, harmless requests", None, done=asked) as progress:
            while made < wanted and asked < len(order):
                block = order[asked : asked + min(BLOCK, wanted - made)]
                new += self.block(block, counter_cases, journal)
                asked += len(block)
                made = _pairs(cases, benign=True) + _pairs(new, benign=True)
                progress.advance(len(block))
        return new

    def _sampled(self, attacks: Sequence[Attack]) -> list[list[Response]]:
        section = self.editor.section
        requests = [
            SampleRequest(as_prompt(attack, self.prompts[attack.prompt_id]), name, seed_of(self.editor.seed, name))
            for attack in attacks
            for name in (f"{attack.id}/{k}" for k in range(section.responses_per_attack))
        ]
        decoding = Decoding(temperature=section.temperature, max_tokens=section.max_tokens)
        responses = list(self.sampler.sample(requests, decoding))
        each = section.responses_per_attack
        return [responses[start : start + each] for start in range(0, len(responses), each)]

    async def _followed(
        self, attacks: Sequence[Attack], sampled: Sequence[Sequence[Response]], follow: Follow
    ) -> list[RedTeamCase]:
        async def work(item: tuple[Attack, Sequence[Response]]) -> list[RedTeamCase]:
            attack, responses = item
            return await follow(self.editor, self.prompts[attack.prompt_id], attack, responses)

        judge, rewriter = self.editor.judge, self.editor.rewriter
        async with contextlib.AsyncExitStack() as models:
            for model in (judge,) if rewriter is judge else (judge, rewriter):
                await models.enter_async_context(model)
            groups = zip(attacks, sampled, strict=True)
            return [case async for cases in ordered(groups, work, window=BLOCK) for case in cases]
