from __future__ import annotations

from dataclasses import replace

import pytest

from hrlaif.evaluation import People, summarise, table
from hrlaif.types import (
    Basis,
    Evaluation,
    Evidence,
    Finish,
    Judgement,
    Label,
    Response,
    Satisfaction,
    SatisfactionVerdict,
    Task,
    Verdict,
)

FIRST, SECOND, TIE, UNREADABLE = Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.UNREADABLE
YES, NO = Satisfaction.YES, Satisfaction.NO
ABOUT = {"votes": 9, "pairs": 9, "pairs_rated": 9, "raters": [{"rater": "anna", "flags": []}]}


def row(arm: str, prompt: str, satisfied: Satisfaction = YES, verdict: Verdict | None = None) -> Evaluation:
    # All arms number their responses alike.
    response = Response(f"{prompt}/0", prompt, f"{arm} text", arm, 0, Finish.STOP)
    return Evaluation(arm, prompt, "open", Task.OPEN, response, 2, 9, satisfied, "", verdict=verdict)


def label(prompt: str, verdict: Verdict, first: str = "rlaif", second: str = "start", *, read: bool = True) -> Label:
    ids = (prompt, f"{first}:{prompt}/0", f"{second}:{prompt}/0")
    votes = (Judgement(*ids, 0.5, verdict, "human: anna", ""),) if read else ()
    return Label(*ids, 0.5, verdict, Basis.HUMAN, Evidence((), votes))


def said(arm: str, prompt: str, *votes: Satisfaction) -> list[SatisfactionVerdict]:
    return [SatisfactionVerdict(f"{arm}:{prompt}/0", vote, None, "", "human: anna", "") for vote in votes]


def rows(*verdicts: Verdict) -> list[Evaluation]:
    prompts = "abcdefgh"[: len(verdicts)]
    return [row("start", one) for one in prompts] + [
        row("rlaif", one, verdict=verdict) for one, verdict in zip(prompts, verdicts, strict=True)
    ]


def test_the_win_ratio_of_people_counts_their_labels_whichever_way_round_and_ties_half() -> None:
    labels = [
        label("a", FIRST),
        label("b", FIRST, "start", "rlaif"),
        label("c", TIE, read=False),
        label("d", UNREADABLE),
    ]
    summary = summarise(rows(FIRST, FIRST, FIRST, FIRST, TIE), seed=0, people=People(labels, (), ABOUT))
    ratio = summary["metrics"]["rlaif"]["all"]["human_win_ratio"]
    # A win, a loss, a tie of equal texts; d could not be judged, and nobody rated e.
    assert (ratio["value"], ratio["n"]) == (0.5, 3)
    assert "human_win_ratio" not in summary["metrics"]["start"]["all"]
    shown = {title: cells for title, *cells in table(summary)}
    assert shown["Win ratio by people, %"][0] == "–"
    assert shown["Win ratio by people, %"][1].startswith("50.0 [")


def test_satisfaction_is_the_mean_over_prompts_of_the_share_of_satisfied_votes() -> None:
    votes = [*said("rlaif", "a", YES, NO), *said("rlaif", "b", YES), *said("start", "b", NO)]
    votes += said("rlaif", "c", Satisfaction.UNREADABLE)
    summary = summarise(rows(TIE, TIE, TIE), seed=0, people=People((), votes, ABOUT))
    found = summary["metrics"]["rlaif"]["all"]["human_satisfaction"]
    # (1/2 + 1) / 2
    assert (found["value"], found["n"]) == (0.75, 2)
    assert summary["metrics"]["start"]["all"]["human_satisfaction"]["n"] == 1


def test_differences_in_satisfaction_pair_the_prompts_where_people_rated_both() -> None:
    votes = [one for p in "abcd" for one in (*said("rlaif", p, YES), *said("start", p, NO if p < "c" else YES))]
    votes += said("rlaif", "e", NO)
    summary = summarise(rows(TIE, TIE, TIE, TIE, TIE), seed=0, people=People((), votes, ABOUT))
    found = summary["differences"]["rlaif"]["all"]["human_satisfaction"]
    assert (found["value"], found["n"]) == (0.5, 4)


def test_the_judge_is_measured_against_people_as_against_any_other_judge() -> None:
    judge = rows(FIRST, SECOND, TIE, FIRST, UNREADABLE)
    labels = [
        label("a", FIRST),
        label("b", FIRST),
        label("c", SECOND),
        label("d", FIRST, read=False),
        label("e", FIRST),
    ]
    votes = [*said("rlaif", "a", NO), *said("rlaif", "b", YES), *said("rlaif", "c", YES, NO)]
    about = summarise(judge, seed=0, people=People(labels, votes, ABOUT))["people"]
    # The same, another, a tie against a loss (half right), an unreadable verdict (wrong); d had no reader.
    assert (about["judge_agreement"]["preference"]["value"], about["judge_agreement"]["preference"]["n"]) == (
        1.5 / 4,
        4,
    )
    # The judge is satisfied with all; c is split.
    assert (about["judge_agreement"]["satisfaction"]["value"], about["judge_agreement"]["satisfaction"]["n"]) == (
        0.5,
        2,
    )


def test_red_team_answers_are_compared_by_nobody() -> None:
    judged = [replace(one, task=Task.RED_TEAM) for one in rows(FIRST, FIRST)]
    summary = summarise(judged, seed=0, people=People([label("a", FIRST), label("b", FIRST)], (), ABOUT))
    assert "human_win_ratio" not in summary["metrics"]["rlaif"]["all"]


def test_the_sentences_say_what_is_open_what_is_missing_and_whom_to_look_at() -> None:
    sure = [label(one, FIRST) for one in "abcdefgh"]
    about = ABOUT | {"pairs": 12, "raters": [{"rater": "ben", "flags": ["takes 1.0 s for a pair"]}]}
    told = " ".join(summarise(rows(*[TIE] * 8), seed=0, people=People(sure, (), about))["sentences"])
    assert "People prefer rlaif to start" in told
    assert "People have rated 9 of 12 pairs so far." in told
    assert "Votes of 1 of 1 raters look careless; they are counted." in told
    unsure = People([label("a", FIRST), label("b", SECOND)], (), ABOUT)
    assert any(
        "Whether people prefer rlaif or start stays open" in one
        for one in summarise(rows(TIE, TIE), seed=0, people=unsure)["sentences"]
    )


@pytest.mark.parametrize("people", [None, People((), (), ABOUT | {"votes": 0, "pairs_rated": 0})])
def test_without_votes_nothing_is_said_of_people(people: People | None) -> None:
    summary = summarise(rows(FIRST, TIE), seed=0, people=people)
    assert not any("eople " in one for one in summary["sentences"] if not one.startswith("Preference, harm"))
    assert not any("human" in name for name in summary["metrics"]["rlaif"]["all"])
