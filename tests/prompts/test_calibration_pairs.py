"""Labelled pairs: the shipped ones are balanced, a user's are checked."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from hrlaif.errors import DataError
from hrlaif.prompts import calibration_pairs, read_calibration
from hrlaif.types import CalibrationPair

PAIRS = calibration_pairs()
ROW: dict[str, object] = {"id": "1", "prompt": "2 + 2?", "response_a": "4", "response_b": "5", "label": "A"}


def _write(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_always_saying_a_is_right_on_half_of_the_shipped_pairs() -> None:
    labels = Counter(pair.label for pair in PAIRS)
    assert len(PAIRS) >= 60
    assert labels["A"] == labels["B"] == len(PAIRS) // 2


def test_taking_the_longer_answer_is_right_on_half_of_the_shipped_pairs() -> None:
    longer_wins = [(len(pair.response_a) > len(pair.response_b)) == (pair.label == "A") for pair in PAIRS]
    assert sum(longer_wins) == len(PAIRS) / 2


def test_the_ornate_answers_are_the_wrong_ones_and_the_other_categories_are_mixed() -> None:
    shorter_wins = defaultdict(list)
    for pair in PAIRS:
        shorter_wins[pair.category].append((len(pair.response_a) < len(pair.response_b)) == (pair.label == "A"))
    assert all(shorter_wins["correctness_ornate"])
    assert len(shorter_wins["correctness_ornate"]) >= 12
    for category in ("topic", "instruction", "helpfulness"):
        assert 0.25 < sum(shorter_wins[category]) / len(shorter_wins[category]) < 0.75


def test_some_shipped_pairs_are_chinese_and_all_are_whole() -> None:
    assert sum(pair.lang == "zh" for pair in PAIRS) >= 10
    assert all(pair.prompt and pair.response_a and pair.response_b and pair.source == "hrlaif" for pair in PAIRS)


def test_a_users_file_may_hold_more_fields_ties_and_empty_answers(tmp_path: Path) -> None:
    path = _write(tmp_path, {**ROW, "label": "tie", "response_b": "", "kind": "pair", "annotators": 3})
    assert read_calibration(path) == [CalibrationPair("1", "2 + 2?", "4", "", "tie")]


def test_a_wrong_label_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: .*label: Input should be 'A', 'B' or 'tie' \(seen: 'C'\)"):
        read_calibration(_write(tmp_path, ROW, {**ROW, "id": "2", "label": "C"}))


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pair id '1' occurs twice"):
        read_calibration(_write(tmp_path, ROW, ROW))


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pairs"):
        read_calibration(_write(tmp_path))


@pytest.mark.parametrize("name", ["judge_pairs.jsonl", "judge_pairs_judgebench.jsonl"])
def test_public_judge_pairs_are_read(name: str) -> None:
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data beside this repository")
    pairs = read_calibration(path)
    assert len(pairs) == len(path.read_text(encoding="utf-8").splitlines())
