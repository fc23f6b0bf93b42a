"""A budget of preference calls: dealt out evenly, counted, and the same after a crash."""

from collections import Counter
from pathlib import Path

import pytest

from hrlaif.errors import DataError, ModelError
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import (
    Basis,
    Task,
)
from label_groups import ARMS, SECTION, group, labelled, manifest, prefers_low

# --- a budget of calls ------------------------------------------------------------------------------------------------


def test_a_budget_is_dealt_out_evenly_and_what_it_leaves_out_is_counted(tmp_path: Path) -> None:
    groups = [group(f"o{k}", "ooo", task=Task.OPEN) for k in range(5)]
    judge = ScriptedModel(prefers_low, name="judge")
    path = tmp_path / "labels.jsonl"
    # 15 calls are 7 comparisons: one for each of five prompts, and a second one for two.
    section = SECTION.model_copy(update={"max_calls": 15})
    found = labelled(path, groups, "rlaif", judge, section=section, total=5)
    counted = Counter(one.prompt_id for one in found)
    assert sorted(counted.values()) == [1, 1, 1, 2, 2]
    assert len(judge.requests) == 14
    assert manifest(path)["comparisons"] == 7
    # 5 prompts of 3 pairs each.
    assert manifest(path)["left_out"] == {"pair: beyond labels.max_calls": 8}


def test_a_prompt_that_gets_no_call_is_counted_as_such(tmp_path: Path) -> None:
    groups = [group(f"o{k}", "oo", task=Task.OPEN) for k in range(3)]
    path = tmp_path / "labels.jsonl"
    found = labelled(path, groups, "rlaif", section=SECTION.model_copy(update={"max_calls": 2}), total=3)
    assert len(found) == 1
    assert manifest(path)["left_out"] == {
        "pair: beyond labels.max_calls": 2,
        "prompt: no call left for it under labels.max_calls": 2,
    }


def test_what_the_verifier_decides_needs_no_budget_and_reasoning_does(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    # 3 comparisons for 3 prompts: one each. cw costs none, ccc may be compared once, ccw has both.
    section = SECTION.model_copy(update={"max_calls": 6})
    found = labelled(path, [group("a", "cw"), group("b", "ccc"), group("c", "ccw")], "hrlaif", section=section, total=3)
    assert [(one.prompt_id, one.basis) for one in found] == [
        ("a", Basis.VERIFIER),
        ("b", Basis.REASONING),
        ("c", Basis.VERIFIER),
        ("c", Basis.VERIFIER),
        ("c", Basis.REASONING),
    ]
    assert manifest(path)["left_out"] == {"pair: beyond labels.max_calls": 2}


def test_under_a_budget_both_arms_ask_about_the_same_pairs_of_an_open_prompt(tmp_path: Path) -> None:
    kinds = ("oooo", "ccww", "oooo", "uuww")
    groups = [
        group(f"p{k}", kinds[k % 4], task=Task.OPEN if "o" in kinds[k % 4] else Task.MATH, reference="4")
        for k in range(12)
    ]
    section = SECTION.model_copy(update={"max_calls": 34})
    asked = {
        arm: [
            (one.first_id, one.second_id)
            for one in labelled(tmp_path / f"{arm}.jsonl", groups, arm, section=section, total=12)
            if one.prompt_id in {f"p{k}" for k in range(0, 12, 2)}
        ]
        for arm in ARMS
    }
    assert asked["rlaif"] == asked["hrlaif"]


def test_a_budget_without_the_number_of_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.max_calls .* `total`"):
        labelled(tmp_path / "l.jsonl", [group("a", "cw")], "rlaif", section=SECTION.model_copy(update={"max_calls": 9}))


@pytest.mark.parametrize("options", [{"max_calls": 17}, {"max_calls": 17, "ranking": True}])
def test_a_run_that_broke_off_deals_and_counts_as_if_it_had_not(tmp_path: Path, options: dict[str, object]) -> None:
    groups = [group(f"o{k}", "oooo", task=Task.OPEN) for k in range(6)]
    section = SECTION.model_copy(update=options)
    whole, path = tmp_path / "whole.jsonl", tmp_path / "labels.jsonl"
    labelled(whole, groups, "rlaif", section=section, total=6)

    def breaks_at_o4(request: ChatRequest) -> ChatReply:
        if "Question o4" in request.messages[0].content:
            raise ModelError("the endpoint is gone")
        return prefers_low(request)

    with pytest.raises(ModelError, match="gone"):
        labelled(path, groups, "rlaif", ScriptedModel(breaks_at_o4, name="judge"), section=section, window=1, total=6)
    second = ScriptedModel(prefers_low, name="judge")
    labelled(path, iter(groups), "rlaif", second, section=section, total=6)
    assert path.read_bytes() == whole.read_bytes()
    assert manifest(path) == manifest(whole)
    assert manifest(path)["comparisons"] == 8
    assert {line for one in second.requests for line in one.messages[0].content.splitlines() if "Question" in line} <= {
        "Question o4",
        "Question o5",
    }
