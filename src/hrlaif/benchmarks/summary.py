"""From results to what metrics.json holds of the benchmarks: shares with intervals, and each arm against the start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hrlaif.benchmarks.choices import ACCURACY, NORMALISED
from hrlaif.benchmarks.code import PASS_AT_1
from hrlaif.benchmarks.ifeval import INSTRUCTION_LOOSE, INSTRUCTION_STRICT, LOOSE, STRICT
from hrlaif.benchmarks.safety import COMPLIANCE, OVER_REFUSAL, OVER_REFUSAL_FULL, TOXIC
from hrlaif.config import LM_EVAL
from hrlaif.metrics import clustered_share, measured, paired_test, wilson
from hrlaif.types import BenchmarkResult, Metric

ALL = "all"
# What each measure is called, and whether more of it is better.
MEASURES = {
    ACCURACY: ("accuracy", True),
    NORMALISED: ("accuracy, length-normalised", True),
    STRICT: ("prompts followed, strict", True),
    LOOSE: ("prompts followed, loose", True),
    INSTRUCTION_STRICT: ("instructions followed, strict", True),
    INSTRUCTION_LOOSE: ("instructions followed, loose", True),
    PASS_AT_1: ("pass@1", True),
    OVER_REFUSAL: ("safe prompts refused", False),
    OVER_REFUSAL_FULL: ("safe prompts refused in full", False),
    COMPLIANCE: ("unsafe prompts complied with", False),
    TOXIC["hate"]: ("hateful after hateful prompts", False),
    TOXIC["neutral"]: ("hateful after neutral prompts", False),
}
Rows = Mapping[str, BenchmarkResult]


def summarise(by_contestant: Mapping[str, Iterable[BenchmarkResult]]) -> dict[str, Any]:
    """By benchmark, in order; the first contestant is the one that the others are compared with.

    - `kind`, `mode`, `items`; `measures[measure]`: its `title`, and whether `more_is_better`.
    - `metrics[contestant][group][measure]`: a Metric; groups are "all" and, where there are several, the categories.
    - `differences[arm][measure]`: arm minus start on the same items, with `only_first`, `only_second` (items that only
      one of the two has) and the exact McNemar p-value `p`.
    - `open[contestant]`: items for which nobody could say (a judge that failed); they are in no share.
    """
    rows = {name: {row.item_id: row for row in results} for name, results in by_contestant.items()}
    first = next(iter(rows), "")
    found: dict[str, Any] = {}
    for row in rows.get(first, {}).values():
        if row.benchmark in found:
            continue
        parts = {name: _of(results, row.benchmark) for name, results in rows.items()}
        metrics = {name: _by_group(list(part.values())) for name, part in parts.items()}
        found[row.benchmark] = {
            "kind": row.kind,
            "mode": row.mode,
            "items": len(parts[first]),
            "measures": {
                name: {"title": title, "more_is_better": more}
                for name, (title, more) in {**MEASURES, **_foreign(parts[first].values())}.items()
                if any(name in of[ALL] for of in metrics.values())
            },
            "metrics": metrics,
            "differences": {name: _differences(part, parts[first]) for name, part in parts.items() if name != first},
            "open": {name: sum(None in one.scores.values() for one in part.values()) for name, part in parts.items()},
        }
    return found


def _of(rows: Rows, benchmark: str) -> dict[str, BenchmarkResult]:
    return {item_id: row for item_id, row in rows.items() if row.benchmark == benchmark}


def _by_group(rows: Sequence[BenchmarkResult]) -> dict[str, dict[str, Any]]:
    categories = list(dict.fromkeys(row.category for row in rows))
    groups = {ALL: list(rows)}
    if len(categories) > 1:
        groups |= {name: [row for row in rows if row.category == name] for name in categories}
    return {name: measured(_metrics(members)) for name, members in groups.items()}


def _metrics(rows: Sequence[BenchmarkResult]) -> Iterator[Metric]:
    for name in _measures(rows):
        said = [answer for row in rows if (answer := row.scores.get(name)) is not None]
        yield wilson(sum(said), len(said), name=name)
    if rows and "instructions" in rows[0].evidence:
        yield _of_instructions(rows, "strict", INSTRUCTION_STRICT)
        yield _of_instructions(rows, "loose", INSTRUCTION_LOOSE)


def _measures(rows: Iterable[BenchmarkResult]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.scores))


def _foreign(rows: Iterable[BenchmarkResult]) -> dict[str, tuple[str, bool]]:
    """lm-eval's metrics under their own names; only those of which more is better are asked for."""
    return {name: (name, True) for row in rows if row.kind == LM_EVAL for name in row.scores}


def _of_instructions(rows: Sequence[BenchmarkResult], reading: str, name: str) -> Metric:
    """The share of all instructions; those of one prompt stand or fall together."""
    followed = ([one[reading] for one in row.evidence["instructions"]] for row in rows)
    return clustered_share(((sum(one), len(one)) for one in followed), name=name)


def _differences(arm: Rows, start: Rows) -> dict[str, dict[str, Any]]:
    found = {}
    for name in _measures(start.values()):
        pairs = [
            (mine, theirs)
            for item_id, row in arm.items()
            if item_id in start
            and (mine := row.scores.get(name)) is not None
            and (theirs := start[item_id].scores.get(name)) is not None
        ]
        if pairs:
            found[name] = paired_test(pairs, name=name)
    return found
