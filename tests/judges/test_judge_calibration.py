import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrlaif.artifacts import read_records
from hrlaif.errors import CallError, ModelError
from hrlaif.judges.calibrate import calibrate, judge_agreement, slope
from hrlaif.judges.panel import Judge, Panel
from hrlaif.metrics import wilson
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


def test_every_number_has_its_interval_or_none_where_it_has_no_number(tmp_path: Path) -> None:
    found = calibrate(PAIRS, ScriptedModel(answer, name="judge"), out=tmp_path / "labels.jsonl")
    for name in ("agreement", "kappa", "flip_rate", "p_first", "longer_chosen"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"], name
    # One of three flips, one of two is for the longer: the Wilson intervals of 1 of 3 and 1 of 2.
    assert (found["flip_rate_low"], found["flip_rate_high"]) == pytest.approx((0.0615, 0.7923), abs=1e-3)
    assert (found["longer_chosen_low"], found["longer_chosen_high"]) == pytest.approx((0.0945, 0.9055), abs=1e-3)
    # The bounds of 1 of 4 agreeing put through (seen - 5/16) / (11/16).
    seen = wilson(1, 4, name="")
    assert found["kappa_low"] == pytest.approx((seen.low - 5 / 16) / (11 / 16))
    mute = calibrate(PAIRS[:1], ScriptedModel(lambda _: "Hmm."), out=tmp_path / "mute.jsonl")
    for name in ("flip_rate", "p_first", "longer_chosen"):
        assert (mute[f"{name}_low"], mute[f"{name}_high"]) == (None, None), name


def test_one_pair_has_a_mean_and_no_interval_of_it(tmp_path: Path) -> None:
    found = calibrate(PAIRS[:1], ScriptedModel(answer), out=tmp_path / "labels.jsonl")
    assert (found["p_first"], found["p_first_low"]) == (pytest.approx((0.9 + 0.2) / 2), None)


# --- panels -----------------------------------------------------------------------------------------------------------


def contrary(request: ChatRequest) -> ChatReply:
    """Prefers what `answer` does not, without a position bias and sure of it; cannot read q1."""
    text = request.messages[0].content
    if "Question q1" in text:
        return ChatReply("Hmm.", Finish.STOP, "contrary", (), Cost(1, 50, 1))
    letter = "B" if text.index("kiwi") < text.index("plum") else "A"
    return ChatReply(letter, Finish.STOP, "contrary", (), Cost(1, 50, 1))


def measured_panel(tmp_path: Path) -> dict[str, Any]:
    panel = Panel(
        (Judge(ScriptedModel(answer, name="judge"), weight=3.0), Judge(ScriptedModel(contrary, name="other")))
    )
    return calibrate(PAIRS, panel, out=tmp_path / "labels.jsonl", tie_margin=0.05)


def test_a_panel_is_measured_as_one_judge(tmp_path: Path) -> None:
    found = measured_panel(tmp_path)
    labels = list(read_records(tmp_path / "labels.jsonl", Label))
    # q1: judge alone, 0.85. q2: (3 * 0.5 + 0) / 4. q3: (3 * 0.7 + 0) / 4, a tie. q4: only other, 0.
    assert [label.p_first for label in labels] == pytest.approx([0.85, 0.375, 0.525, 0.0])
    first, second, tie = Verdict.FIRST, Verdict.SECOND, Verdict.TIE
    assert [label.verdict for label in labels] == [first, second, tie, second]
    # Known F, S, T, F.
    assert found["agreement"] == pytest.approx(3 / 4)
    # q2: together they say (3 * 0.8 + 0) / 4 and (3 * 0.8 + 1) / 4, the first place both times; the rest keep to one.
    # q3: (3 * 0.7) / 4 = 0.525 and (3 * 0.3 + 1) / 4 = 0.475.
    assert found["flip_rate"] == pytest.approx(1 / 4)
    assert found["p_first"] == pytest.approx((0.9 + 0.2 + 0.6 + 0.85 + 0.525 + 0.475 + 0.0 + 1.0) / 8)
    assert (found["unreadable"], found["judge"]) == (0, "panel: judge, other")
    # Eight calls each, one of which failed for nothing; their tokens are added.
    assert (found["calls"], found["tokens"]) == (15, 7 * 101 + 8 * 51)
    assert all(len(label.evidence.judgements) == 4 for label in labels)


def test_each_member_of_a_panel_is_measured_by_itself(tmp_path: Path) -> None:
    by_judge = measured_panel(tmp_path)["by_judge"]
    alone = {
        name: calibrate(PAIRS, ScriptedModel(script, name=name), out=tmp_path / f"{name}.jsonl", tie_margin=0.05)
        for name, script in (("judge", answer), ("other", contrary))
    }
    assert list(by_judge) == ["judge", "other"]
    for name, found in by_judge.items():
        assert found == {key: alone[name][key] for key in found}
        assert set(alone[name]) - set(found) == {"pairs", "longer_is_better", "by_category", "judge", "seconds"}
    # other is unreadable on q1, right on q2 (S), half right on q3 (a tie of people), wrong on q4.
    assert (by_judge["other"]["agreement"], by_judge["other"]["unreadable"]) == (pytest.approx(1.5 / 4), 1)
    assert by_judge["other"]["flip_rate"] == 0.0


def test_one_judge_is_not_listed_as_its_own_member(tmp_path: Path) -> None:
    assert "by_judge" not in calibrate(PAIRS, ScriptedModel(answer), out=tmp_path / "labels.jsonl")


def test_a_template_that_changed_asks_again_what_was_asked_before_a_crash(tmp_path: Path) -> None:
    def own(text: str, script: Callable[[ChatRequest], ChatReply]) -> tuple[ScriptedModel, Panel]:
        model = ScriptedModel(script)
        return model, Panel((Judge(model, prompt="mine", template=f"{text} $request $first $second"),))

    def stops_at_q3(request: ChatRequest) -> ChatReply:
        if "q3" in request.messages[0].content:
            raise ModelError("the endpoint is gone")
        return answer(request)

    for text, calls in (("one", 4), ("two", 8)):
        with pytest.raises(ModelError, match="gone"):
            calibrate(PAIRS, own("one", stops_at_q3)[1], out=tmp_path / "labels.jsonl", window=1)
        model, panel = own(text, answer)
        calibrate(PAIRS, panel, out=tmp_path / "labels.jsonl")
        assert len(model.requests) == calls


def test_ties_are_worth_what_a_coin_would_get() -> None:
    first, tie, lost = Verdict.FIRST, Verdict.TIE, Verdict.UNREADABLE
    rows = [(first, first), (first, tie), (tie, first), (tie, tie), (first, Verdict.SECOND), (first, lost), (tie, lost)]
    # 1 + 1/2 + 1/2 + 1 + 0 + 0 + 0 of 7.
    assert judge_agreement(rows).value == pytest.approx(3 / 7)
    assert judge_agreement(rows).n == 7


def asked(logits: list[float], better: list[bool]) -> tuple[list[CalibrationPair], list[Label]]:
    """Pairs with a judge's log-odds of the first response, and whether that is the better one."""
    pairs = [CalibrationPair(f"q{n}", "?", "a", "b", "A" if is_first else "B") for n, is_first in enumerate(better)]
    labels = [
        Label(f"q{n}", "a", "b", 1 / (1 + math.exp(-x)), Verdict.FIRST if x > 0 else Verdict.SECOND, Basis.JUDGE)
        for n, x in enumerate(logits)
    ]
    return pairs, labels


@pytest.mark.parametrize("true", [0.0, 0.25, 1.0, 9.0])
def test_the_slope_is_how_much_surer_than_its_word_a_judge_may_be_taken(true: float) -> None:
    drawn, inside = random.Random(1), 0
    for _ in range(40):
        logits = [drawn.gauss(0, 2.0 / max(true, 1.0)) for _ in range(400)]
        found = slope(*asked(logits, [drawn.random() < 1 / (1 + math.exp(-true * x)) for x in logits]))
        assert found.value == pytest.approx(true, abs=0.4 * max(true, 0.5))
        inside += found.low <= true <= found.high
    assert inside >= 35


def test_a_judge_without_a_mistake_has_a_finite_slope_and_one_that_is_always_wrong_none() -> None:
    logits = [0.1 * (-1) ** n for n in range(40)]
    right = [x > 0 for x in logits]
    never_wrong = slope(*asked(logits, right))
    # Platt's target for 40 rows is 41 / 42: sigmoid(0.1 b) = 41 / 42.
    assert never_wrong.value == pytest.approx(10 * math.log(41), rel=1e-6)
    assert slope(*asked(logits, [not is_right for is_right in right])).value == pytest.approx(0.0, abs=1e-9)


def test_ties_and_unreadable_labels_say_nothing_of_the_slope() -> None:
    pairs, labels = asked([0.5, -0.2, 0.3], [True, False, False])
    seen = slope(pairs, labels)
    tie = CalibrationPair("t", "?", "a", "b", "tie")
    unread = Label("u", "a", "b", 0.5, Verdict.UNREADABLE, Basis.JUDGE)
    assert slope([*pairs, tie, pairs[0]], [*labels, labels[0], unread]) == seen
    assert math.isnan(slope([tie], labels[:1]).value)
