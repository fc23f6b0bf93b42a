"""What people say of the answers, beside what the judge says: satisfaction, win ratio, and how far the two agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from hrlaif.judges.calibrate import judge_agreement
from hrlaif.metrics import cohen_kappa, measured, paired_difference, wilson, win_ratio
from hrlaif.types import Evaluation, Label, Metric, Satisfaction, SatisfactionVerdict, Task, Verdict

SATISFACTION, WIN_RATIO = "human_satisfaction", "human_win_ratio"
Rows = Mapping[str, Evaluation]
Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class People:
    """Votes on the arms' answers. A response is known as `ARM:ID`; `about` says who rated, and how alike."""

    labels: Sequence[Label]
    satisfaction: Sequence[SatisfactionVerdict]
    about: Summary

    def verdicts(self, arm: Rows, start: Rows) -> Iterator[tuple[Evaluation, Verdict, bool]]:
        """The rows of an arm that people compared with the start, the verdict (FIRST: the arm's is better), and
        whether anybody had to read them.
        """
        by_ids = {(label.first_id, label.second_id): label for label in self.labels}
        for prompt_id, row in arm.items():
            other = start.get(prompt_id)
            if other is None or other.arm == row.arm or row.task is Task.RED_TEAM:
                continue
            mine, its = _name(row), _name(other)
            if label := by_ids.get((mine, its)):
                yield row, label.verdict, bool(label.evidence.judgements)
            elif label := by_ids.get((its, mine)):
                yield row, label.verdict.mirrored, bool(label.evidence.judgements)

    def satisfied(self, rows: Iterable[Evaluation]) -> dict[str, float]:
        """By prompt, the share of votes that are satisfied with its answer; prompts without votes are left out."""
        votes: dict[str, list[float]] = {}
        for verdict in self.satisfaction:
            if verdict.satisfied is not Satisfaction.UNREADABLE:
                votes.setdefault(verdict.response_id, []).append(float(verdict.satisfied is Satisfaction.YES))
        return {row.prompt_id: fmean(said) for row in rows if (said := votes.get(_name(row)))}


def _name(row: Evaluation) -> str:
    return f"{row.arm}:{row.response.id}"


def people_metrics(people: People, arm: Rows, start: Rows) -> list[Metric]:
    """Satisfaction (mean over prompts of the share of satisfied votes) and win ratio, as `metrics` of one group."""
    shares = people.satisfied(arm.values())
    return [
        # A mean of shares varies less than one vote each would: the interval is on the safe side.
        wilson(sum(shares.values()), len(shares), name=SATISFACTION),
        win_ratio([verdict for _, verdict, _ in people.verdicts(arm, start)], name=WIN_RATIO),
    ]


def people_difference(people: People, arm: Rows, start: Rows, *, seed: int) -> Metric:
    """Satisfaction minus the start's, on the prompts where people rated both."""
    mine, its = people.satisfied(arm.values()), people.satisfied(start.values())
    both = [prompt_id for prompt_id in mine if prompt_id in its]
    return paired_difference(
        [mine[one] for one in both], [its[one] for one in both], name=SATISFACTION, seed=seed, unit="share"
    )


def about_people(people: People, by_arm: Mapping[str, Rows], start: str) -> dict[str, Any]:
    """Who rated and how alike, and how far the evaluation's judge agrees with them, as with another judge."""
    compared = [
        (verdict, row.verdict)
        for rows in by_arm.values()
        for row, verdict, is_read in people.verdicts(rows, by_arm[start])
        if is_read and row.verdict is not None and verdict is not Verdict.UNREADABLE
    ]
    rated = [
        (share > 0.5, row.satisfied is Satisfaction.YES)
        for rows in by_arm.values()
        for prompt_id, share in people.satisfied(rows.values()).items()
        # Votes that are split in two halves say neither yes nor no.
        for row in [rows[prompt_id]]
        if share != 0.5 and row.satisfied in (Satisfaction.YES, Satisfaction.NO)
    ]
    same = wilson(sum(one == other for one, other in rated), len(rated), name="satisfaction")
    judge = [
        replace(judge_agreement(compared), name="preference"),
        cohen_kappa(compared, name="preference_kappa"),
        same,
        cohen_kappa(rated, name="satisfaction_kappa"),
    ]
    return {**people.about, "judge_agreement": measured(judge)}


def people_sentences(summary: Summary) -> Iterator[str]:
    """What people's votes allow one to say."""
    about = summary.get("people")
    if not about or not about["pairs_rated"]:
        return
    start = summary["arms"][0]
    for arm in summary["arms"][1:]:
        if ratio := summary["metrics"][arm]["all"].get(WIN_RATIO):
            value, low, high = (100 * ratio[key] for key in ("value", "low", "high"))
            numbers = f"{value:.1f} % ({low:.1f} to {high:.1f}, n = {ratio['n']})"
            if ratio["low"] > 0.5 or ratio["high"] < 0.5:
                winner, loser = (arm, start) if ratio["low"] > 0.5 else (start, arm)
                yield f"People prefer {winner} to {loser}: their win ratio of {arm} is {numbers}."
            else:
                yield f"Whether people prefer {arm} or {start} stays open: their win ratio {numbers} includes 50 %."
    if about["pairs_rated"] < about["pairs"]:
        yield f"People have rated {about['pairs_rated']} of {about['pairs']} pairs so far."
    # Published cards repeat these sentences, and name no rater.
    if flagged := sum(bool(one["flags"]) for one in about["raters"]):
        yield f"Votes of {flagged} of {len(about['raters'])} raters look careless; they are counted."
