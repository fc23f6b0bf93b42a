import math

import pytest

from hrlaif.labels.rank import ranked
from hrlaif.types import Basis, Evidence, Finish, Judgement, Label, Response, Verdict


def asked(first: str, second: str, p_first: float, verdict: Verdict = Verdict.FIRST) -> Label:
    judgement = Judgement("p", first, second, p_first, verdict, "judge", "A")
    return Label("p", first, second, p_first, verdict, Basis.JUDGE, Evidence(judgements=(judgement,)))


def pair(first: str, second: str) -> tuple[Response, Response]:
    one, other = (Response(name, "p", name, "policy", 0, Finish.STOP) for name in (first, second))
    return one, other


def test_a_pair_that_was_not_asked_about_follows_from_the_comparisons_that_connect_it() -> None:
    labels = ranked([asked("a", "b", 0.8), asked("b", "c", 0.7)], [pair("c", "a")], tie_margin=0.05)
    first, second, implied = labels
    # In log-odds, sigmoid(s_a - s_c) with s_a - s_c the sum of both differences.
    total = sum(math.log(one.p_first / (1 - one.p_first)) for one in (first, second))
    assert implied.p_first == pytest.approx(1 / (1 + math.exp(total)))
    assert implied.verdict is Verdict.SECOND
    assert implied.evidence.judgements == ()
    assert implied.evidence.note == (
        "not asked, ranked by the prompt's comparisons (2); with one of the two: a over b 0.800, b over c 0.700"
    )


def test_what_was_asked_keeps_its_evidence_and_what_it_said_alone() -> None:
    label = asked("a", "b", 0.8)
    (found,) = ranked([label], [], tie_margin=0.05)
    assert found.evidence.judgements == label.evidence.judgements
    assert found.evidence.note == "ranked by the prompt's comparisons (1); alone: 0.800"
    # The weak prior moves it towards a tie, but not far.
    assert 0.7 < found.p_first < 0.8


def test_comparisons_that_contradict_each_other_become_ties_and_an_outvoted_one_turns_round() -> None:
    circle = [asked("a", "b", 0.9), asked("b", "c", 0.9), asked("c", "a", 0.9)]
    assert [one.verdict for one in ranked(circle, [], tie_margin=0.05)] == [Verdict.TIE] * 3
    labels = [asked("a", "b", 1.0), asked("b", "c", 1.0), asked("a", "d", 1.0), asked("d", "c", 1.0)]
    outvoted = ranked([*labels, asked("c", "a", 0.6)], [], tie_margin=0.05)[-1]
    assert outvoted.verdict is Verdict.SECOND


def test_an_unreadable_label_stays_and_connects_nothing() -> None:
    dark = asked("b", "c", 0.5, Verdict.UNREADABLE)
    labels = ranked(
        [asked("a", "b", 0.8), dark, asked("c", "d", 0.8)], [pair("a", "c"), pair("a", "x")], tie_margin=0.05
    )
    assert len(labels) == 3
    assert labels[1] == dark
    # Nor does it pull: each of the others is what it would be alone.
    (alone,) = ranked([asked("a", "b", 0.8)], [], tie_margin=0.05)
    assert labels[0].p_first == pytest.approx(alone.p_first)
