"""What the votes say: labels of pairs, satisfaction with responses, how far raters agree, how careful each was."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from hrlaif.human_eval.records import HumanVote, Rating
from hrlaif.human_eval.store import Study
from hrlaif.metrics import agreement, clustered_share, cohen_kappa, krippendorff_alpha, measured, wilson
from hrlaif.types import Basis, Evidence, Judgement, Label, Metric, Satisfaction, SatisfactionVerdict, Verdict

SAME_TEXT = "same text"
"""The note of a label that nobody had to read for."""
_P_FIRST = {Verdict.FIRST: 1.0, Verdict.SECOND: 0.0, Verdict.TIE: 0.5}
# A rater is flagged below these; what a flag means is for the reader to decide, since every vote stays.
CHECKS_RIGHT, FEW_CHECKS = 0.7, 3
WITH_OTHERS, FEW_SHARED = 0.4, 20
FAST_S, FEW_VOTES = 3.0, 10


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labels by pair, satisfaction by rater and response, and `about`: agreement and raters as plain values."""

    labels: tuple[Label, ...]
    satisfaction: tuple[SatisfactionVerdict, ...]
    about: Mapping[str, Any]


def outcomes_of(study: Study, answers: Mapping[str, str] | None = None) -> Outcomes:
    """A study's outcomes; with `answers` (text by `ARM:ID`) only those of answers that the run still has."""
    items = study.items()

    def is_current(*texts: tuple[str, str]) -> bool:
        return answers is None or all(answers.get(name) == text for name, text in texts)

    votes, stale = [], 0
    for vote in study.votes():
        item = items[vote.item]
        if vote.known is None and not is_current((vote.first_id, item.first.text), (vote.second_id, item.second.text)):
            stale += 1
            continue
        votes.append(vote)
    same = [
        one
        for one in study.same
        if answers is None or (one[1] in answers and answers[one[1]].strip() == answers.get(one[2], "").strip())
    ]
    return outcomes(votes, same=same, pairs=sum(item.known is None for item in items.values()), stale=stale)


def outcomes(
    votes: Sequence[HumanVote], *, same: Iterable[tuple[str, str, str]] = (), pairs: int = 0, stale: int = 0
) -> Outcomes:
    """The votes summed up.

    `same` are pairs of equal texts (prompt id, first id, second id): ties. `pairs` is how many pairs were to be rated,
    `stale` how many votes were left out because the run's answers are not those that were rated any more.
    """
    on_arms = sorted((vote for vote in votes if vote.known is None), key=lambda vote: (vote.item, vote.rater))
    by_item = [list(group) for _, group in itertools.groupby(on_arms, key=lambda vote: vote.item)]
    ties = [
        Label(prompt, first, second, 0.5, Verdict.TIE, Basis.HUMAN, Evidence(note=SAME_TEXT))
        for prompt, first, second in same
    ]
    about = {
        "votes": len(on_arms),
        "pairs_rated": len(by_item),
        "pairs": pairs,
        "pairs_of_same_text": len(ties),
        "stale_votes": stale,
        **_agreement(by_item),
        "raters": raters(votes),
    }
    return Outcomes(
        (*map(_label, by_item), *(ties if by_item else ())),
        tuple(verdict for vote in on_arms for verdict in _satisfaction(vote)),
        about,
    )


def _label(votes: Sequence[HumanVote]) -> Label:
    """One pair's label: the mean over raters who could say, a tie counting half."""
    one = votes[0]
    said = [_P_FIRST[vote.verdict] for vote in votes if vote.verdict in _P_FIRST]
    p_first = fmean(said) if said else 0.5
    verdict = Verdict.UNREADABLE if not said else Verdict.TIE
    if p_first != 0.5:
        verdict = Verdict.FIRST if p_first > 0.5 else Verdict.SECOND
    judgements = tuple(
        Judgement(
            vote.prompt_id,
            vote.first_id,
            vote.second_id,
            _P_FIRST.get(vote.verdict, 0.5),
            vote.verdict,
            _voice(vote.rater),
            "",
        )
        for vote in votes
    )
    return Label(one.prompt_id, one.first_id, one.second_id, p_first, verdict, Basis.HUMAN, Evidence((), judgements))


def _voice(rater: str) -> str:
    return f"human: {rater}"


def _satisfaction(vote: HumanVote) -> list[SatisfactionVerdict]:
    return [
        SatisfactionVerdict(
            response_id,
            rating.satisfied,
            None,
            ", ".join(flaw.value for flaw in rating.flaws),
            _voice(vote.rater),
            "",
        )
        for response_id, rating in ((vote.first_id, vote.first), (vote.second_id, vote.second))
    ]


def _agreement(by_item: Sequence[Sequence[HumanVote]]) -> dict[str, Any]:
    """Krippendorff's alpha of both tasks, and Cohen's kappa of every two raters who share pairs."""
    preferences = [[vote.verdict for vote in votes if vote.verdict in _P_FIRST] for votes in by_item]
    satisfaction = [
        [rating.satisfied for rating in ratings if rating.satisfied is not Satisfaction.UNREADABLE]
        for votes in by_item
        for ratings in ([vote.first for vote in votes], [vote.second for vote in votes])
    ]
    return {
        "agreement": measured(
            [
                krippendorff_alpha(preferences, name="alpha_preference"),
                krippendorff_alpha(satisfaction, name="alpha_satisfaction"),
                clustered_share(_same(preferences), name="same_preference"),
                clustered_share(_same(satisfaction), name="same_satisfaction"),
            ]
        ),
        "kappa": _kappas(by_item),
    }


def _same(units: Iterable[Sequence[Any]]) -> list[tuple[int, int]]:
    """By unit, how many of all pairs of its raters say the same, and how many there are."""
    pairs = [list(itertools.combinations(unit, 2)) for unit in units]
    return [(sum(one is other for one, other in unit), len(unit)) for unit in pairs]


def _kappas(by_item: Sequence[Sequence[HumanVote]]) -> list[dict[str, Any]]:
    both: dict[tuple[str, str], list[tuple[Verdict, Verdict]]] = {}
    for votes in by_item:
        said = sorted((vote.rater, vote.verdict) for vote in votes if vote.verdict in _P_FIRST)
        for (one, his), (other, hers) in itertools.combinations(said, 2):
            both.setdefault((one, other), []).append((his, hers))
    found = [(raters, measured([cohen_kappa(rows), agreement(rows)])) for raters, rows in sorted(both.items())]
    return [{"raters": list(pair), "pairs": len(both[pair]), **numbers} for pair, numbers in found]


def raters(votes: Sequence[HumanVote]) -> list[dict[str, Any]]:
    """Each rater's care: known pairs right, agreement with others, pace, side; with `flags` that say what is low."""
    by_item: dict[int, list[HumanVote]] = {}
    for vote in votes:
        by_item.setdefault(vote.item, []).append(vote)
    return [
        _rater(name, [vote for vote in votes if vote.rater == name], by_item)
        for name in sorted({vote.rater for vote in votes})
    ]


def _rater(name: str, own: Sequence[HumanVote], by_item: Mapping[int, Sequence[HumanVote]]) -> dict[str, Any]:
    known = [vote.verdict is vote.known for vote in own if vote.known is not None]
    checks = wilson(sum(known), len(known), name="checks_right")
    same = [
        vote.verdict is other.verdict
        for vote in own
        if vote.known is None and vote.verdict in _P_FIRST
        for other in by_item[vote.item]
        if other.rater != name and other.verdict in _P_FIRST
    ]
    shared = wilson(sum(same), len(same), name="with_others")
    sided = [
        (vote.verdict is Verdict.FIRST) != vote.is_swapped
        for vote in own
        if vote.verdict in (Verdict.FIRST, Verdict.SECOND)
    ]
    pace = median(vote.seconds for vote in own)
    is_timed = any(vote.seconds for vote in own)
    return {
        "rater": name,
        "votes": len(own),
        **measured([checks, shared, wilson(sum(sided), len(sided), name="chose_left")]),
        "could_not_say": sum(vote.verdict is Verdict.UNREADABLE for vote in own),
        "median_s": round(pace, 1),
        "flags": [*_flags(checks, shared, pace if is_timed else None, len(own))],
    }


def _flags(checks: Metric, shared: Metric, pace: float | None, votes: int) -> list[str]:
    flags = []
    if checks.n >= FEW_CHECKS and checks.value < CHECKS_RIGHT:
        flags.append(f"right on {round(checks.value * checks.n)} of {checks.n} pairs whose better answer is known")
    if shared.n >= FEW_SHARED and shared.value < WITH_OTHERS:
        flags.append(f"agrees with other raters on {100 * shared.value:.0f} % of {shared.n} comparisons")
    if pace is not None and votes >= FEW_VOTES and pace < FAST_S:
        flags.append(f"takes {pace:.1f} s for a pair")
    return flags


def flat(vote: HumanVote) -> dict[str, Any]:
    """A vote as one level of plain values, for a table."""
    row = asdict(vote)
    for side in ("first", "second"):
        rating: Rating = getattr(vote, side)
        row.pop(side)
        row[f"{side}_satisfied"] = rating.satisfied.value
        row[f"{side}_flaws"] = " ".join(flaw.value for flaw in rating.flaws)
    return {key: getattr(value, "value", value) for key, value in row.items()}
