"""Every arm's answer to every prompt, measured and compared with the start's; one journal line per prompt."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrlaif.artifacts import Journal, count_by
from hrlaif.errors import DataError
from hrlaif.evaluation.measure import PURPOSE, Measurement, measure
from hrlaif.judges.compare import Comparison, compare
from hrlaif.judges.harm import NO_CUTS
from hrlaif.judges.harm_cuts import HarmCuts
from hrlaif.judges.panel import Panel, panel_of
from hrlaif.metrics import words
from hrlaif.models.base import ChatModel, RewardScorer
from hrlaif.models.flow import spread
from hrlaif.progress import Progress
from hrlaif.types import Cost, Evaluation, Finish, Message, Prompt, Response, Split, Task, Verdict

START = "start"
Answers = Mapping[str, Mapping[str, Response]]
Measuring = Callable[[Prompt, Response], Awaitable[Measurement]]


@dataclass(frozen=True, slots=True)
class _Item:
    """One prompt with each arm's answer and, for arms that have a reward model, (its score, the start's score)."""

    prompt: Prompt
    answers: Mapping[str, Response]
    rewards: Mapping[str, tuple[float | None, float | None]]


def evaluate(
    prompts: Sequence[Prompt],
    answers: Answers,
    *,
    judge: ChatModel,
    scorers: Mapping[str, RewardScorer],
    tie_margin: float,
    path: Path,
    fingerprint: str,
    panel: Panel | None = None,
    reasons: bool = False,
    harm_cuts: HarmCuts = NO_CUTS,
    window: int = 256,
) -> int:
    """Write one `Evaluation` per prompt and arm to `path` and return how many there are.

    `answers[arm][prompt.id]` must exist for the start and every arm. Prompts of the training split are scored by the
    reward models and nothing else. The judge is asked once per different text and in both orders per comparison;
    answers with the same text are a TIE without a call. Red-team answers are not compared: a judge that prefers the
    more helpful one would pay for harm. The judges of `panel` compare, or the judge itself; it alone measures, with its
    scores on harm cut at `harm_cuts`.

    Raises:
        DataError: The start or an answer is missing; the message names the arm and the prompts.
    """
    _check_complete(prompts, answers)
    with Journal(path, fingerprint=fingerprint) as journal:
        left = prompts[journal.items :]
        rewards = _score(left, answers, scorers)
        items = [
            _Item(
                prompt,
                {arm: of_arm[prompt.id] for arm, of_arm in answers.items()},
                {arm: scores[index] for arm, scores in rewards.items()},
            )
            for index, prompt in enumerate(left)
        ]
        voters = panel or panel_of(judge)
        measuring = functools.partial(measure, judge, reasons=reasons, cuts=harm_cuts)
        asyncio.run(_evaluate(items, judge, measuring, voters, journal, tie_margin=tie_margin, window=window))
        return journal.finish(
            judge=judge.name,
            compared_by=voters.name,
            arms=list(answers),
            tasks=count_by(prompt.task.value for prompt in prompts),
        )


def _check_complete(prompts: Sequence[Prompt], answers: Answers) -> None:
    if START not in answers:
        raise DataError(f"evaluation: no answers of {START!r} among {sorted(answers)}; every arm is compared with it.")
    for arm, of_arm in answers.items():
        if missing := [prompt.id for prompt in prompts if prompt.id not in of_arm]:
            raise DataError(
                f"evaluation: arm {arm!r} has no answer to {len(missing)} of {len(prompts)} prompts, the first is "
                f"{missing[0]!r}. All arms answer the same prompts: sample this arm's answers again."
            )


def _score(
    prompts: Sequence[Prompt], answers: Answers, scorers: Mapping[str, RewardScorer]
) -> dict[str, list[tuple[float | None, float | None]]]:
    """Per arm and prompt: the arm's own reward model on its answer and on the start's, None for an empty answer."""
    rewards: dict[str, list[tuple[float | None, float | None]]] = {}
    for arm, scorer in scorers.items():
        texts = [answers[side][prompt.id].text for side in (arm, START) for prompt in prompts]
        asked: list[tuple[tuple[Message, ...], str]] = [
            (prompt.messages, text) for prompt, text in zip([*prompts, *prompts], texts, strict=True) if text.strip()
        ]
        given = iter(scorer.score(asked) if asked else ())
        scores = [next(given) if text.strip() else None for text in texts]
        rewards[arm] = list(zip(scores[: len(prompts)], scores[len(prompts) :], strict=True))
    return rewards


async def _evaluate(
    items: Sequence[_Item],
    judge: ChatModel,
    measuring: Measuring,
    panel: Panel,
    journal: Journal,
    *,
    tie_margin: float,
    window: int,
) -> None:
    async def work(item: _Item) -> list[Evaluation]:
        if item.prompt.split is Split.TRAIN:
            return [_row(item, arm) for arm in item.answers]
        measured, compared = await asyncio.gather(
            _measure(measuring, item), _compare(panel, item, tie_margin=tie_margin)
        )
        return [_row(item, arm, measured[arm], compared.get(arm)) for arm in item.answers]

    with Progress("evaluating", journal.items + len(items), done=journal.items) as progress:
        async with judge, panel:
            async for rows in spread(items, work, window=window):
                journal.append(rows)
                progress.advance()


async def _measure(measuring: Measuring, item: _Item) -> dict[str, Measurement]:
    """Each arm's measurement; the same text is measured once, so that equal answers never differ by a judge's mood."""
    first_with: dict[tuple[str, str], str] = {}
    for arm, response in item.answers.items():
        first_with.setdefault((response.text, response.finish), arm)
    findings = await asyncio.gather(*(measuring(item.prompt, item.answers[arm]) for arm in first_with.values()))
    by_text = dict(zip(first_with, findings, strict=True))
    return {
        arm: finding if first_with[key] == arm else finding.of(response)
        for arm, response in item.answers.items()
        for key in [(response.text, response.finish)]
        for finding in [by_text[key]]
    }


async def _compare(panel: Panel, item: _Item, *, tie_margin: float) -> dict[str, Comparison]:
    start = item.answers[START]
    if item.prompt.task is Task.RED_TEAM or start.finish is Finish.FAILED:
        return {}
    arms = [arm for arm, answer in item.answers.items() if arm != START and answer.finish is not Finish.FAILED]
    compared = await asyncio.gather(
        *(_compare_two(panel, item.prompt, item.answers[arm], start, tie_margin=tie_margin) for arm in arms)
    )
    return dict(zip(arms, compared, strict=True))


async def _compare_two(
    panel: Panel, prompt: Prompt, response: Response, start: Response, *, tie_margin: float
) -> Comparison:
    here, there = response.text.strip(), start.text.strip()
    if here == there:
        return Comparison(0.5, Verdict.TIE, ())
    if not here or not there:
        return Comparison(float(bool(here)), Verdict.FIRST if here else Verdict.SECOND, ())
    return await compare(panel, prompt, response, start, tie_margin=tie_margin, purpose=PURPOSE)


def _row(item: _Item, arm: str, measured: Measurement | None = None, compared: Comparison | None = None) -> Evaluation:
    prompt, response = item.prompt, item.answers[arm]
    reward, start_reward = item.rewards.get(arm, (None, None))
    judgements = compared.judgements if compared else ()
    return Evaluation(
        arm=arm,
        prompt_id=prompt.id,
        category=prompt.category,
        task=prompt.task,
        response=response,
        words=len(words(response.text)),
        characters=len(response.text),
        satisfied=measured.satisfied if measured else None,
        reason=measured.reason if measured else "training prompt: scored by the reward model only",
        verification=measured.verification if measured else None,
        harm=measured.harm if measured else None,
        p_win=compared.p_first if compared else None,
        verdict=compared.verdict if compared else None,
        judgements=judgements,
        reward=reward,
        start_reward=start_reward,
        cost=sum((judgement.cost for judgement in judgements), measured.cost if measured else Cost()),
    )
