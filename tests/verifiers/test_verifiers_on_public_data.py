"""Every verifier grades the gold answers of public benchmarks, in many wordings, and reaches its measured quality."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from hrlaif.types import Outcome
from hrlaif.verifiers import calibrate, verify_choice, verify_math
from hrlaif.verifiers.symbolic import relate

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public benchmark rows in {DATA}")

WORDINGS = (
    "We go step by step and use 3 facts.\n\nThe final answer is $\\boxed{%s}$.",
    "We go step by step. Therefore, the answer is $%s$. I hope it is correct.",
    "**Answer:** $%s$",
    "First we count. Hence the value is $%s$.",
    "%s",
    "The answer is %s.",
    "因此,最终答案是 \\boxed{%s}。",
)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["math500_sample.jsonl", "gsm8k_test_sample.jsonl", "math_zh_cmath.jsonl"])
def test_math_gold_answers_are_correct_in_every_wording(name: str) -> None:
    golds = sorted({row["answer"] for row in rows(name)})
    missed = [
        (gold, wording)
        for gold in golds
        for wording in WORDINGS
        if verify_math(gold, wording % gold, relate=relate)[0] is not Outcome.CORRECT
    ]
    assert missed == []


def test_math_solutions_are_correct_for_their_own_answers_and_never_for_the_next_ones() -> None:
    solved = [row for row in rows("math500_sample.jsonl") if row["solution"] and "boxed" in row["solution"]]
    own = [verify_math(row["answer"], row["solution"], relate=relate)[0] for row in solved]
    assert own.count(Outcome.CORRECT) == len(own)
    for row, other in itertools.pairwise(solved):
        if row["answer"] != other["answer"]:
            assert verify_math(row["answer"], other["solution"], relate=relate)[0] is not Outcome.CORRECT


def test_choice_gold_letters_and_their_own_words_are_correct() -> None:
    for row in rows("mcq_test.jsonl"):
        answer, choices = row["answer"], row["choices"]
        words = choices["ABCDEFGHIJ".index(answer)]
        for response in (
            answer,
            f"The answer is ({answer}).",
            f"答案：{answer}",
            f"{answer}. {words}",
            f"故选{answer}。",
        ):
            assert verify_choice(answer, response, choices=choices)[0] is Outcome.CORRECT, response
        if len({choice.strip().casefold() for choice in choices}) == len(choices):
            found = verify_choice(answer, f"The answer is {words}", choices=choices)[1]
            assert found in (answer, None), row["id"]


@pytest.mark.parametrize(
    ("name", "key", "floor"),
    [
        ("verifier_math.jsonl", "accuracy", 0.996),
        ("verifier_math.jsonl", "precision", 0.998),
        ("verifier_mcq.jsonl", "accuracy", 0.985),
        ("verifier_mcq_tricky.jsonl", "extracted_accuracy", 0.95),
        ("verifier_bbh.jsonl", "accuracy", 0.98),
        ("verifier_equiv.jsonl", "accuracy", 0.96),
    ],
)
def test_agreement_with_published_labels_does_not_fall(name: str, key: str, floor: float) -> None:
    assert calibrate(DATA / name)[key] >= floor
