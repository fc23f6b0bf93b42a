"""How the benchmarks score their own published solutions, and responses that are wrong.

python bench/benchmarks.py [DATA] [--json FILE]

DATA is the folder with code_humaneval.jsonl and the samples of GSM8K and MATH-500 with their solutions; by default
../shared/data beside the repository. Every generated program runs in the sandbox.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from claims import Claim, report
from hrlaif.artifacts import read_lines
from hrlaif.benchmarks import load
from hrlaif.benchmarks.choices import by_final_answer
from hrlaif.benchmarks.code import by_tests
from hrlaif.config import EvaluationSection
from hrlaif.metrics import wilson
from hrlaif.prompts import choices, sources
from hrlaif.types import Finish, Response

Row = dict[str, Any]
NUMBER = "987654321"


def in_published_form(kind: str, row: Row) -> Row:
    """The sample's row as the benchmark's authors write it."""
    if kind == "gsm8k":
        return {"question": row["question"], "answer": f"{row['solution']}\n#### {row['answer']}"}
    if kind == "math":
        return {"problem": row["question"], "solution": row["solution"]}
    return row


def block(row: Row) -> str:
    return f"Here it is:\n```python\n{row['prompt']}{row['canonical_solution']}```"


# Kind, file, and what is answered: (name, response to a row, whether it is right).
SETS: tuple[tuple[str, str, tuple[tuple[str, Callable[[Row], str], bool], ...]], ...] = (
    (
        "gsm8k",
        "gsm8k_test_sample.jsonl",
        (
            ("solution", lambda row: f"{row['solution']}\n#### {row['answer']}", True),
            ("another number", lambda row: f"The answer is {NUMBER}.", False),
        ),
    ),
    (
        "math",
        "math500_sample.jsonl",
        (
            ("solution", lambda row: str(row["solution"]), True),
            ("another number", lambda row: rf"So it is $\boxed{{{NUMBER}}}$.", False),
        ),
    ),
    (
        "humaneval",
        "code_humaneval.jsonl",
        (
            ("body alone", lambda row: str(row["canonical_solution"]), True),
            ("function in a code block", block, True),
            ("a function that returns None", lambda row: "    return None\n", False),
        ),
    ),
)


def claims_of(kind: str, rows: Sequence[Row], name: str, says: Callable[[Row], str], *, is_right: bool) -> Claim:
    """The share of rows whose response counts as right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(in_published_form(kind, row)) + "\n" for row in rows), encoding="utf-8")
        section = EvaluationSection.model_validate({"benchmarks": [{"name": kind, "kind": kind, "path": str(path)}]})
        items = load(section, read_table=sources.read, ask=choices.with_options, of_tasks=lambda _: [])
    rule = by_tests if kind == "humaneval" else by_final_answer
    right = 0
    for item, row in zip(items, rows, strict=True):
        scores, _ = rule(item, Response("r", item.prompt.id, says(row), "published", 0, Finish.STOP))
        right += all(scores.values())
    found = wilson(right, len(rows), name=name)
    target = ">= 1" if is_right else "<= 0"
    met = right == (len(rows) if is_right else 0)
    return Claim(f"{kind}: {name} ({len(rows)})", found.value, found.low, found.high, "share", target, met)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    claims = []
    for kind, file, answers in SETS:
        rows = [json.loads(line) for _, line in read_lines(options.data / file)]
        claims += [claims_of(kind, rows, name, says, is_right=is_right) for name, says, is_right in answers]
    report(claims, options.json)


if __name__ == "__main__":
    main()
