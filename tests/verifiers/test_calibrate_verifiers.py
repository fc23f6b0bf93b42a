import json
from pathlib import Path

import pytest

from hrlaif.errors import DataError
from hrlaif.verifiers import calibrate

ROWS = [
    {"task": "math", "reference": "12", "response": "The answer is 12.", "is_correct": True},
    {"task": "math", "reference": "12", "response": "The answer is 13.", "is_correct": False},
    {"task": "math", "reference": "12", "response": "I cannot say.", "is_correct": True},  # counts as a miss
    {"task": "equiv", "reference": r"\frac{1}{2}", "response": "0.5", "is_correct": False},  # a false CORRECT
    {
        "task": "mcq",
        "reference": "B",
        "choices": ["x", "y"],
        "response": "(B)",
        "is_correct": True,
        "extracted_answer": "B",
    },
    {
        "task": "mcq",
        "reference": "B",
        "choices": ["x", "y"],
        "response": "Hm.",
        "is_correct": False,
        "extracted_answer": None,
    },
    {
        "task": "mcq",
        "reference": "B",
        "choices": ["x", "y"],
        "response": "(A)",
        "is_correct": False,
        "extracted_answer": "B",
    },
    {"task": "short", "question": "Is it?", "reference": "yes", "response": "Yes.", "is_correct": True},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    lines = [json.dumps({"id": str(number), "kind": "verify", "lang": "en", **row}) for number, row in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rates_count_unreadable_as_not_correct_and_are_given_by_task(tmp_path: Path) -> None:
    result = calibrate(write(tmp_path / "rows.jsonl", ROWS))
    assert result.pop("seconds") >= 0
    by_task = result.pop("by_task")
    # 8 rows; wrong are the refusal (row 2) and the equiv row: 6 / 8. CORRECT is said 4 times, 3 rightly; 4 are correct.
    assert result == {
        "rows": 8,
        "accuracy": 0.75,
        "precision": 0.75,
        "recall": 0.75,
        "unreadable": 2,
        "extracted_accuracy": 2 / 3,
    }
    assert list(by_task) == ["equiv", "math", "mcq", "short"]
    assert by_task["math"] == {"rows": 3, "accuracy": 2 / 3, "precision": 1.0, "recall": 0.5, "unreadable": 1}
    assert by_task["equiv"]["recall"] is None


def test_without_extracted_answers_there_is_no_extraction_rate(tmp_path: Path) -> None:
    assert calibrate(write(tmp_path / "rows.jsonl", ROWS[:2]))["extracted_accuracy"] is None


def test_a_row_of_another_form_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS[0], {**ROWS[1], "task": "essay"}])
    with pytest.raises(DataError, match=r"rows\.jsonl:2"):
        calibrate(path)
    with pytest.raises(DataError, match="no rows"):
        calibrate(write(tmp_path / "empty.jsonl", []))
