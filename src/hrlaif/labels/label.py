"""One arm's labels: `rlaif` asks the judge about every pair, `hrlaif` asks it only what cannot be checked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

from hrlaif.artifacts import Journal
from hrlaif.config import Arm, LabelsSection
from hrlaif.judges.compare import compare, compare_reasoning, withheld_from_judge
from hrlaif.judges.panel import Panel, panel_of
from hrlaif.labels import select
from hrlaif.labels.budget import comparisons
from hrlaif.labels.rank import ranked
from hrlaif.labels.select import ResponsePair
from hrlaif.models.base import ChatModel
from hrlaif.models.flow import spread, together
from hrlaif.progress import Progress
from hrlaif.types import Basis, Evidence, Label, Outcome, Prompt, Response, Task, Verdict, Verification

_UNCONNECTED = "pair: not asked, and no readable comparisons connect it"


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


@dataclass(frozen=True, slots=True)
class _Plan:
    """One group's questions; `unasked` are the pairs that a ranking may label; `left_out` counts what gets no label."""

    questions: list[_Question]
    left_out: Mapping[str, int]
    unasked: Sequence[ResponsePair] = ()

    @property
    def comparisons(self) -> int:
        """How many of the questions are for the judge."""
        return sum(question.basis is not Basis.VERIFIER for question in self.questions)

    @property
    def is_judged(self) -> bool:
        """True where nothing but the judge's comparisons tells which response is better."""
        return bool(self.questions) and self.questions[0].basis is Basis.JUDGE


def label(
    groups: Iterable[Group],
    *,
    arm: Arm,
    judge: ChatModel | Panel,
    section: LabelsSection,
    seed: int,
    path: Path,
    fingerprint: str,
    total: int | None = None,
    window: int = 256,
) -> int:
    """Write the arm's labels to `path` and return how many there are; `groups` is read once and never held.

    Which pairs are labelled depends on the groups, the section, the seed and `total` (how many groups there are) alone,
    so that both arms are comparable and a restart asks the same questions (whose answers are in the ledger). A panel's
    members vote on each pair that is compared, and all their calls stay in the label's evidence. The manifest counts
    the comparisons, and under `left_out` the prompts and pairs that got no label, by reason.

    Raises:
        DataError: `section.max_calls` is set and `total` is not.
    """
    purpose, panel = f"labels/{arm}", panel_of(judge)
    counts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()

    async def work(plan: _Plan) -> list[Label]:
        answers = (_answer(panel, question, section, purpose=purpose) for question in plan.questions)
        labels = await together(*answers) if plan.questions else []
        if section.ranking and plan.is_judged:
            return ranked(labels, plan.unasked, tie_margin=section.tie_margin)
        return labels

    def todo(done: int) -> Iterator[_Plan]:
        # Groups that are done are planned again, which costs no call, so that the counts speak of all.
        for index, group in enumerate(groups):
            budget = comparisons(index, total, section, judges=len(panel.judges), seed=seed)
            plan = _plan(group, arm, section, budget=budget, seed=seed)
            counts.update(comparisons=plan.comparisons, labels=len(plan.questions))
            left_out.update(plan.left_out)
            if index >= done:
                yield plan

    async def run(journal: Journal) -> None:
        with Progress(f"labelling ({arm})", total, done=journal.items) as progress:
            async with panel:
                async for labels in spread(todo(journal.items), work, window=window):
                    journal.append(labels)
                    progress.advance()

    with Journal(path, fingerprint=fingerprint) as journal:
        asyncio.run(run(journal))
        if left_out[_UNCONNECTED]:
            left_out[_UNCONNECTED] -= sum(len(labels) for labels in journal.done(Label)) - counts["labels"]
        return journal.finish(judge=panel.name, arm=arm, comparisons=counts["comparisons"], left_out=dict(+left_out))


def open_pairs(
    prompt: Prompt, responses: Sequence[Response], section: LabelsSection, *, seed: int
) -> list[ResponsePair]:
    """The pairs of a prompt that the `rlaif` arm compares where it has no limit of calls."""
    return select.spread(responses, section.pairs_per_prompt, seed=_seed(prompt, seed))


def _seed(prompt: Prompt, seed: int) -> str:
    return f"{seed}/{prompt.id}"


def _plan(group: Group, arm: Arm, section: LabelsSection, *, budget: int, seed: int) -> _Plan:
    """Which pairs of a group are labelled, `budget` of them by the judge at most."""
    seed_text = _seed(group.prompt, seed)
    if arm == "hrlaif" and group.prompt.task in (Task.RED_TEAM, Task.BENIGN_TRICKY):
        return _Plan([], {"prompt: left to the red-team stage": 1})
    if arm == "hrlaif" and group.verifications:
        questions, possible = _checked(group, section.pairs_per_prompt, budget, seed=seed_text)
        unasked: Sequence[ResponsePair] = ()
    else:
        pairs = select.spread(group.responses, None if section.ranking else budget, seed=seed_text)
        questions = [_Question(group.prompt, *pair, Basis.JUDGE) for pair in pairs[:budget]]
        possible, unasked = comb(len(select.usable(group.responses)), 2), pairs[budget:]
    wanted = min(possible, section.pairs_per_prompt)
    left_out = {
        "pair: beyond labels.pairs_per_prompt": possible - wanted,
        "pair: beyond labels.max_calls": wanted - len(questions),
    }
    if questions and unasked:
        left_out = {_UNCONNECTED: len(unasked)}
    if not questions:
        left_out[f"prompt: {_why_not(group, possible)}"] = 1
    return _Plan(questions, left_out, unasked)


def _checked(group: Group, limit: int, budget: int, *, seed: str) -> tuple[list[_Question], int]:
    """Correct against wrong first, which costs no call, then the reasoning of two correct ones; and how many there are.

    Two wrong answers make no pair, and neither does one that cannot be read.
    """
    known = group.verifications
    pairs = [(pair, Basis.VERIFIER) for pair in select.decided(group.responses, known, limit, seed=seed)]
    left = min(limit - len(pairs), budget)
    pairs += [(pair, Basis.REASONING) for pair in select.both_correct(group.responses, known, left, seed=seed)]
    questions = [
        _Question(group.prompt, first, second, basis, (known[first.id], known[second.id]))
        for (first, second), basis in pairs
    ]
    outcomes = Counter(known[one.id].outcome for one in select.usable(group.responses) if one.id in known)
    correct = outcomes[Outcome.CORRECT]
    return questions, correct * outcomes[Outcome.WRONG] + comb(correct, 2)


def _why_not(group: Group, possible: int) -> str:
    if possible:
        return "no call left for it under labels.max_calls"
    if len(select.usable(group.responses)) < 2:
        return "fewer than two different responses"
    outcomes = {found.outcome for found in group.verifications.values()}
    if Outcome.CORRECT not in outcomes:
        return "no correct answer" if Outcome.WRONG in outcomes else "no readable answer"
    return "one correct answer and no wrong one to set against it"


async def _answer(panel: Panel, question: _Question, section: LabelsSection, *, purpose: str) -> Label:
    prompt, first, second = question.prompt, question.first, question.second
    ids = (prompt.id, first.id, second.id)
    if question.basis is Basis.VERIFIER:
        first_is_right = question.verifications[0].outcome is Outcome.CORRECT
        p_first = section.verifier_probability if first_is_right else 1 - section.verifier_probability
        verdict = Verdict.FIRST if first_is_right else Verdict.SECOND
        return Label(*ids, p_first, verdict, question.basis, Evidence(question.verifications, note=_note(question)))
    if question.basis is Basis.REASONING:
        # The reference that the answers were checked against: the prompt's own, or the judge's majority.
        checked = replace(prompt, reference=question.verifications[0].reference)
        comparison = await compare_reasoning(
            panel, checked, first, second, tie_margin=section.tie_margin, purpose=purpose
        )
    else:
        comparison = await compare(panel, prompt, first, second, tie_margin=section.tie_margin, purpose=purpose)
    evidence = Evidence(question.verifications, comparison.judgements, _note(question))
    return Label(*ids, comparison.p_first, comparison.verdict, question.basis, evidence)


def _note(question: _Question) -> str:
    """Whose reference it is where that was not given, and what the judge was not shown of the responses."""
    solved = question.verifications and question.prompt.reference is None
    notes = ["reference: the judge's own majority answer (self-consistency)"] if solved else []
    if question.basis is not Basis.VERIFIER:
        for response in (question.first, question.second):
            if withheld := withheld_from_judge(question.prompt, response):
                notes.append(f"withheld from the judge in {response.id}: {' '.join(withheld)}")
    return "; ".join(notes)
