"""Tests of demonstrations: the same sources and columns as prompts, and a response."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrlaif.config import SftSection, parse
from hrlaif.errors import ConfigError, DataError
from hrlaif.prompts import demonstrations
from hrlaif.types import Message, Prompt, Split, Task


def section(path: Path, **source: object) -> SftSection:
    values = {"sft": {"held_out": 0.0, "sources": [{"path": str(path), **source}]}}
    return parse(values, where="test").sft


def write(folder: Path, *rows: object) -> Path:
    path = folder / "shown.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_response_comes_from_its_column_or_from_the_end_of_the_conversation(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]
    shared = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": " Hi you. "}]
    path = write(
        tmp_path,
        {"prompt": "2 + 2?", "response": "4"},
        {"messages": turns},
        {"messages": shared},
    )
    found = demonstrations(section(path), seed=0)
    assert [one.response for one in found] == ["4", "Good day.", "Hi you."]
    assert [one.prompt.question for one in found] == ["2 + 2?", "Hello", "Hi"]
    assert all(one.prompt.split is Split.TRAIN for one in found)


def test_columns_are_mapped_as_for_prompts(tmp_path: Path) -> None:
    path = tmp_path / "shown.csv"
    path.write_text("Frage,Antwort\nWie hoch?,Acht Meter.\n")
    found = demonstrations(section(path, columns={"prompt": "Frage", "response": "Antwort"}), seed=0)
    assert [(one.prompt.question, one.response) for one in found] == [("Wie hoch?", "Acht Meter.")]


def test_alpacas_columns_need_no_mapping(tmp_path: Path) -> None:
    path = write(tmp_path, {"instruction": "Translate", "input": "Hund", "output": "dog"})
    (found,) = demonstrations(section(path), seed=0)
    assert (found.prompt.question, found.response) == ("Translate\n\nHund", "dog")


def test_missing_responses_are_listed_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "a"}, {"prompt": "b", "response": "x"}, {"prompt": "c", "response": {"x": 1}})
    with pytest.raises(DataError, match=r"(?s)2 problem.*:1: no response to learn.*:3: response is a dict"):
        demonstrations(section(path), seed=0)


def test_evaluation_prompts_of_the_run_are_kept_out(tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "What is 2 + 2?", "response": "4"}, {"prompt": "other", "response": "x"})
    kept_out = Prompt("e", (Message("user", "what is 2 + 2"),), "c", Task.OPEN, split=Split.EVALUATION)
    with pytest.warns(UserWarning, match=r"1 demonstration\(s\) left out"):
        found = demonstrations(section(path), seed=0, keep_out=[kept_out])
    assert [one.response for one in found] == ["x"]


def test_a_share_is_held_out_by_text_and_rows_of_evaluation_splits_too(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n % 20}", "response": f"{n}"} for n in range(40)]
    path = write(tmp_path, *rows, {"prompt": "tested", "response": "x", "split": "test"})
    found = demonstrations(section(path).model_copy(update={"held_out": 0.25}), seed=0)
    held = {one.prompt.question for one in found if one.prompt.split is Split.EVALUATION}
    assert held.isdisjoint(one.prompt.question for one in found if one.prompt.split is Split.TRAIN)
    assert "tested" in held
    assert len(held) == 6


def test_the_bundled_prompts_cannot_be_learnt_from_and_prompts_map_no_response() -> None:
    with pytest.raises(ConfigError, match=r"sft\.sources\.0\.path: the bundled prompts come without responses"):
        section(Path("bundled"))
    with pytest.raises(ConfigError, match="unknown field 'response'"):
        parse({"prompts": {"sources": [{"columns": {"response": "x"}}]}}, where="test")
