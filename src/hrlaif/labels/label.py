"""One arm's labels: `rlaif` asks the judge about every pair, `hrlaif` asks it only what cannot be checked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from hrlaif.artifacts import Journal
from hrlaif.config import Arm, LabelsSection
from hrlaif.judges.compare import compare, compare_reasoning
from hrlaif.labels import select
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import ordered, together
from hrlaif.progress import Progress
from hrlaif.types import Basis, Evidence, Judgement, Label, Outcome, Prompt, Response, Task, Verdict, Verification


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt with its responses and what is known of their final answers (by response id)."""

    prompt: Prompt
    responses: tuple[Response, ...]
    verifications: Mapping[str, Verification]


@dataclass(frozen=True, slots=True)
class _Question:
    prompt: Prompt
    first: Response
    second: Response
    basis: Basis
    verifications: tuple[Verification, ...] = ()


def label(
    groups: Iterable[Group],
    *,
    arm: Arm,
    judge: ChatModel,
    section: LabelsSection,
    seed: int,
    path: Path,
    fingerprint: str,
    total: int | None = None,
    window: int = 256,
) -> int:
    """Write the arm's labels to `path` and return how many there are; `groups` is read once and never held.

    Which pairs are labelled depends on the groups, the section and the seed alone, so that both arms are comparable
    and a restart asks the same questions (whose answers are in the ledger).
    """
    plan = {"rlaif": basic_questions, "hrlaif": hybrid_questions}[arm]
    purpose = f"labels/{arm}"

    async def work(group: Group) -> list[Label]:
        questions = plan(group, section.pairs_per_prompt, seed=seed)
        answers = (_answer(judge, question, section, purpose=purpose) for question in questions)
        return await together(*answers) if questions else []

    async def run(journal: Journal) -> None:
        with Progress(f"labelling ({arm})", total, done=journal.items) as progress:
            async with judge:
                async for labels in ordered(islice(groups, journal.items, None), work, window=window):
                    journal.append(labels)
                    progress.advance()

    with Journal(path, fingerprint=fingerprint) as journal:
        asyncio.run(run(journal))
        return journal.finish(judge=judge.name, arm=arm)


def basic_questions(group: Group, limit: int, *, seed: int) -> list[_Question]:
    """Basic RLAIF: up to `limit` pairs of any kind of prompt, all for the judge."""
    pairs = select.spread(group.responses, limit, seed=f"{seed}/{group.prompt.id}")
    return [_Question(group.prompt, first, second, Basis.JUDGE) for first, second in pairs]


def hybrid_questions(group: Group, limit: int, *, seed: int) -> list[_Question]:
    """Hybrid labels: correct against wrong first, then the reasoning of two correct ones, and the judge for the rest.

    Two wrong answers make no pair, and neither does one that cannot be read. Red-team prompts and their benign twins
    are labelled by the red-team stage.
    """
    prompt, seed_text = group.prompt, f"{seed}/{group.prompt.id}"
    if prompt.task in (Task.RED_TEAM, Task.BENIGN_TRICKY):
        return []
    if not group.verifications:
        return basic_questions(group, limit, seed=seed)
    known = group.verifications
    pairs = [(pair, Basis.VERIFIER) for pair in select.decided(group.responses, known, limit, seed=seed_text)]
    left = limit - len(pairs)
    pairs += [(pair, Basis.REASONING) for pair in select.both_correct(group.responses, known, left, seed=seed_text)]
    return [
        _Question(prompt, first, second, basis, (known[first.id], known[second.id])) for (first, second), basis in pairs
    ]


async def _answer(judge: ChatModel, question: _Question, section: LabelsSection, *, purpose: str) -> Label:
    prompt, first, second = question.prompt, question.first, question.second
    ids = (prompt.id, first.id, second.id)
    if question.basis is Basis.VERIFIER:
        first_is_right = question.verifications[0].outcome is Outcome.CORRECT
        p_first = section.verifier_probability if first_is_right else 1 - section.verifier_probability
        verdict = Verdict.FIRST if first_is_right else Verdict.SECOND
        return Label(*ids, p_first, verdict, question.basis, _evidence(question))
    if question.basis is Basis.REASONING:
        # The reference that the answers were checked against: the prompt's own, or the judge's majority.
        checked = replace(prompt, reference=question.verifications[0].reference)
        comparison = await compare_reasoning(
            judge, checked, first, second, tie_margin=section.tie_margin, purpose=purpose
        )
    else:
        comparison = await compare(judge, prompt, first, second, tie_margin=section.tie_margin, purpose=purpose)
    evidence = _evidence(question, comparison.judgements)
    return Label(*ids, comparison.p_first, comparison.verdict, question.basis, evidence)


def _evidence(question: _Question, judgements: tuple[Judgement, ...] = ()) -> Evidence:
    solved = question.verifications and question.prompt.reference is None
    note = "reference: the judge's own majority answer (self-consistency)" if solved else ""
    return Evidence(question.verifications, judgements, note)


def left_out(groups: Iterable[Group], labels: Iterable[Label], *, arm: Arm) -> dict[str, int]:
    """Prompts that got no label in an arm, counted by reason, so that nothing disappears silently."""
    labelled = {label.prompt_id for label in labels}
    return dict(Counter(_why_not(group, arm) for group in groups if group.prompt.id not in labelled))


def _why_not(group: Group, arm: Arm) -> str:
    if arm == "hrlaif" and group.prompt.task in (Task.RED_TEAM, Task.BENIGN_TRICKY):
        return "left to the red-team stage"
    if len(select.usable(group.responses)) < 2:
        return "fewer than two different responses"
    outcomes = {found.outcome for found in group.verifications.values()}
    if Outcome.CORRECT not in outcomes:
        return "no correct answer" if Outcome.WRONG in outcomes else "no readable answer"
    return "one correct answer and no wrong one to set against it"
