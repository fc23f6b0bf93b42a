"""Which column of a source holds which of our fields: what the user mapped, and usual names for the rest."""

from __future__ import annotations

import difflib
import string
from collections.abc import Mapping, Sequence
from typing import Any

from hrlaif.errors import DataError

USUAL_NAMES = {
    "id": ("id", "prompt_id"),
    "prompt": ("prompt", "question", "instruction", "problem", "query"),
    "messages": ("messages", "conversation", "conversations"),
    "category": ("category", "subject"),
    "task": ("task",),
    "reference": ("reference", "answer", "answerKey", "target"),
    "choices": ("choices", "options"),
    "lang": ("lang",),
    "split": ("split",),
    "hazard": ("hazard",),
    "source": ("source",),
    "response": ("response", "completion", "output"),
}
MAY_BE_SEVERAL = ("prompt", "choices")


def locate(mapping: Mapping[str, str], columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The column (or columns) that hold each field, for the fields that the source has.

    Mapped columns must exist; a nested one is written `outer.inner`. Fields that are not mapped are found by their
    usual names, whatever their case: Alpaca's `input` follows its `instruction`, and columns A, B, ... are choices.

    Raises:
        DataError: A mapped column is not there, or no column holds a prompt; the message lists the columns there are.
    """
    found = {field: named for field, name in mapping.items() if (named := _mapped(field, name, columns))}
    lowered = {column.lower(): column for column in reversed(columns)}
    for field, names in USUAL_NAMES.items():
        if field not in mapping and (usual := next((lowered[n.lower()] for n in names if n.lower() in lowered), None)):
            found[field] = (usual,)
    if "prompt" not in mapping and found.get("prompt") == ("instruction",) and "input" in columns:
        found["prompt"] = ("instruction", "input")
    if "choices" not in mapping and "choices" not in found and {"A", "B"} <= set(columns):
        letters = string.ascii_uppercase
        found["choices"] = tuple(letters[: next((n for n, letter in enumerate(letters) if letter not in columns), 26)])
    if not {"prompt", "messages"} & set(found):
        raise DataError(
            f"no column holds the prompt; the columns are {_listed(columns)}. "
            'Name it, e.g. columns = { prompt = "..." } (a CSV file needs a header line).'
        )
    return found


def value_at(values: Mapping[str, Any], column: str) -> Any:
    """The value of a column, which may be nested (`outer.inner`); None where the row has none."""
    if column in values:
        return values[column]
    outer, dot, inner = column.partition(".")
    nested = values.get(outer)
    return value_at(nested, inner) if dot and isinstance(nested, Mapping) else None


def _mapped(field: str, name: str, columns: Sequence[str]) -> tuple[str, ...]:
    if not name:
        return ()
    names = (name,) if name in columns else tuple(part.strip() for part in name.split(","))
    if len(names) > 1 and field not in MAY_BE_SEVERAL:
        raise DataError(f"columns.{field} = {name!r} names several columns; only {' and '.join(MAY_BE_SEVERAL)} may.")
    for wanted in names:
        if wanted not in columns and wanted.partition(".")[0] not in columns:
            close = difflib.get_close_matches(wanted, columns, n=1, cutoff=0.6)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataError(
                f"columns.{field}: there is no column {wanted!r}; the columns are {_listed(columns)}.{hint}"
            )
    return names


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:40]) for column in columns[:20])
    return shown + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
