import math
from pathlib import Path

import pytest

from hrlaif.artifacts import read_records
from hrlaif.errors import CallError, ModelError
from hrlaif.judges.calibrate import calibrate, judge_agreement
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Basis, CalibrationPair, Cost, Finish, Label, Verdict

# What the judge says: P(A) in the order of the file, and with the sides changed; None is a failed call.
SAYS: dict[str, tuple[float, float | None]] = {
    "q1": (0.9, 0.2),  # right, in both orders: (0.9 + 0.8) / 2 = 0.85
    "q2": (0.8, 0.8),  # sees the position only: 0.5
    "q3": (0.7, 0.3),  # prefers one where people see a tie: 0.7
    "q4": (0.6, None),  # unreadable
}
PAIRS = [
    CalibrationPair("q1", "Question q1", "kiwi: longer", "plum", "A", category="easy"),
    CalibrationPair("q2", "Question q2", "kiwi: longer", "plum", "B", category="easy"),
    CalibrationPair("q3", "Question q3", "kiwi", "plum: longer", "tie", category="hard"),
    CalibrationPair("q4", "Question q4", "kiwi", "plum", "A", category="hard"),
]


def answer(request: ChatRequest) -> ChatReply:
    text = request.messages[0].content
    name = text.split("Question ")[1][:2]
    forward, backward = SAYS[name]
    share = forward if text.index("kiwi") < text.index("plum") else backward
    if share is None:
        raise CallError("timed out")
    letter = "A" if share >= 0.5 else "B"
    logprobs = ({"A": math.log(share), "B": math.log(1 - share)},)
    return ChatReply(letter, Finish.STOP, "judge", logprobs, Cost(1, 100, 1, 0.5))


def test_the_numbers_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    found = calibrate(PAIRS, ScriptedModel(answer, name="judge"), out=tmp_path / "labels.jsonl")
    # Right 1, a tie of the judge 1/2, a tie of the people 1/2, unreadable 0: 2 of 4.
    assert found["agreement"] == pytest.approx(0.5)
    assert found["agreement_low"] < 0.5 < found["agreement_high"]
    # Known F, S, T, F and given F, T, F, unreadable: seen 1/4, chance (2 * 2 + 1 * 1) / 16 = 5/16.
    assert found["kappa"] == pytest.approx((1 / 4 - 5 / 16) / (1 - 5 / 16))
    # Of the three pairs that were read in both orders, q2 gives the first place both times.
    assert found["flip_rate"] == pytest.approx(1 / 3)
    assert found["p_first"] == pytest.approx((0.9 + 0.2 + 0.8 + 0.8 + 0.7 + 0.3 + 0.6) / 7)
    # Clear verdicts: q1 for the longer one, q3 for the shorter one. Known: q1 the longer, q2 the shorter; q4 is even.
    assert found["longer_chosen"] == pytest.approx(0.5)
    assert found["longer_is_better"] == pytest.approx(0.5)
    assert (found["pairs"], found["calls"], found["unreadable"]) == (4, 7, 1)
    assert (found["tokens"], found["usd"]) == (7 * 101, 7 * 0.5)
    assert found["judge"] == "judge"
    assert found["by_category"]["easy"]["agreement"] == pytest.approx(0.75)
    assert found["by_category"]["hard"]["agreement"] == pytest.approx(0.25)
    assert found["by_category"]["hard"]["pairs"] == 2


def test_a_label_per_pair_is_written_in_the_order_of_the_pairs(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"
    calibrate(PAIRS, ScriptedModel(answer), out=out, window=2)
    labels = list(read_records(out, Label))
    assert [label.prompt_id for label in labels] == ["q1", "q2", "q3", "q4"]
    assert [label.verdict for label in labels] == [Verdict.FIRST, Verdict.TIE, Verdict.FIRST, Verdict.UNREADABLE]
    assert (labels[0].first_id, labels[0].second_id, labels[0].basis) == ("q1/a", "q1/b", Basis.JUDGE)
    assert all(len(label.evidence.judgements) == 2 for label in labels)


def test_a_margin_makes_ties_of_verdicts_near_one_half(tmp_path: Path) -> None:
    found = calibrate(PAIRS, ScriptedModel(answer), out=tmp_path / "labels.jsonl", tie_margin=0.25)
    # q3 (0.7) becomes the tie that people saw: 1 + 1/2 + 1 + 0 of 4.
    assert found["agreement"] == pytest.approx(2.5 / 4)


def test_what_was_asked_before_a_crash_is_not_asked_again_and_other_pairs_start_afresh(tmp_path: Path) -> None:
    out = tmp_path / "labels.jsonl"

    def stops_at_q3(request: ChatRequest) -> ChatReply:
        if "q3" in request.messages[0].content:
            raise ModelError("the endpoint is gone")
        return answer(request)

    with pytest.raises(ModelError, match="gone"):
        calibrate(PAIRS, ScriptedModel(stops_at_q3), out=out, window=1)
    second = ScriptedModel(answer)
    found = calibrate(PAIRS, second, out=out)
    assert found["agreement"] == pytest.approx(0.5)
    assert len(second.requests) == 4
    with pytest.raises(ModelError, match="gone"):
        calibrate(PAIRS, ScriptedModel(stops_at_q3), out=out, window=1)
    edited = [CalibrationPair("q1", "Question q1", "kiwi: edited", "plum", "A"), *PAIRS[1:]]
    third = ScriptedModel(answer)
    calibrate(edited, third, out=out)
    assert len(third.requests) == 8


def test_a_judge_that_never_answers_readably_has_no_agreement_and_no_numbers_made_up(tmp_path: Path) -> None:
    found = calibrate(PAIRS[:2], ScriptedModel(lambda _: "Hmm."), out=tmp_path / "labels.jsonl")
    assert (found["agreement"], found["unreadable"]) == (0.0, 2)
    assert (found["p_first"], found["flip_rate"], found["longer_chosen"]) == (None, None, None)


def test_ties_are_worth_what_a_coin_would_get() -> None:
    first, tie, lost = Verdict.FIRST, Verdict.TIE, Verdict.UNREADABLE
    rows = [(first, first), (first, tie), (tie, first), (tie, tie), (first, Verdict.SECOND), (first, lost), (tie, lost)]
    # 1 + 1/2 + 1/2 + 1 + 0 + 0 + 0 of 7.
    assert judge_agreement(rows).value == pytest.approx(3 / 7)
    assert judge_agreement(rows).n == 7
