"""What a contestant scores: gold answers all, wrong ones nothing; resumed, nothing is asked twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrlaif.artifacts import read_manifest, read_records
from hrlaif.benchmarks import Asking, measure
from hrlaif.errors import ModelError
from hrlaif.models.base import ChatModel, ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import BenchmarkItem, BenchmarkResult, Finish

Items = Callable[..., list[BenchmarkItem]]
GENERATIVE = ("gsm8k", "math", "mmlu", "cmmlu", "arc", "ifeval", "humaneval")


def nobody() -> ChatModel:
    raise AssertionError("no judge is needed")


def results(items: list[BenchmarkItem], sampler: Any, path: Path, judge: Any = nobody) -> list[BenchmarkResult]:
    asking = Asking(temperature=0.0, top_p=1.0, seed=0, block=2)
    rows = measure(
        items, sampler=sampler, judge=judge, on_tasks=lambda _: [], asking=asking, path=path, fingerprint="f"
    )
    found = list(read_records(path, BenchmarkResult))
    assert rows == len(found) == len(items)
    return found


def share(rows: list[BenchmarkResult]) -> float:
    said = [answer for row in rows for answer in row.scores.values()]
    return sum(map(bool, said)) / len(said)


@pytest.mark.parametrize("kind", GENERATIVE)
def test_gold_answers_score_all_and_wrong_ones_nothing(
    kind: str, items_of: Items, says: Any, gold: dict[str, str], wrong: dict[str, str], tmp_path: Path
) -> None:
    items = items_of(kind, mode="generative")
    assert share(results(items, says(gold), tmp_path / "gold.jsonl")) == 1
    assert share(results(items, says(wrong), tmp_path / "wrong.jsonl")) == 0


@pytest.mark.parametrize("kind", ["mmlu", "cmmlu", "arc", "truthfulqa"])
def test_the_likeliest_option_counts(kind: str, items_of: Items, says: Any, tmp_path: Path) -> None:
    items = items_of(kind)
    assert {item.mode for item in items} == {"loglikelihood"}
    for item in items:
        right = item.continuations["ABCD".index(str(item.prompt.reference))]
        for is_likely, expected in ((True, 1.0), (False, 0.0)):
            # -1 or -99 nats per character: too far apart for an option's length to matter.
            sampler = says(
                {},
                lambda text, right=right, likely=is_likely: -len(text) * (1.0 if (text == right) == likely else 99.0),
            )
            path = tmp_path / f"{item.prompt.id.replace('/', '-')}{is_likely}.jsonl"
            assert share(results([item], sampler, path)) == expected


def test_sum_and_length_normalised_are_two_readings_of_the_same_log_likelihoods(
    items_of: Items, says: Any, tmp_path: Path
) -> None:
    item = items_of("arc")[1]
    # iron -4 and water -4.5 nats: the sum says iron; per character -1 and -0.9, which says water.
    logprobs = {"iron": -4.0, "water": -4.5, "salt": -8.0}
    (row,) = results([item], says({}, logprobs.__getitem__), tmp_path / "arc.jsonl")
    assert row.scores == {"accuracy": False, "accuracy_length_normalised": True}
    assert row.evidence["logprobs_nats"] == {"A": -4.0, "B": -4.5, "C": -8.0}


def test_an_answer_without_a_final_option_is_not_correct_and_says_so(
    items_of: Items, says: Any, tmp_path: Path
) -> None:
    item = items_of("mmlu", mode="generative")[0]
    (row,) = results([item], says({"mmlu/1": "I cannot tell."}), tmp_path / "m.jsonl")
    assert row.scores == {"accuracy": False}
    assert row.evidence["outcome"] == "unreadable"


def refusing(request: ChatRequest) -> ChatReply:
    """A judge that reads NO as a refusal, and a MEAN sentence as hateful."""
    text = request.messages[-1].content
    is_refusal_question = "What does the assistant do?" in text
    letter = ("C" if "NO" in text else "A") if is_refusal_question else ("A" if "MEAN" in text else "B")
    return ChatReply(letter, Finish.STOP, "scripted", ({letter: math.log(0.9), "Z": math.log(0.1)},))


def test_refusals_are_counted_on_safe_prompts_and_compliance_on_unsafe_ones(
    items_of: Items, says: Any, tmp_path: Path
) -> None:
    items = items_of("xstest")
    judge = ScriptedModel(refusing)
    refuses = says({"xstest/1": "NO, not me, thank you.", "xstest/2": "NO, not me, thank you."})
    helps = says({"xstest/1": "Use the kill command.", "xstest/2": "Use the kill command."})
    one, other = (
        results(items, sampler, tmp_path / f"{number}.jsonl", lambda: judge)
        for number, sampler in enumerate((refuses, helps))
    )
    assert [row.scores for row in one] == [
        {"over_refusal": True, "over_refusal_full": True},
        {"compliance_unsafe": False},
    ]
    assert [row.scores for row in other] == [
        {"over_refusal": False, "over_refusal_full": False},
        {"compliance_unsafe": True},
    ]


def test_hateful_continuations_are_counted_apart_after_hateful_and_neutral_prompts(
    items_of: Items, says: Any, tmp_path: Path
) -> None:
    items = items_of("toxigen")
    sampler = says({"toxigen/1": "- MEAN words about them again", "toxigen/2": "- they grow roses"})
    rows = results(items, sampler, tmp_path / "t.jsonl", lambda: ScriptedModel(refusing))
    assert [row.scores for row in rows] == [{"toxic_after_hateful": True}, {"toxic_after_neutral": False}]
    assert [row.category for row in rows] == ["gardeners", "gardeners"]


def test_what_the_judge_cannot_say_is_neither_yes_nor_no(items_of: Items, says: Any, tmp_path: Path) -> None:
    undecided = ScriptedModel(lambda request: "what?")
    rows = results(
        items_of("toxigen"),
        says({"toxigen/1": "one of them", "toxigen/2": "two of them"}),
        tmp_path / "t.jsonl",
        lambda: undecided,
    )
    assert [row.scores for row in rows] == [{"toxic_after_hateful": None}, {"toxic_after_neutral": None}]


def test_everyone_is_asked_with_the_same_decoding_and_the_benchmarks_own_length(
    items_of: Items, says: Any, tmp_path: Path
) -> None:
    sampler = says({})
    results(items_of("gsm8k", max_tokens=77), sampler, tmp_path / "g.jsonl")
    assert {(one.temperature, one.top_p, one.max_tokens) for one in sampler.decodings} == {(0.0, 1.0, 77)}


def test_a_crashed_attempt_goes_on_after_its_last_block(
    items_of: Items, says: Any, gold: dict[str, str], tmp_path: Path
) -> None:
    items = items_of("gsm8k", "ifeval", "mmlu", mode="generative")

    class Dies(says):  # type: ignore[misc]
        def sample(self, requests: Any, decoding: Any) -> Any:
            for response in super().sample(requests, decoding):
                if response.prompt_id.startswith("mmlu"):
                    raise KeyboardInterrupt
                yield response

    dies, goes_on, whole = Dies(gold), says(gold), says(gold)
    with pytest.raises(KeyboardInterrupt):
        results(items, dies, tmp_path / "r.jsonl")
    resumed = results(items, goes_on, tmp_path / "r.jsonl")
    assert set(goes_on.asked) == {"mmlu/1", "mmlu/2"}
    assert resumed == results(items, whole, tmp_path / "w.jsonl")
    manifest = read_manifest(tmp_path / "r.jsonl")
    assert manifest is not None
    assert manifest["benchmarks"] == {"gsm8k": 2, "mmlu": 2, "ifeval": 1}


def test_a_model_without_log_likelihoods_is_told_of_the_other_mode(items_of: Items, says: Any, tmp_path: Path) -> None:
    class Silent:
        name, sample = "silent", says({}).sample

    with pytest.raises(ModelError, match="mode = 'generative'"):
        results(items_of("mmlu"), Silent(), tmp_path / "m.jsonl")
