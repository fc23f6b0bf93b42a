"""IFEval: whether a response follows each of its prompt's instructions, strictly and leniently."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from hrlaif.benchmarks.files import Row
from hrlaif.benchmarks.instructions import CHECKS
from hrlaif.errors import DataError
from hrlaif.types import BenchmarkItem, Response

STRICT, LOOSE = "prompt_strict", "prompt_loose"
INSTRUCTION_STRICT, INSTRUCTION_LOOSE = "instruction_strict", "instruction_loose"


def instructions_of(row: Row) -> list[dict[str, Any]]:
    """A row's instructions, each `{"id", "kwargs"}`, with every check tried once so that a bad argument shows now.

    Raises:
        DataError: An id is unknown, or its arguments are not those that its check takes.
    """
    ids, given = row.value("instruction_id_list"), row.value("kwargs")
    if not isinstance(ids, list) or not isinstance(given, list) or len(ids) != len(given) or not ids:
        raise row.wrong("'instruction_id_list' and 'kwargs' must be lists of one length")
    found = []
    for name, arguments in zip(ids, given, strict=True):
        if name not in CHECKS:
            raise row.wrong(f"unknown instruction {str(name)[:60]!r}; known are the {len(CHECKS)} published ones")
        if not isinstance(arguments, Mapping):
            raise row.wrong(f"the arguments of {name} are {str(arguments)[:60]!r}, not an object")
        # Some copies of the set name every argument of any instruction in every row, empty where it is not its own.
        kept = {key: value for key, value in arguments.items() if value is not None}
        try:
            CHECKS[name]("A try.", **kept)
        except (TypeError, ValueError, AttributeError, DataError) as error:
            raise row.wrong(f"the arguments of {name} do not fit ({error})") from error
        found.append({"id": name, "kwargs": kept})
    return found


def by_instructions(item: BenchmarkItem, response: Response) -> tuple[dict[str, bool | None], dict[str, Any]]:
    """Strict: the response as it is follows all; loose: each is followed by one of eight readings of it."""
    rows = []
    readings = _readings(response.text)
    for one in item.facts["instructions"]:
        check, arguments = CHECKS[one["id"]], one["kwargs"]
        strict = bool(response.text.strip()) and check(response.text, **arguments)
        loose = any(text.strip() and check(text, **arguments) for text in readings)
        rows.append({"id": one["id"], "strict": strict, "loose": loose})
    scores: dict[str, bool | None] = {
        STRICT: all(row["strict"] for row in rows),
        LOOSE: all(row["loose"] for row in rows),
    }
    return scores, {"instructions": rows}


def _readings(text: str) -> list[str]:
    """With and without the first line, the last line, and asterisks."""
    lines = text.split("\n")
    found = []
    for first, last, has_stars in product((0, 1), (0, 1), (True, False)):
        kept = "\n".join(lines[first : len(lines) - last]).strip()
        found.append(kept if has_stars else kept.replace("*", ""))
    return found
