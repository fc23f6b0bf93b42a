"""Labelled pairs that a judge's quality is measured on, before money is spent on it."""

from __future__ import annotations

from pathlib import Path

from hrlaif.artifacts import read_records
from hrlaif.errors import DataError
from hrlaif.types import CalibrationPair


def calibration_pairs() -> list[CalibrationPair]:
    """The shipped pairs: easy for a person, half labelled A, half won by the longer answer.

    A judge that always says A, or always takes the longer answer, is right on half of them. Categories: right against
    ornate and wrong (`correctness_ornate`), right against wrong, on and off topic, instruction followed or not,
    helpful or empty; English and Chinese.
    """
    return read_calibration(Path(__file__).with_name("data") / "calibration_pairs.jsonl")


def read_calibration(path: Path) -> list[CalibrationPair]:
    """Pairs from JSON Lines (plain or .zst), one object a line; other fields are ignored.

        {"id": "sum-1", "prompt": "2 + 2?", "response_a": "4", "response_b": "5", "label": "A"}

    `label` is "A", "B" or "tie"; `category` and `lang` are optional.

    Raises:
        DataError: The file is missing or empty, a line is not such a pair, or an id occurs twice.
    """
    pairs: dict[str, CalibrationPair] = {}
    for pair in read_records(path, CalibrationPair):
        if pair.id in pairs:
            raise DataError(f"{path}: pair id {pair.id!r} occurs twice. Rename one of them.")
        pairs[pair.id] = pair
    if not pairs:
        raise DataError(f"{path}: holds no pairs. Add lines with id, prompt, response_a, response_b and label.")
    return list(pairs.values())
