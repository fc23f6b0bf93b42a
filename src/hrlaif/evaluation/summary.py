"""From evaluation rows to metrics.json: every metric by arm and category, paired differences, tests, plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from hrlaif.artifacts import count_by
from hrlaif.evaluation.monitors import Steps, monitors
from hrlaif.evaluation.people import People, about_people, people_difference, people_metrics, people_sentences
from hrlaif.evaluation.sentences import sentences
from hrlaif.judges.harm_quality import HarmQuality
from hrlaif.metrics import (
    bootstrap_mean,
    length_controlled_win_ratio,
    measured,
    paired_difference,
    paired_shares,
    paired_test,
    wilson,
    win_ratio,
)
from hrlaif.types import Cost, Evaluation, HarmOutcome, Metric, Satisfaction, Task, Verdict

ALL = "all"
TESTED = ("satisfaction", "correct", "harmful", "over_refusal")
_OUTCOMES = {Verdict.FIRST: "win", Verdict.TIE: "tie", Verdict.SECOND: "loss", Verdict.UNREADABLE: "unreadable"}
Rows = Mapping[str, Evaluation]


def summarise(
    rows: Iterable[Evaluation],
    *,
    seed: int,
    people: People | None = None,
    harm_quality: HarmQuality | None = None,
    training: Mapping[str, Steps] | None = None,
) -> dict[str, Any]:
    """All numbers of an evaluation as plain values; what could not be measured is left out, never 0.

    - `arms`: in the order of the rows.
    - `metrics[arm][group][name]`: a Metric; groups are "all" and every category.
    - `differences[arm][group][name]`: arm minus start on the same prompts (reward: the arm's own reward model on both).
    - `tests["A minus B"][name]`: the same for every two arms over all prompts, with `only_first`, `only_second` (how
      many prompts only one of the two has) and the exact McNemar p-value `p`.
    - `harm_judge`: the sensitivity and specificity that `harmful_corrected` rests on, where they were measured.
    - `monitors[arm]`: signs of over-optimisation; no verdicts for a model without steps of its own in `training`.
    - `sentences`: what may be concluded and what not. `counts`: what the numbers rest on.

    Names: satisfaction, unreadable (of all answers), correct (checkable prompts), harmful, harmful_corrected (for the
    judge's errors), unjudged (red team), over_refusal (refused or evaded, of benign tricky prompts),
    over_refusal_lenient (refused only), win_ratio, win_ratio_length_controlled, length (words), reward. Unreadable and
    unjudged answers are in no other share.

    With votes of `people`, human_satisfaction and human_win_ratio stand beside these, and `people` says who rated.
    """
    every = list(rows)
    arms = list(dict.fromkeys(row.arm for row in every))
    judged = [row for row in every if row.satisfied is not None]
    by_arm: dict[str, Rows] = {arm: {row.prompt_id: row for row in judged if row.arm == arm} for arm in arms}
    groups: dict[str, dict[str, Rows]] = {ALL: by_arm}
    for category in dict.fromkeys(row.category for row in judged):
        # A category that is called "all" has no group of its own.
        groups.setdefault(category, {arm: _of_category(by_arm[arm], category) for arm in arms})
    start = arms[0] if arms else ""
    summary: dict[str, Any] = {
        "arms": arms,
        "metrics": {
            arm: {
                group: _metrics(parts[arm], parts[start], seed, people, harm_quality) for group, parts in groups.items()
            }
            for arm in arms
        },
        "differences": {
            arm: {group: _differences(parts[arm], parts[start], seed, people) for group, parts in groups.items()}
            for arm in arms[1:]
        },
        "tests": {
            f"{second} minus {first}": _tests(by_arm[second], by_arm[first]) for first, second in combinations(arms, 2)
        },
        "counts": _counts(every, judged, by_arm),
        "monitors": monitors(by_arm, start, training),
    }
    if harm_quality is not None:
        rates = {name: getattr(harm_quality, name) for name in ("sensitivity", "specificity")}
        found = measured(wilson(seen.right, seen.n, name=name) for name, seen in rates.items())
        summary["harm_judge"] = {"judge": harm_quality.judge, **found}
    if people and arms:
        summary["people"] = about_people(people, by_arm, start)
    return {**summary, "sentences": [*sentences(summary), *people_sentences(summary)]}


def _of_category(rows: Rows, category: str) -> Rows:
    return {prompt_id: row for prompt_id, row in rows.items() if row.category == category}


def _satisfaction(row: Evaluation) -> bool | None:
    return None if row.satisfied is Satisfaction.UNREADABLE else row.satisfied is Satisfaction.YES


def _unreadable(row: Evaluation) -> bool | None:
    return row.satisfied is Satisfaction.UNREADABLE


def _correct(row: Evaluation) -> bool | None:
    return None if row.verification is None else _satisfaction(row)


def _harm_is(task: Task, *outcomes: HarmOutcome) -> Callable[[Evaluation], bool | None]:
    """Whether a row of this task has one of these outcomes; unjudged rows only count where that is the outcome."""

    def read(row: Evaluation) -> bool | None:
        if row.task is not task or row.harm is None:
            return None
        if row.harm.outcome is HarmOutcome.UNJUDGED and HarmOutcome.UNJUDGED not in outcomes:
            return None
        return row.harm.outcome in outcomes

    return read


# Each reads a row as yes, no, or None where the row says nothing about it.
SHARES: dict[str, Callable[[Evaluation], bool | None]] = {
    "satisfaction": _satisfaction,
    "unreadable": _unreadable,
    "correct": _correct,
    "harmful": _harm_is(Task.RED_TEAM, HarmOutcome.HARMFUL),
    "unjudged": _harm_is(Task.RED_TEAM, HarmOutcome.UNJUDGED),
    "over_refusal": _harm_is(Task.BENIGN_TRICKY, HarmOutcome.SAFE_REFUSAL, HarmOutcome.EVASIVE),
    "over_refusal_lenient": _harm_is(Task.BENIGN_TRICKY, HarmOutcome.SAFE_REFUSAL),
}


def _metrics(
    arm: Rows, start: Rows, seed: int, people: People | None, harm_quality: HarmQuality | None
) -> dict[str, dict[str, Any]]:
    rows = list(arm.values())
    compared = [(row, start[row.prompt_id]) for row in rows if row.verdict is not None and row.prompt_id in start]
    verdicts = [row.verdict for row, _ in compared if row.verdict is not None]
    rewards = [row.reward for row in rows if row.reward is not None]
    return measured(
        [
            *(_share(rows, name) for name in SHARES),
            *([_corrected(rows, harm_quality)] if harm_quality else []),
            win_ratio(verdicts),
            length_controlled_win_ratio(verdicts, [row.words - other.words for row, other in compared]),
            bootstrap_mean([row.words for row in rows], name="length", seed=seed, unit="words"),
            bootstrap_mean(rewards, name="reward", seed=seed, unit="score"),
            *(people_metrics(people, arm, start) if people else ()),
        ]
    )


def _said(rows: Sequence[Evaluation], name: str) -> list[bool]:
    return [answer for row in rows if (answer := SHARES[name](row)) is not None]


def _share(rows: Sequence[Evaluation], name: str) -> Metric:
    said = _said(rows, name)
    return wilson(sum(said), len(said), name=name)


def _corrected(rows: Sequence[Evaluation], quality: HarmQuality) -> Metric:
    said = _said(rows, "harmful")
    return quality.corrected(sum(said), len(said), name="harmful_corrected")


def _both(first: Rows, second: Rows, name: str) -> list[tuple[bool, bool]]:
    """What a measure says of the two arms' answers to each prompt that it can read in both."""
    read = SHARES[name]
    pairs = [(read(row), read(second[prompt_id])) for prompt_id, row in first.items() if prompt_id in second]
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _differences(arm: Rows, start: Rows, seed: int, people: People | None) -> dict[str, dict[str, Any]]:
    found = [paired_shares(_both(arm, start, name), name=name) for name in SHARES]
    lengths = [(row.words, start[prompt_id].words) for prompt_id, row in arm.items() if prompt_id in start]
    rewards = [(r.reward, r.start_reward) for r in arm.values() if r.reward is not None and r.start_reward is not None]
    for name, unit, pairs in (("length", "words", lengths), ("reward", "score", rewards)):
        mine, theirs = [float(one) for one, _ in pairs], [float(other) for _, other in pairs]
        found.append(paired_difference(mine, theirs, name=name, seed=seed, unit=unit))
    if people:
        found.append(people_difference(people, arm, start, seed=seed))
    return measured(found)


def _tests(first: Rows, second: Rows) -> dict[str, dict[str, Any]]:
    tests = {}
    for name in TESTED:
        rows = _both(first, second, name)
        if rows:
            tests[name] = paired_test(rows, name=name)
    return tests


def _counts(every: Sequence[Evaluation], judged: Sequence[Evaluation], by_arm: Mapping[str, Rows]) -> dict[str, Any]:
    prompts = {row.prompt_id: row for row in judged}.values()
    return {
        "prompts": len(prompts),
        "training_prompts": len({row.prompt_id for row in every if row.satisfied is None}),
        "by_task": count_by(row.task.value for row in prompts),
        "by_category": count_by(row.category for row in prompts),
        "arms": {arm: _arm_counts(list(of_arm.values())) for arm, of_arm in by_arm.items()},
    }


def _arm_counts(rows: Sequence[Evaluation]) -> dict[str, Any]:
    return {
        "satisfied": count_by(row.satisfied.value for row in rows if row.satisfied),
        "verdicts": count_by(_OUTCOMES[row.verdict] for row in rows if row.verdict),
        "harm": count_by(row.harm.outcome.value for row in rows if row.harm),
        "finish": count_by(row.response.finish.value for row in rows),
        "cost": asdict(sum((row.cost for row in rows), Cost())),
    }
