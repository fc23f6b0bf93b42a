"""From published rows to what is asked: one item per row, each benchmark from its own files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from hrlaif.artifacts import evenly
from hrlaif.benchmarks.choices import choice_item, question_of
from hrlaif.benchmarks.files import ReadTable, Row, rows_of
from hrlaif.benchmarks.ifeval import instructions_of
from hrlaif.config import CHOICE_KINDS, LM_EVAL, BenchmarkSection, EvaluationSection
from hrlaif.errors import DataError
from hrlaif.types import BenchmarkItem, Message, Prompt, Task

Ask = Callable[[str, Sequence[str], str], str]
OfTasks = Callable[[BenchmarkSection], list[BenchmarkItem]]
HATE = "S10"  # the hazard that ToxiGen is about


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a generative row asks, and what its scoring needs."""

    text: str
    category: str
    task: Task = Task.OPEN
    reference: str | None = None
    hazard: str | None = None
    facts: Any = None


def load(section: EvaluationSection, *, read_table: ReadTable, ask: Ask, of_tasks: OfTasks) -> list[BenchmarkItem]:
    """The items of all benchmarks in order. Same files and configuration, same items.

    `read_table` reads tables (JSON Lines, Parquet, CSV); `ask` puts a question and its options into words;
    `of_tasks` reads the tasks of lm-eval.

    Raises:
        DataError: A file is missing or a row malformed; the message names the file, the row and what is wrong.
    """
    items: list[BenchmarkItem] = []
    for benchmark in section.benchmarks:
        if benchmark.kind == LM_EVAL:
            for _, rows in itertools.groupby(of_tasks(benchmark), key=lambda item: item.benchmark):
                items += evenly(list(rows), benchmark.limit)
            continue
        made = [_item(benchmark, number, row, ask) for number, row in enumerate(rows_of(benchmark, read_table), 1)]
        if not made:
            raise DataError(f"evaluation.benchmarks: {benchmark.name!r}: {benchmark.path} holds no rows.")
        if benchmark.kind == "toxigen":
            made = list({item.prompt.messages: item for item in reversed(made)}.values())[::-1]
        tokens = benchmark.max_tokens or section.max_tokens
        items += [replace(item, max_tokens=tokens) for item in evenly(made, benchmark.limit)]
    return items


def _item(section: BenchmarkSection, number: int, row: Row, ask: Ask) -> BenchmarkItem:
    if section.kind in CHOICE_KINDS:
        question = question_of(section.kind, row)
        return choice_item(section.name, section.kind, number, question, section.asked, ask)
    asked = _GENERATIVE[section.kind](row)
    prompt = Prompt(
        id=f"{section.name}/{number}",
        messages=(Message("user", asked.text),),
        category=asked.category,
        task=asked.task,
        reference=asked.reference,
        source=section.name,
        hazard=asked.hazard,
    )
    return BenchmarkItem(section.name, section.kind, "generative", prompt, 0, facts=asked.facts or {})


def _gsm8k(row: Row) -> _Asked:
    _, marked, answer = row.text("answer").rpartition("####")
    if not marked or not answer.strip():
        raise row.wrong("'answer' has no final number after ####")
    return _Asked(row.text("question"), "gsm8k", Task.MATH, answer.strip())


def _math(row: Row) -> _Asked:
    answer = row.value("answer")
    reference = answer.strip() if isinstance(answer, str) else _boxed(row.text("solution"))
    if not reference:
        raise row.wrong("neither an 'answer' nor a \\boxed one in 'solution'")
    return _Asked(row.text("problem"), str(row.value("type", "subject") or "math"), Task.MATH, reference)


def _boxed(solution: str) -> str:
    """What stands in the last box, which may hold braces itself."""
    start = max(solution.rfind("\\boxed"), solution.rfind("\\fbox"))
    opened = solution.find("{", start) if start >= 0 else -1
    depth = 0
    for end in range(opened, len(solution)) if opened >= 0 else ():
        depth += {"{": 1, "}": -1}.get(solution[end], 0)
        if depth == 0:
            return solution[opened + 1 : end].strip()
    return ""


def _ifeval(row: Row) -> _Asked:
    return _Asked(row.text("prompt"), "ifeval", facts={"instructions": instructions_of(row)})


def _humaneval(row: Row) -> _Asked:
    facts = {name: row.text(name) for name in ("prompt", "test", "entry_point")}
    if not facts["entry_point"].isidentifier():
        raise row.wrong(f"'entry_point' is {facts['entry_point']!r:.60}, not the name of a function")
    return _Asked(_template("humaneval").format(prompt=facts["prompt"].rstrip()), "humaneval", facts=facts)


def _xstest(row: Row) -> _Asked:
    kind = row.text("type")
    label = row.value("label") or ("unsafe" if kind.startswith("contrast_") else "safe")
    if label not in ("safe", "unsafe"):
        raise row.wrong(f"'label' is {str(label)[:60]!r}, neither safe nor unsafe")
    task = Task.BENIGN_TRICKY if label == "safe" else Task.RED_TEAM
    return _Asked(row.text("prompt"), kind, task, facts={"label": label})


def _toxigen(row: Row) -> _Asked:
    side = str(row.value("prompt_label"))
    side = {"1": "hate", "0": "neutral", "hateful": "hate"}.get(side, side)
    if side not in ("hate", "neutral"):
        raise row.wrong(f"'prompt_label' is {side[:60]!r}, neither hate (1) nor neutral (0)")
    prompt = row.text("prompt").replace("\\n", "\n").strip()
    text = _template("toxigen").format(prompt=prompt)
    return _Asked(text, row.text("group"), Task.RED_TEAM, hazard=HATE, facts={"side": side})


_GENERATIVE: dict[str, Callable[[Row], _Asked]] = {
    "gsm8k": _gsm8k,
    "math": _math,
    "ifeval": _ifeval,
    "humaneval": _humaneval,
    "xstest": _xstest,
    "toxigen": _toxigen,
}


def _template(name: str) -> str:
    return resources.files("hrlaif.benchmarks").joinpath(f"{name}.txt").read_text("utf-8").strip()
