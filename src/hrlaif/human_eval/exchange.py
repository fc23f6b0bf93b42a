"""Votes as files: for evaluation elsewhere, for a judge's calibration, and as tasks for other annotation tools."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hrlaif.artifacts import encode, write_atomic
from hrlaif.errors import ConfigError
from hrlaif.human_eval.dealing import Dealable, place
from hrlaif.human_eval.items import named
from hrlaif.human_eval.outcome import flat, outcomes_of, raters
from hrlaif.human_eval.store import Study
from hrlaif.types import CalibrationPair, Verdict

IMPORTS = ("argilla", "label-studio")
_LABELS = {Verdict.FIRST: "A", Verdict.SECOND: "B", Verdict.TIE: "tie"}
_NOBODY = 0
"""The rater whose sides an exported task shows: other tools show one order to all."""


def write_votes(study: Study, path: Path, kind: str) -> int:
    """Write the study as `kind` and return the number of rows.

    - `votes`: one row per rater and pair, with the rater's quality beside it; CSV where the name ends in .csv.
    - `labels`: one Label per pair, as a judge's labels are written.
    - `pairs`: the pairs with their verdict, for `hrlaif calibrate judge`.
    - `argilla`, `label-studio`: the pairs as tasks to import there; nothing in them names an arm.

    Raises:
        ConfigError: There is no such kind.
    """
    if kind not in FORMATS:
        raise ConfigError(f"--as: {kind!r} is none of {', '.join(FORMATS)}.")
    return FORMATS[kind](study, path)


def _write_votes(study: Study, path: Path) -> int:
    votes = study.votes()
    quality = {one["rater"]: one for one in raters(votes)}
    if path.suffix != ".csv":
        rows = [{**json.loads(encode(vote)), "rater_quality": quality[vote.rater]} for vote in votes]
        return _write_lines(path, (json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") for row in rows))
    out = io.StringIO()
    table = [
        {
            **flat(vote),
            "rater_checks_right": quality[vote.rater].get("checks_right", {}).get("value", ""),
            "rater_flags": "; ".join(quality[vote.rater]["flags"]),
        }
        for vote in votes
    ]
    writer = csv.DictWriter(out, list(table[0]) if table else ["id"])
    writer.writeheader()
    # A spreadsheet would compute a cell that begins like a formula, and names are free text.
    writer.writerows({key: _inert(value) for key, value in row.items()} for row in table)
    write_atomic(path, out.getvalue().encode("utf-8", "replace"))
    return len(table)


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _write_labels(study: Study, path: Path) -> int:
    return _write_lines(path, map(encode, outcomes_of(study).labels))


def _write_pairs(study: Study, path: Path) -> int:
    items = {
        (named(one.first_arm, one.first), named(one.second_arm, one.second)): one for one in study.items().values()
    }
    rows = []
    for label in outcomes_of(study).labels:
        item = items.get((label.first_id, label.second_id))
        if item is not None and label.verdict in _LABELS:
            pair = CalibrationPair(
                f"{label.first_id} {label.second_id}",
                item.prompt.question,
                item.first.text,
                item.second.text,
                _LABELS[label.verdict],  # type: ignore[arg-type]
                item.prompt.category,
                item.prompt.lang,
                "human",
            )
            rows.append(encode(pair))
    return _write_lines(path, rows)


def _write_argilla(study: Study, path: Path) -> int:
    rows = [{"id": str(task.pop("item")), "fields": task} for task in _tasks(study)]
    write_atomic(path, json.dumps(rows, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    return len(rows)


def _write_label_studio(study: Study, path: Path) -> int:
    rows = [{"data": task} for task in _tasks(study)]
    write_atomic(path, json.dumps(rows, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
    return len(rows)


def _tasks(study: Study) -> Iterable[dict[str, Any]]:
    for number, item in study.items().items():
        texts = [item.first.text, item.second.text]
        if place(_NOBODY, Dealable(number), seed=study.seed).is_swapped:
            texts.reverse()
        turns = [asdict(turn) for turn in item.prompt.messages]
        request = turns[0]["content"] if len(turns) == 1 else "\n\n".join(f"{t['role']}: {t['content']}" for t in turns)
        yield {"item": number, "request": request, "response_a": texts[0], "response_b": texts[1]}


def _write_lines(path: Path, lines: Iterable[bytes]) -> int:
    kept = list(lines)
    write_atomic(path, b"".join(line + b"\n" for line in kept))
    return len(kept)


FORMATS: dict[str, Callable[[Study, Path], int]] = {
    "votes": _write_votes,
    "labels": _write_labels,
    "pairs": _write_pairs,
    "argilla": _write_argilla,
    "label-studio": _write_label_studio,
}
