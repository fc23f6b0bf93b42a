"""All sources of a configuration together: ids, splits, limits."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hrlaif.config import PromptSource, PromptsSection
from hrlaif.errors import DataError
from hrlaif.prompts import bundled, input_files, load
from hrlaif.types import Split


def _write(path: Path, *rows: dict[str, Any]) -> PromptSource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return PromptSource(path=str(path))


def _section(*sources: PromptSource, **keys: Any) -> PromptsSection:
    return PromptsSection(sources=sources, **keys)


def _many(count: int, name: str = "p") -> list[dict[str, Any]]:
    return [{"id": f"{name}{number}", "prompt": f"{name} {number}?"} for number in range(count)]


def test_sources_follow_each_other_and_the_share_is_drawn_from_all(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "a.jsonl", *_many(5, "a")), _write(tmp_path / "b.jsonl", *_many(5, "b"))
    prompts = load(_section(first, second, evaluation_share=0.4), seed=0)
    assert [prompt.id for prompt in prompts] == [f"{name}{number}" for name in "ab" for number in range(5)]
    assert Counter(prompt.split for prompt in prompts) == {Split.TRAIN: 6, Split.EVALUATION: 4}
    assert {prompt.source for prompt in prompts} == {"a.jsonl", "b.jsonl"}


def test_limits_hold_for_each_split(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.jsonl", *_many(20))
    prompts = load(_section(source, evaluation_share=0.5, train=3, evaluation=4), seed=0)
    assert Counter(prompt.split for prompt in prompts) == {Split.TRAIN: 3, Split.EVALUATION: 4}


def test_a_source_is_limited_evenly_by_category(tmp_path: Path) -> None:
    rows = [{"prompt": f"{category} {n}", "category": category} for category in "ab" for n in range(10)]
    source = _write(tmp_path / "a.jsonl", *rows).model_copy(update={"limit": 6})
    assert Counter(prompt.category for prompt in load(_section(source), seed=0)) == {"a": 3, "b": 3}


def test_a_missing_id_comes_from_file_and_content_so_it_stays_when_rows_move(tmp_path: Path) -> None:
    rows = [{"prompt": f"{number}?"} for number in range(4)]
    before = load(_section(_write(tmp_path / "my set.jsonl", *rows)), seed=0)
    after = load(_section(_write(tmp_path / "my set.jsonl", {"prompt": "new"}, *rows[::-1])), seed=0)
    ids = {prompt.question: prompt.id for prompt in before}
    assert ids.items() <= {prompt.question: prompt.id for prompt in after}.items()
    assert all(identity.startswith("my-set-") for identity in ids.values())


def test_the_same_row_twice_gets_two_ids_and_one_split(tmp_path: Path) -> None:
    rows = [{"prompt": f"{number}?"} for number in range(9)]
    prompts = load(_section(_write(tmp_path / "a.jsonl", *rows, *rows), evaluation_share=0.5), seed=0)
    assert len({prompt.id for prompt in prompts}) == 18
    assert len({(prompt.question, prompt.split) for prompt in prompts}) == 9


def test_one_id_in_two_files_is_named_with_both_places(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "a.jsonl", *_many(3)), _write(tmp_path / "b.jsonl", *_many(2))
    with pytest.raises(DataError, match="2 problem") as error:
        load(_section(first, second), seed=0)
    assert f"{tmp_path / 'b.jsonl'}:2: prompt id 'p1' is already at {tmp_path / 'a.jsonl'}:2." in str(error.value)


def test_the_shipped_set_named_twice_is_refused() -> None:
    with pytest.raises(DataError, match="is already at bundled"):
        load(_section(PromptSource(), PromptSource()), seed=0)


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(DataError, match=r"prompts\.sources is empty"):
        load(_section(), seed=0)


def test_data_without_an_evaluation_side_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    rows = [{**row, "split": "train"} for row in _many(5)]
    source = _write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(DataError, match=r"none of the 5 prompts is for evaluation: 0 of them carry no split"):
        load(_section(source), seed=0)
    reopened = source.model_copy(update={"columns": {"split": ""}})
    assert len([p for p in load(_section(reopened), seed=0) if p.split is Split.EVALUATION]) == 1
    assert len(load(_section(source, evaluation_share=0), seed=0)) == 5


def test_data_without_a_training_side_is_refused_unless_asked_for(tmp_path: Path) -> None:
    source = _write(tmp_path / "a.jsonl", *_many(5)).model_copy(update={"split": Split.EVALUATION})
    with pytest.raises(DataError, match="none of the 5 prompts is for train"):
        load(_section(source), seed=0)
    assert len(load(_section(source, evaluation_share=1), seed=0)) == 5


def test_same_seed_same_prompts_and_another_seed_others() -> None:
    section = PromptsSection(train=40, evaluation=20)
    assert load(section, seed=1) == load(section, seed=1)
    assert {prompt.id for prompt in load(section, seed=1)} != {prompt.id for prompt in load(section, seed=2)}


def test_another_seed_draws_another_evaluation_side(tmp_path: Path) -> None:
    section = _section(_write(tmp_path / "a.jsonl", *_many(40)), evaluation_share=0.5)
    sides = [{prompt.id for prompt in load(section, seed=n) if prompt.split is Split.EVALUATION} for n in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]


def test_the_shipped_sets_own_split_is_kept() -> None:
    split_of = {prompt.id: prompt.split for prompt in bundled()}
    assert {prompt.id: prompt.split for prompt in load(PromptsSection(evaluation_share=0.9), seed=3)} == split_of


def test_a_run_folders_prompts_can_be_a_source_again(tmp_path: Path) -> None:
    from hrlaif.artifacts import write_records

    prompts = load(PromptsSection(train=60, evaluation=60), seed=0)
    write_records(tmp_path / "prompts.jsonl", prompts, fingerprint="x")
    assert load(_section(PromptSource(path=str(tmp_path / "prompts.jsonl"))), seed=5) == prompts


def test_every_file_that_is_read_is_listed(tmp_path: Path) -> None:
    own = _write(tmp_path / "a.jsonl", *_many(2))
    files = input_files(_section(PromptSource(), own))
    assert files[-1] == tmp_path / "a.jsonl"
    assert "prompts.jsonl" in {file.name for file in files}
    assert "calibration_pairs.jsonl" not in {file.name for file in files}
