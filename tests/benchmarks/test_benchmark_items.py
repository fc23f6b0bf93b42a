"""Published formats become items, and a malformed row is one clear message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrlaif.benchmarks import load
from hrlaif.config import EvaluationSection, parse
from hrlaif.errors import ConfigError, DataError
from hrlaif.prompts import choices, sources
from hrlaif.types import BenchmarkItem

Items = Callable[..., list[BenchmarkItem]]


def read(path: Path, kind: str, **keys: Any) -> list[BenchmarkItem]:
    one = {"name": "own", "kind": kind, "path": str(path), **keys}
    section = EvaluationSection.model_validate({"benchmarks": [one]})
    return load(section, read_table=sources.read, ask=choices.with_options, of_tasks=lambda _: [])


def test_every_kind_is_read_from_its_published_format(items_of: Items) -> None:
    found = {item.prompt.id: item for item in items_of("gsm8k", "math", "mmlu", "cmmlu", "arc", "truthfulqa")}
    references = {name: item.prompt.reference for name, item in found.items() if item.kind != "truthfulqa"}
    assert references == {
        "gsm8k/1": "7",
        "gsm8k/2": "1,200",
        "math/1": r"\frac{1}{2}",
        "mmlu/1": "C",
        "mmlu/2": "A",
        "cmmlu/1": "B",
        "arc/1": "B",
        "arc/2": "B",
    }
    assert {found[name].prompt.category for name in ("math/1", "mmlu/1", "cmmlu/1")} == {
        "Algebra",
        "astronomy",
        "agronomy",
    }


def test_of_a_folder_only_the_test_split_is_asked(items_of: Items) -> None:
    assert not any("Not to be asked" in item.prompt.question for item in items_of("mmlu"))


def test_mmlu_compares_letters_under_its_options_and_arc_compares_the_options_texts(items_of: Items) -> None:
    mmlu, arc = items_of("mmlu")[0], items_of("arc")[1]
    assert mmlu.continuations == ("A", "B", "C", "D")
    assert "C. Venus" in mmlu.prompt.question
    assert arc.continuations == ("iron", "water", "salt")
    assert arc.prompt.question == "Which of these is a liquid at room temperature?"


def test_the_right_option_of_truthfulqa_does_not_stand_first_in_every_row(tmp_path: Path) -> None:
    rows = [{"question": f"Question {n}?", "mc1_targets": {"right": 1, "wrong": 0, "no": 0}} for n in range(20)]
    (tmp_path / "mc.json").write_text(json.dumps(rows))
    items = read(tmp_path / "mc.json", "truthfulqa")
    assert len({item.prompt.reference for item in items}) == 3
    assert all(item.continuations["ABC".index(str(item.prompt.reference))] == "right" for item in items)


def test_both_sides_of_toxigen_and_xstest_are_told_apart(items_of: Items) -> None:
    toxigen, xstest = items_of("toxigen"), items_of("xstest")
    assert [item.facts["side"] for item in toxigen] == ["hate", "neutral"]
    assert "- a mean line\n- another mean line\n-" in toxigen[0].prompt.question
    assert [item.facts["label"] for item in xstest] == ["safe", "unsafe"]


def test_a_limit_takes_rows_evenly(tmp_path: Path) -> None:
    rows = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(10)]
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [item.prompt.reference for item in read(tmp_path / "g.jsonl", "gsm8k", limit=3)] == ["1", "4", "7"]


MALFORMED = {
    "gsm8k": ({"question": "1 + 1?", "answer": "two"}, "####"),
    "math": ({"problem": "1 + 1?", "solution": "It is 2."}, "boxed"),
    "arc": ({"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"}, "options"),
    "cmmlu": ({"Question": "哪个？", "A": "甲", "B": "乙", "C": "丙", "Answer": "A"}, "options"),
    "truthfulqa": ({"question": "Which?", "mc1_targets": {"a": 0, "b": 0}}, "exactly one"),
    "ifeval": ({"prompt": "x", "instruction_id_list": ["keywords:rhyme"], "kwargs": [{}]}, "keywords:rhyme"),
    "humaneval": ({"prompt": "def f():\n", "test": "x", "entry_point": "f("}, "entry_point"),
    "xstest": ({"prompt": "x", "type": "homonyms", "label": "maybe"}, "maybe"),
    "toxigen": ({"prompt": "x", "group": "gardeners", "prompt_label": 2}, "prompt_label"),
    "mmlu": ({"question": "Which?", "choices": ["a", "b"], "answer": 2}, "options"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_row_is_one_message_with_file_and_line(kind: str, tmp_path: Path) -> None:
    row, says = MALFORMED[kind]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=f"{path.name}:1: .*{says}"):
        read(path, kind)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("length_constraints:number_words", {"num_words": 3, "relation": "about"}),
        ("length_constraints:number_words", {"num_words": 3}),
        ("keywords:existence", {"keyword": "x"}),
    ],
)
def test_arguments_that_an_instruction_does_not_take_are_noticed_at_once(
    name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    row = {"prompt": "x", "instruction_id_list": [name], "kwargs": [arguments]}
    (tmp_path / "i.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=rf"i\.jsonl:1: .*{name}"):
        read(tmp_path / "i.jsonl", "ifeval")


def test_mmlu_with_a_cell_too_few_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "law_test.csv").write_text("Which?,a,b,c,d,A\nWhich?,a,b,c,A\n")
    with pytest.raises(DataError, match=r"law_test\.csv:2: 5 cells"):
        read(tmp_path / "law_test.csv", "mmlu")


def test_line_breaks_in_a_cell_of_mmlu_stay(tmp_path: Path) -> None:
    (tmp_path / "history_test.csv").write_text('"It says:\n""Go\u2028on.""\nWhy?","a\nb",c,d,e,B\n', "utf-8")
    (item,) = read(tmp_path, "mmlu")
    assert 'It says:\n"Go\u2028on."\nWhy?' in item.prompt.question
    assert item.prompt.choices == ("a\nb", "c", "d", "e")


def test_a_quotation_mark_in_mmlu_that_nothing_closes_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "law_test.csv").write_text('"Which?,a,b,c,d,A\n' + "Which?,a,b,c,d,A\n" * 20_000)
    with pytest.raises(DataError, match=r"law_test\.csv:\d+: not CSV \("):
        read(tmp_path, "mmlu")


def test_a_header_of_mmlu_may_be_quoted(tmp_path: Path) -> None:
    (tmp_path / "law_test.csv").write_text('"question","A","B","C","D","answer"\n"Which?","a","b","c","d","B"\n')
    (item,) = read(tmp_path, "mmlu")
    assert item.prompt.reference == "B"


def test_a_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'own': .*no such file or folder"):
        read(tmp_path / "none.jsonl", "gsm8k")


def test_a_configuration_says_what_does_not_fit() -> None:
    one = {"name": "g", "kind": "gsm8k", "path": "g.jsonl"}
    with pytest.raises(ConfigError, match="no options to compare"):
        parse({"evaluation": {"benchmarks": [one | {"mode": "loglikelihood"}]}}, where="x")
    with pytest.raises(ConfigError, match="two benchmarks are called 'g'"):
        parse({"evaluation": {"benchmarks": [one, one]}}, where="x")
    with pytest.raises(ConfigError, match=r"evaluation\.benchmarks\.0\.kind"):
        parse({"evaluation": {"benchmarks": [one | {"kind": "gsm9k"}]}}, where="x")
