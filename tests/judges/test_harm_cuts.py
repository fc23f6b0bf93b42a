"""Cuts of a judge's scores: where they come to lie, and that what they are measured on did not teach them."""

import asyncio
import math
import random

import pytest

from hrlaif.judges.calibrate_harm import LEAST_ROWS, HarmRow, Scores, calibrate_rows, cuts_of
from hrlaif.judges.harm_cuts import FOLDS, HarmCuts, Scored, fitted_cut, fold_of
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Cost, Finish


def scored(yes: list[float], no: list[float]) -> list[Scored]:
    return [Scored(True, score) for score in yes] + [Scored(False, score) for score in no]


@pytest.mark.parametrize(
    ("yes", "no", "cut"),
    [
        ([3.0, 5.0], [1.0, 2.0], 2.5),
        ([-1.0], [-4.0], -2.5),
        # 0 parts them already, and so would 1.5.
        ([3.0], [-1.0], 0.0),
        ([math.inf, 4.0], [-math.inf, 2.0], 3.0),
        # Found 3 of 3 and passed 2 of 3 at 1.5, found 2 of 3 and passed all at 3.5: the nearer of two equals.
        ([2.0, 4.0, 5.0], [0.5, 1.0, 3.0], 1.5),
    ],
)
def test_a_cut_parts_the_classes_best_and_stays_near_the_middle(yes, no, cut: float) -> None:
    assert fitted_cut(scored(yes, no)) == pytest.approx(cut)


def test_a_large_class_does_not_outweigh_a_small_one() -> None:
    # At 3.5 more rows are right (13 of 16) than at 1.5 (12 of 16), but most of the harmful ones are missed.
    assert fitted_cut(scored([2.0] * 3 + [4.0], [1.0] * 8 + [3.0] * 4)) == pytest.approx(1.5)


def test_one_class_alone_teaches_nothing() -> None:
    assert fitted_cut(scored([1.0, 2.0], [])) is None


def reply(**shares: float) -> ChatReply:
    logprobs = {letter: math.log(share) for letter, share in shares.items()}
    return ChatReply(max(shares, key=lambda letter: shares[letter]), Finish.STOP, "m", (logprobs,), Cost(calls=1))


def leaning(request: ChatRequest) -> ChatReply:
    """A judge that hardly ever says C, or B in the first wording, yet says them more often where they are right."""
    question = request.messages[0].content
    if "What does the assistant do?" in question:
        return reply(A=0.7, B=0.1, C=0.2) if "Never" in question else reply(A=0.85, B=0.1, C=0.05)
    if "How much harm" in question:
        return reply(C=1.0)
    p_first = 0.9 if "fool" in question else 0.7
    return reply(A=p_first, B=1 - p_first) if "What did the user get?" in question else reply(A=1 - p_first, B=p_first)


def rows_of(kind: str, each: int) -> list[HarmRow]:
    """Rows that the judge tells apart without fail, but for where it parts them."""
    if kind == "refusal":
        texts = (("Never, my friend.", "full_refusal"), ("Gladly, my friend.", "full_compliance"))
        return [
            HarmRow(f"r{n}{label}", "response_refusal", f"Request {n}", text, None, label)  # type: ignore[arg-type]
            for n in range(each)
            for text, label in texts
        ]
    return [
        HarmRow(f"h{n}{harmful}", "response_harm", f"Be rude {n}", text, harmful)  # type: ignore[arg-type]
        for n in range(each)
        for text, harmful in (("You fool.", 1), ("Dear friend.", 0))
    ]


def test_a_judge_that_leans_is_right_with_cuts_where_it_was_at_chance_without() -> None:
    rows = rows_of("refusal", 40) + rows_of("harm", 40)
    judge = ScriptedModel(leaning)
    found = asyncio.run(calibrate_rows(rows, judge))
    assert (found["refusal_accuracy_uncut"], found["accuracy_uncut"], found["specificity_uncut"]) == (0.5, 0.5, 0.0)
    assert (found["refusal_accuracy"], found["accuracy"], found["specificity"]) == (1.0, 1.0, 1.0)
    # Midway between the two scores of each question: log(0.2 / 0.8) and log(0.05 / 0.95) of a refusal.
    assert found["cut_refusal"] == pytest.approx((math.log(0.25) + math.log(0.05 / 0.95)) / 2)
    assert found["cut_harm"] > 0
    assert found["cut_harm_2"] == pytest.approx(found["cut_harm"])
    # No question is paid for twice: one per refusal row, refusal and two wordings per harm row, severity where harmful.
    assert found["calls"] == len(judge.requests) == 80 + 3 * 80 + 80


@pytest.mark.parametrize(("each", "is_cut"), [(LEAST_ROWS - 1, False), (LEAST_ROWS, True)])
def test_few_rows_leave_the_judge_its_own_word(each: int, is_cut: bool) -> None:
    found = asyncio.run(calibrate_rows(rows_of("refusal", each) + rows_of("harm", each), ScriptedModel(leaning)))
    assert (found["cut_refusal"] is not None) == (found["cut_harm"] != 0) == is_cut
    assert (found["refusal_accuracy"] == 1.0) == (found["accuracy"] == 1.0) == is_cut


def test_cuts_are_measured_on_rows_that_did_not_teach_them() -> None:
    # Scores without any meaning: on its own rows the best cut is above chance, held out it is not.
    draw = random.Random(0)
    shares = {f"Text {n}.": draw.uniform(0.05, 0.95) for n in range(120)}

    def script(request: ChatRequest) -> ChatReply:
        share = next(share for text, share in shares.items() if text in request.messages[0].content)
        return reply(A=1 - share, B=1e-9, C=share)

    labels = ["full_refusal", "full_compliance"] * 60
    rows = [
        HarmRow(f"r{n}", "response_refusal", f"Request {n}", text, None, label)  # type: ignore[arg-type]
        for n, (text, label) in enumerate(zip(shares, labels, strict=True))
    ]
    found = asyncio.run(calibrate_rows(rows, ScriptedModel(script)))
    cut = found["cut_refusal"]
    own = sum(
        (math.log(share / (1 - share)) > cut) == (label == "full_refusal")
        for share, label in zip(shares.values(), labels, strict=True)
    )
    assert own / len(rows) > 0.52
    assert found["refusal_accuracy"] < own / len(rows)


def test_responses_to_one_prompt_share_a_fold() -> None:
    assert {fold_of("a") for _ in range(3)} == {fold_of("a")}
    assert {fold_of(str(n)) for n in range(50)} == set(range(FOLDS))


def test_what_the_judge_could_not_read_teaches_no_cut() -> None:
    def row(number: int, *, harmful: int, refusal: str | None = None) -> HarmRow:
        return HarmRow(str(number), "response_harm", f"p{number}", "r", harmful=harmful, refusal=refusal)  # type: ignore[arg-type]

    def scores(refused: float | None, harm: float | None) -> Scores:
        return Scores(refused, False, (harm, harm), Cost())

    # A judge that leans to "does not refuse": full refusals lie above -3.
    refusing = [(row(0, harmful=0, refusal="full_refusal"), scores(-1.0, None))]
    others = [(row(1, harmful=0, refusal="full_compliance"), scores(-5.0, 0.5))]
    others += [
        (row(n, harmful=harm), scores(-5.0, score))
        for n, (harm, score) in enumerate(((1, 1.0), (1, 3.0), (0, 0.5), (0, 2.0)), start=2)
    ]
    unread = [(row(n, harmful=1), scores(None, None)) for n in (20, 21, 22)]
    without = cuts_of([*refusing, *others], refusal=True, harm=True)
    assert without == HarmCuts(-3.0, (0.75, 0.75))
    assert cuts_of([*refusing, *others, *unread], refusal=True, harm=True) == without
