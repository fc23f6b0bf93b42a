"""Multiple choice: options from whatever form a source has, the right one as a letter, and the text that asks."""

from __future__ import annotations

import ast
import functools
import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrlaif.errors import DataError

LETTERS = string.ascii_uppercase


def options(values: Sequence[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices and, where the source labels them itself (`{"text": [...], "label": [...]}`), their labels.

    One value per column: several columns are one choice each; a single one is a list, JSON or Python text of a list,
    or texts separated by `|`.

    Raises:
        DataError: It is none of these, or there are more choices than letters.
    """
    found: Any = [value for value in values if value is not None]
    if len(values) == 1:
        found = _parsed(found[0]) if found else []
    labels: Any = ()
    if isinstance(found, dict):
        found, labels = found.get("text"), found.get("label", ())
    if not isinstance(found, list) or any(isinstance(choice, (list, dict)) for choice in found):
        raise DataError(f"choices are {str(found)[:60]!r}, not a list of texts.")
    if len(found) > len(LETTERS):
        raise DataError(f"{len(found)} choices are more than there are letters ({len(LETTERS)}).")
    return tuple(str(choice).strip() for choice in found), tuple(str(label) for label in labels)


def letter_of(
    reference: str | None, choices: Sequence[str], labels: Sequence[str] = (), *, is_index: bool
) -> str | None:
    """The letter of the right choice, from a letter, the source's own label, an index from 0, or the choice's text.

    `is_index`: the source has it as a number, not as a text, so it cannot be the text of a choice.

    Raises:
        DataError: The reference is none of these, or a number that could be an index or a text.
    """
    if reference is None:
        return None
    letters = LETTERS[: len(choices)]
    if reference in labels:
        return letters[labels.index(reference)]
    if (bare := reference.strip("().: ").upper()) and len(bare) == 1 and bare in letters:
        return bare
    matching = [letter for letter, choice in zip(letters, choices, strict=True) if choice == reference]
    by_text = [] if is_index else matching
    by_index = [letters[int(reference)]] if reference.isdecimal() and int(reference) < len(choices) else []
    readings = set(by_text[:1] + by_index)
    if len(readings) > 1:
        raise DataError(
            f"reference {reference!r} could be an index (choice {by_index[0]}) or the text of choice "
            f"{by_text[0]}. Write the letter."
        )
    if not readings:
        raise DataError(
            f"reference {reference!r} is none of the {len(choices)} choices. Write a letter from A to "
            f"{letters[-1]}, an index from 0 to {len(choices) - 1}, or the text of a choice."
        )
    return readings.pop()


def with_options(question: str, choices: Sequence[str], lang: str) -> str:
    """The question with its lettered options and how to answer; unchanged where it already shows them all."""
    lettered = list(zip(LETTERS, choices, strict=False))
    if all(re.search(rf"(?<!\w)\(?{letter}[.):、：]\s*{re.escape(choice)}", question) for letter, choice in lettered):
        return question
    shown = "\n".join(f"{letter}. {choice}" for letter, choice in lettered)
    return _template("zh" if lang == "zh" else "en").format(question=question, options=shown)


@functools.cache
def _template(lang: str) -> str:
    return Path(__file__).with_name(f"choice_{lang}.txt").read_text(encoding="utf-8").strip()


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip().startswith(("[", "{")):
        return [part for part in value.split("|") if part.strip()]
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError):
            continue
    return value
