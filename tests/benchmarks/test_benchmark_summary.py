"""Shares, intervals and paired differences of benchmarks, worked out by hand."""

from __future__ import annotations

import pytest

from hrlaif.benchmarks import summarise
from hrlaif.metrics import clustered_share, wilson
from hrlaif.types import BenchmarkResult


def rows(benchmark: str, answers: list[bool | None], category: str = "x") -> list[BenchmarkResult]:
    return [
        BenchmarkResult(benchmark, "gsm8k", "generative", f"{benchmark}/{n}", category, None, {"accuracy": answer})
        for n, answer in enumerate(answers)
    ]


def test_each_contestant_has_a_share_with_its_wilson_interval_and_each_arm_a_difference() -> None:
    start, arm = rows("g", [True, False, False, False]), rows("g", [True, True, True, False])
    found = summarise({"start": start, "rlaif": arm})["g"]
    mine = found["metrics"]["rlaif"]["all"]["accuracy"]
    expected = wilson(3, 4, name="accuracy")
    assert (mine["value"], mine["low"], mine["high"], mine["n"]) == (0.75, expected.low, expected.high, 4)
    difference = found["differences"]["rlaif"]["accuracy"]
    # Two items that only the arm has, none that only the start has: 2/4, and p = 2 * 0.5^2.
    assert (difference["value"], difference["only_first"], difference["only_second"]) == (0.5, 2, 0)
    assert difference["p"] == pytest.approx(0.5)
    assert found["measures"] == {"accuracy": {"title": "accuracy", "more_is_better": True}}


def test_items_that_nobody_could_say_are_in_no_share_and_counted() -> None:
    found = summarise({"start": rows("g", [True, None, False]), "rlaif": rows("g", [True, True, True])})["g"]
    assert found["metrics"]["start"]["all"]["accuracy"]["n"] == 2
    assert found["open"] == {"start": 1, "rlaif": 0}
    assert found["differences"]["rlaif"]["accuracy"]["n"] == 2


def test_benchmarks_stay_apart_and_categories_stand_beside_the_whole() -> None:
    one = [*rows("g", [True], "easy"), *(row for row in rows("g", [False, True], "hard")[1:])]
    found = summarise({"start": [*one, *rows("h", [False])]})
    assert {name: values["items"] for name, values in found.items()} == {"g": 2, "h": 1}
    assert list(found["g"]["metrics"]["start"]) == ["all", "easy", "hard"]
    assert list(found["h"]["metrics"]["start"]) == ["all"]


def test_instructions_are_pooled_over_prompts_with_an_interval_of_prompts_that_stand_or_fall_whole() -> None:
    followed = ([True, True, True], [False])
    made = [
        BenchmarkResult(
            "i",
            "ifeval",
            "generative",
            f"i/{n}",
            "ifeval",
            None,
            {"prompt_strict": all(one), "prompt_loose": all(one)},
            {"instructions": [{"id": "x", "strict": value, "loose": value} for value in one]},
        )
        for n, one in enumerate(followed)
    ]
    metric = summarise({"start": made})["i"]["metrics"]["start"]["all"]["instruction_strict"]
    # 3 of 4 instructions, in 2 prompts.
    assert (metric["value"], metric["n"]) == (0.75, 2)
    assert metric["low"] == pytest.approx(clustered_share([(3, 3), (0, 1)], name="").low)


def test_without_results_there_is_nothing() -> None:
    assert summarise({}) == {}
