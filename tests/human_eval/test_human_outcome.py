from __future__ import annotations

from pathlib import Path

import pytest

from hrlaif.human_eval import Study, outcomes, outcomes_of
from hrlaif.human_eval.items import Item, arm_items, check_items, comparisons, shuffled
from hrlaif.human_eval.outcome import SAME_TEXT, raters
from hrlaif.human_eval.records import Ballot, Flaw, HumanVote, Rating
from hrlaif.types import Basis, CalibrationPair, Finish, Message, Prompt, Response, Satisfaction, Split, Task, Verdict

FIRST, SECOND, TIE, UNREADABLE = Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.UNREADABLE
YES, NO, NONE = Rating(Satisfaction.YES), Rating(Satisfaction.NO, (Flaw.UNCLEAR,)), Rating(Satisfaction.UNREADABLE)


def vote(
    item: int,
    rater: str,
    verdict: Verdict,
    *,
    ratings: tuple[Rating, Rating] = (YES, NO),
    known: Verdict | None = None,
    seconds: float = 20.0,
    swapped: bool = False,
) -> HumanVote:
    names = (f"p{item}", "c", Task.OPEN, f"rlaif:p{item}/0", f"start:p{item}/0", "rlaif", "start")
    return HumanVote(f"{item}{rater}", item, rater, *names, verdict, *ratings, swapped, 1, seconds, 0.0, known=known)


def test_a_label_is_the_mean_of_votes_with_each_voice_kept_and_those_who_could_not_say_left_out() -> None:
    votes = [vote(1, "a", FIRST), vote(1, "b", TIE), vote(1, "c", UNREADABLE, ratings=(NONE, NONE))]
    (label,) = outcomes(votes).labels
    # (1 + 1/2) / 2
    assert (label.p_first, label.verdict, label.basis) == (0.75, FIRST, Basis.HUMAN)
    assert [(one.judge, one.verdict) for one in label.evidence.judgements] == [
        ("human: a", FIRST),
        ("human: b", TIE),
        ("human: c", UNREADABLE),
    ]


def test_raters_who_disagree_are_a_tie_and_a_pair_nobody_could_judge_is_unreadable() -> None:
    labels = outcomes(
        [vote(1, "a", FIRST), vote(1, "b", SECOND), vote(2, "a", UNREADABLE, ratings=(NONE, NONE))]
    ).labels
    assert [(label.p_first, label.verdict) for label in labels] == [(0.5, TIE), (0.5, UNREADABLE)]


def test_pairs_of_the_same_text_are_ties_once_anybody_has_voted() -> None:
    same = [("p9", "rlaif:p9/0", "start:p9/0")]
    assert outcomes([], same=same).labels == ()
    found = outcomes([vote(1, "a", FIRST)], same=same, pairs=4)
    assert (found.labels[1].verdict, found.labels[1].evidence.note) == (TIE, SAME_TEXT)
    assert (found.about["pairs"], found.about["pairs_rated"], found.about["pairs_of_same_text"]) == (4, 1, 1)


def test_known_pairs_compare_no_arms_and_measure_who_rates() -> None:
    votes = [vote(n, "a", FIRST, known=FIRST if n < 3 else SECOND) for n in range(5)] + [vote(9, "a", FIRST)]
    found = outcomes(votes)
    assert [label.prompt_id for label in found.labels] == ["p9"]
    (rater,) = found.about["raters"]
    assert (rater["checks_right"]["value"], rater["checks_right"]["n"]) == (0.6, 5)
    assert rater["flags"] == ["right on 3 of 5 pairs whose better answer is known"]


def test_a_flag_needs_enough_to_go_on_and_takes_no_vote_away() -> None:
    two_wrong = [vote(n, "a", FIRST, known=SECOND) for n in range(2)]
    assert raters(two_wrong)[0]["flags"] == []
    fast = [vote(n, "a", FIRST, seconds=1.0) for n in range(10)]
    assert raters(fast)[0]["flags"] == ["takes 1.0 s for a pair"]
    # Votes from elsewhere carry no time, and are not fast for that.
    assert raters([vote(n, "a", FIRST, seconds=0.0) for n in range(10)])[0]["flags"] == []
    apart = [vote(n, "a", FIRST) for n in range(20)] + [vote(n, "b", SECOND) for n in range(20)]
    assert raters(apart)[0]["flags"] == ["agrees with other raters on 0 % of 20 comparisons"]
    assert len(outcomes(apart).labels) == 20


def test_the_side_a_rater_chose_is_read_as_it_was_shown() -> None:
    left = [vote(1, "a", FIRST), vote(2, "a", SECOND, swapped=True)]
    assert raters([*left, vote(3, "a", FIRST, swapped=True)])[0]["chose_left"]["value"] == pytest.approx(2 / 3)


def test_agreement_is_that_of_the_raters_who_share_pairs() -> None:
    votes = [vote(n, rater, FIRST if n < 5 else SECOND) for n in range(10) for rater in "ab"]
    votes += [vote(10, "a", FIRST), vote(10, "b", SECOND), vote(11, "a", TIE)]
    about = outcomes(votes).about
    # 10 of 11 shared pairs are the same. Ratings: 11 FIRST, 11 SECOND; seen 2/22, expected 2 * 11 * 11 / (22 * 21).
    assert about["agreement"]["same_preference"]["value"] == pytest.approx(10 / 11)
    assert about["agreement"]["alpha_preference"]["value"] == pytest.approx(1 - (2 / 22) / (242 / 462))
    (pair,) = about["kappa"]
    assert (pair["raters"], pair["pairs"]) == (["a", "b"], 11)
    # Chance: a says FIRST on 6 of 11, b on 5; 6*5 + 5*6 = 60 of 121.
    assert pair["kappa"]["value"] == pytest.approx((10 / 11 - 60 / 121) / (61 / 121))


def test_satisfaction_is_kept_by_rater_and_response_with_its_reasons() -> None:
    found = outcomes([vote(1, "a", FIRST)]).satisfaction
    assert [(one.response_id, one.satisfied, one.reason, one.judge) for one in found] == [
        ("rlaif:p1/0", Satisfaction.YES, "", "human: a"),
        ("start:p1/0", Satisfaction.NO, "unclear", "human: a"),
    ]


# --- what raters are shown ---


def prompt(number: int, split: Split = Split.EVALUATION) -> Prompt:
    return Prompt(f"p{number}", (Message("user", f"{number}?"),), "c", Task.OPEN, split=split)


def answers(arm: str, prompts: list[Prompt], same: frozenset[int] = frozenset()) -> dict[str, Response]:
    return {
        one.id: Response(
            f"{one.id}/0", one.id, "same" if int(one.id[1:]) in same else f"{arm} {one.id}", arm, 0, Finish.STOP
        )
        for one in prompts
    }


def test_only_evaluation_prompts_with_different_answers_are_rated() -> None:
    prompts = [prompt(0), prompt(1), prompt(2, Split.TRAIN)]
    given = {arm: answers(arm, prompts, frozenset({1})) for arm in ("start", "rlaif")}
    found, same = arm_items(prompts, given, [("rlaif", "start")])
    assert [(one.prompt.id, one.first_arm, one.second_arm) for one in found] == [("p0", "rlaif", "start")]
    assert same == [("p1", "rlaif:p1/0", "start:p1/0")]
    many = [prompt(n) for n in range(100)]
    given = {arm: answers(arm, many) for arm in ("start", "rlaif")}
    few, _ = arm_items(many, given, [("rlaif", "start")], most_prompts=4)
    assert [one.prompt.id for one in few] == ["p0", "p25", "p50", "p75"]


def test_by_default_each_arm_meets_the_start_and_the_arms_each_other() -> None:
    assert comparisons("", ("start", "rlaif", "hrlaif")) == (
        ("rlaif", "start"),
        ("hrlaif", "start"),
        ("hrlaif", "rlaif"),
    )
    assert comparisons("", ("start", "rlaif")) == (("rlaif", "start"),)
    further = comparisons("", ("start", "rlaif", "hrlaif"), ("large",))
    assert further == (*comparisons("", ("start", "rlaif", "hrlaif")), ("large", "start"))
    assert comparisons("large:hrlaif", ("start", "hrlaif"), ("large",)) == (("large", "hrlaif"),)
    assert comparisons("hrlaif:rlaif", ("start", "rlaif", "hrlaif")) == (("hrlaif", "rlaif"),)


def test_known_pairs_have_a_better_answer_and_a_language_of_the_prompts() -> None:
    pairs = [
        CalibrationPair("1", "q", "a", "b", "A", lang="en"),
        CalibrationPair("2", "q", "a", "b", "tie", lang="en"),
        CalibrationPair("3", "q", "a", "b", "B", lang="zh"),
        CalibrationPair("4", "q", "a", "b", "B", lang="en"),
    ]
    found = check_items(pairs, wanted=9, langs=frozenset({"en"}), seed=0)
    assert sorted((one.prompt.id, one.known) for one in found) == [("1", FIRST), ("4", SECOND)]
    assert check_items(pairs, wanted=1, langs=frozenset({"en"}), seed=0) == found[:1]


def test_the_number_of_an_item_says_nothing_about_its_arms() -> None:
    prompts = [prompt(n) for n in range(30)]
    given = {arm: answers(arm, prompts) for arm in ("start", "rlaif", "hrlaif")}
    items, _ = arm_items(prompts, given, comparisons("", ("start", "rlaif", "hrlaif")))
    mixed = shuffled(items, seed=0)
    assert mixed == shuffled(items[::-1], seed=0) != items
    assert len({one.first_arm for one in mixed[:10]} | {one.second_arm for one in mixed[:10]}) == 3


def test_votes_on_answers_that_the_run_no_longer_has_are_left_out_and_counted(tmp_path: Path) -> None:
    prompts = [prompt(0), prompt(1)]
    given = {arm: answers(arm, prompts) for arm in ("start", "rlaif")}
    items, _ = arm_items(prompts, given, [("rlaif", "start")])
    with Study.create(tmp_path / "votes.sqlite", items, seed=0, overlap=1) as study:
        study.add(["anna"], days=1)
        study.cast([Ballot(f"v{n}", 1, n, FIRST, YES, YES, 1.0) for n in (1, 2)])
        now = {f"{arm}:p{n}/0": f"{arm} p{n}" for arm in given for n in (0, 1)}
        assert len(outcomes_of(study, now).labels) == 2
        trained_again = now | {"rlaif:p1/0": "other"}
        found = outcomes_of(study, trained_again)
    assert [label.prompt_id for label in found.labels] == ["p0"]
    assert found.about["stale_votes"] == 1
    assert isinstance(items[0], Item)
