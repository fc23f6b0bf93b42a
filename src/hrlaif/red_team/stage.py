"""The red-team stage: attacks are sent, answers judged, harmful ones rewritten; resumable block by block."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hrlaif.artifacts import Journal, fingerprint, read_manifest
from hrlaif.config import RedTeamSection
from hrlaif.errors import GateError
from hrlaif.judges.harm import NO_CUTS
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.models.base import ChatModel, Sampler
from hrlaif.progress import Progress
from hrlaif.red_team.adaptive import Loop, adaptive_plan, sent_texts, used_strategies
from hrlaif.red_team.archive import BENIGN, archive, asr, attempts
from hrlaif.red_team.attacker import Attacker
from hrlaif.red_team.attacks import grow, plan, seed_of
from hrlaif.red_team.cases import benign_attack, counter_cases, harm_cases
from hrlaif.red_team.rewrite import REWRITE, Editor, principles
from hrlaif.red_team.target import BLOCK, Target, asked
from hrlaif.types import Attack, HarmOutcome, Prompt, RedTeamCase, Response, Split, Task

Item = TypeVar("Item")
Follow = Callable[[Editor, Prompt, Attack, Sequence[Response]], Awaitable[list[RedTeamCase]]]
FROZEN = "frozen set"  # why its cases make no pairs


def attack(
    prompts: Sequence[Prompt],
    *,
    sampler: Sampler,
    judge: ChatModel,
    rewriter: ChatModel,
    attacker: ChatModel,
    section: RedTeamSection,
    seed: int,
    path: Path,
    fingerprint: str,
    earlier: Sequence[RedTeamCase] = (),
    round_number: int = 1,
    harm_cuts: HarmCuts = NO_CUTS,
) -> dict[str, int]:
    """Attack the policy, write one RedTeamCase per response to `path`, and return the funnel: how many of what.

    Of `prompts`, the training ones with task RED_TEAM and BENIGN_TRICKY are used, the others passed over. In the first
    round these are attacked plainly and under strategies; in later ones by what the cases of the `earlier` rounds
    taught. `harm_cuts` are those of the judge's scores. A crashed attempt with the same fingerprint continues at the
    last whole block.

    Raises:
        ConfigError: An unknown strategy, or a constitution that cannot be used.
    """
    train = [prompt for prompt in prompts if prompt.split is Split.TRAIN]
    seeds = [prompt for prompt in train if prompt.task is Task.RED_TEAM]
    benign = [prompt for prompt in train if prompt.task is Task.BENIGN_TRICKY]
    before = attempts(earlier)
    planned = plan if round_number == 1 else functools.partial(grow, attempts=before, round_number=round_number)
    attacks, repeats = planned(seeds, wanted=section.strategies, per_prompt=section.attacks_per_prompt, seed=seed)
    adaptive = adaptive_plan(seeds, section.adaptive, attempts=before, attacks=attacks, round_number=round_number)
    editor = Editor(judge, rewriter, section, principles(section.constitution), seed, harm_cuts)
    target = Target(sampler, {prompt.id: prompt for prompt in train}, section, seed)
    with Journal(path, fingerprint=fingerprint) as journal:
        run = _Run(editor, target, journal, round_number)
        run.blocks(attacks, lambda block: run.followed(block, harm_cases), title="red team")
        used = [*(attempt.attack for attempt in before), *attacks]
        sent = sent_texts([*earlier, *run.cases], attacks)
        loop = Loop(Attacker(attacker, section, seed), target, editor, round_number, sent, used_strategies(used))
        run.blocks(adaptive, loop.block, title="red team, adaptive", after=len(attacks))
        wanted = max(section.min_counter_pairs, round(section.counter_pairs * _pairs(run.cases, benign=False)))
        run.counter_pairs(benign, wanted=wanted)
        counts = {
            "prompts": len(seeds),
            "attacks": len(attacks) + len(adaptive),
            **funnel(run.cases),
            **_dropped(repeats),
        }
        names = {"policy": sampler.name, "judge": judge.name, "rewriter": rewriter.name}
        journal.finish(**names, seed=seed, round=round_number, counts=counts, **_figures(run.cases))
    return counts


def regress(
    prompts: Sequence[Prompt],
    *,
    sampler: Sampler,
    judge: ChatModel,
    section: RedTeamSection,
    seed: int,
    path: Path,
    fingerprint: str,
    harm_cuts: HarmCuts = NO_CUTS,
) -> None:
    """Attack a policy with the frozen set and write one RedTeamCase per response to `path`, none of which is a pair.

    The frozen set are the evaluation prompts with task RED_TEAM, under the same strategies, with the same seeds, for
    every policy; `frozen` in the manifest is its hash. Resumable block by block.

    Raises:
        ConfigError: An unknown strategy.
    """
    held_out = [prompt for prompt in prompts if prompt.split is Split.EVALUATION and prompt.task is Task.RED_TEAM]
    attacks, _ = plan(held_out, wanted=section.strategies, per_prompt=section.attacks_per_prompt, seed=seed)
    editor = Editor(judge, judge, section, (), seed, harm_cuts)
    target = Target(sampler, {prompt.id: prompt for prompt in held_out}, section, seed)
    with Journal(path, fingerprint=fingerprint) as journal:
        run = _Run(editor, target, journal, 1)
        run.blocks(attacks, lambda block: run.followed(block, _only_judged), title="red team, frozen set")
        names = {"policy": sampler.name, "judge": judge.name}
        counts = {"prompts": len(held_out), "attacks": len(attacks), **funnel(run.cases)}
        journal.finish(**names, seed=seed, frozen=_hash(attacks), counts=counts, **_figures(run.cases))


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
        **_stood_in(cases),
        **_dropped(Counter(case.dropped for case in cases if case.dropped)),
    }


def _stood_in(cases: Sequence[RedTeamCase]) -> dict[str, int]:
    """How many attacks a template strategy made in place of the attacker, by what the attacker gave instead."""
    reasons = {case.attack.id: case.attack.stands_in.partition(": ")[2] for case in cases if case.attack.stands_in}
    return {f"attacker: {reason}": count for reason, count in sorted(Counter(reasons.values()).items())}


def _pairs(cases: Sequence[RedTeamCase], *, benign: bool) -> int:
    return sum(case.chosen is not None and (case.attack.strategy == BENIGN) == benign for case in cases)


def _dropped(reasons: Mapping[str, int]) -> dict[str, int]:
    return {f"dropped: {reason}": count for reason, count in sorted(reasons.items(), key=lambda item: -item[1])}


class _Run:
    """The models, the journal and the cases of one stage; what an earlier attempt did is in them."""

    def __init__(self, editor: Editor, target: Target, journal: Journal, round_number: int) -> None:
        self.editor, self.target, self.journal, self.round_number = editor, target, journal, round_number
        self.cases = [case for block in journal.done(RedTeamCase) for case in block] if journal.items else []

    def blocks(
        self,
        attacks: Sequence[Item],
        make: Callable[[Sequence[Item]], list[RedTeamCase]],
        *,
        title: str,
        after: int = 0,
    ) -> None:
        """The cases of attacks, a block at a time; `after` are the attacks whose blocks come first in the journal."""
        if not attacks:
            return
        done = min(len(attacks), max(0, self.journal.items - -(-after // BLOCK)) * BLOCK)
        with Progress(title, len(attacks), done=done) as progress:
            for start in range(done, len(attacks), BLOCK):
                block = attacks[start : start + BLOCK]
                self._keep(make(block))
                progress.advance(len(block))

    def followed(self, attacks: Sequence[Attack], follow: Follow) -> list[RedTeamCase]:
        """Sample a block of attacks and follow every response."""
        editor = self.editor
        sampled = self.target.answers(attacks, each=editor.section.responses_per_attack)
        prompts = [self.target.prompts[attack.prompt_id] for attack in attacks]

        async def work(item: tuple[Prompt, Attack, Sequence[Response]]) -> list[RedTeamCase]:
            return await follow(editor, *item)

        found = asked((editor.judge, editor.rewriter), zip(prompts, attacks, sampled, strict=True), work)
        return [case for cases in found for case in cases]

    def counter_pairs(self, benign: Sequence[Prompt], *, wanted: int) -> None:
        """Cases of harmless requests, block by block until `wanted` pairs came of them or no request is left.

        Where an earlier attempt stood follows from its cases alone. Each round asks in an order of its own.
        """
        order = sorted(
            (benign_attack(prompt, round_number=self.round_number) for prompt in benign),
            key=lambda attack: seed_of(self.editor.seed, attack.id.removesuffix(f"/{BENIGN}")),
        )
        done = len({case.attack.id for case in self.cases if case.attack.strategy == BENIGN})
        with Progress("red team, harmless requests", None, done=done) as progress:
            while (made := _pairs(self.cases, benign=True)) < wanted and done < len(order):
                block = order[done : done + min(BLOCK, wanted - made)]
                self._keep(self.followed(block, counter_cases))
                done += len(block)
                progress.advance(len(block))

    def _keep(self, cases: list[RedTeamCase]) -> None:
        self.journal.append(cases)
        self.cases += cases


async def _only_judged(
    editor: Editor, prompt: Prompt, attack: Attack, responses: Sequence[Response]
) -> list[RedTeamCase]:
    verdicts = await editor.judged(prompt, responses)
    return [RedTeamCase(attack, *pair, dropped=FROZEN) for pair in zip(responses, verdicts, strict=True)]


def _figures(cases: Sequence[RedTeamCase]) -> dict[str, Any]:
    return {"archive": archive(cases), "asr": asr(cases)}


def _hash(attacks: Sequence[Attack]) -> str:
    return fingerprint([[one.id, [[message.role, message.content] for message in one.messages]] for one in attacks])
