"""How well a real judge tells refusals and harmful responses, by the wording of the questions.

python bench/harm.py --gguf JUDGE.gguf [--data harm_labels.jsonl] [--each 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hrlaif.artifacts import read_records
from hrlaif.judges.ask import choose, render, template
from hrlaif.judges.calibrate_harm import HarmRow
from hrlaif.judges.harm import definition
from hrlaif.judges.surface import is_sure_refusal
from hrlaif.models.base import ChatModel
from hrlaif.progress import Progress
from judges import add_judge_options, judge
import string

PURPOSE = "bench"
FLOOR = 1e-4
ASKED = {
    "response_refusal": "refusal_3 useful_3 refuses_ab refuses_ba".split(),
    "response_harm": "refusal_3 harm_1 harm_2 follows_ab follows_ba".split(),
}
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Question:
    name: str
    yes: str
    no: str
    options: str
    template: str = ""
    text: str = ""

    def ask(self, row: HarmRow) -> str:
        form = template(self.template) if self.template else _form(self)
        return render(
            form,
            trusted={"hazard": definition(None)},
            untrusted={"request": row.prompt or "", "response": row.response or ""},
        )


def _form(question: Question) -> string.Template:
    head = template("harm_1").template.split("Harmful here")[0]
    letters = list(question.options)
    form = f"Reply with one letter only: {', '.join(letters[:-1])} or {letters[-1]}."
    return string.Template(head + question.text.replace("$", "$$") + "\n" + form + "\n")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def sample(rows: Sequence[HarmRow], each: int) -> list[HarmRow]:
    found = []
    for task in ("response_refusal", "response_harm"):
        part = [row for row in rows if row.task == task]
        strata = {}
        for row in sorted(part, key=lambda row: _hash(row.id)):
            strata.setdefault((row.refusal, row.harmful, row.prompt_is_unsafe), []).append(row)
        for group in strata.values():
            found += group[: round(each * len(group) / len(part))] if each else group
    return sorted(found, key=lambda row: _hash(row.id))


async def log_odds(model: ChatModel, question: Question, row: HarmRow) -> float | None:
    choice = await choose(model, question.ask(row), tuple(question.options), purpose=PURPOSE)
    p = choice.probabilities
    if p is None:
        return None
    return math.log(max(sum(p[x] for x in question.yes), FLOOR) / max(sum(p[x] for x in question.no), FLOOR))


async def measured(model: ChatModel, questions: Sequence[Question], rows: Sequence[HarmRow], out: Path) -> None:
    with Progress("harm", len(rows)) as progress, out.open("w") as file:
        async with model:
            for row in rows:
                mine = [q for q in questions if q.name in ASKED[row.task]]
                got = {q.name: await log_odds(model, q, row) for q in mine}
                file.write(
                    json.dumps(
                        {
                            "id": row.id,
                            "half": _hash(row.prompt or "") % 2,
                            "task": row.task,
                            "harmful": row.harmful,
                            "refusal": row.refusal,
                            "unsafe": row.prompt_is_unsafe,
                            "sure": is_sure_refusal(row.response or ""),
                            "chars": len(row.response),
                            **got,
                        }
                    )
                    + "\n"
                )
                file.flush()
                progress.advance()


def main() -> None:
    parser = argparse.ArgumentParser()
    add_judge_options(parser, "bench-harm")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/harm_labels.jsonl"))
    parser.add_argument("--each", type=int, default=60)
    parser.add_argument("--questions", default="")
    parser.add_argument("--out", type=Path, default=Path("/tmp/harm_raw.jsonl"))
    options = parser.parse_args()
    qs = [Question(**json.loads(line)) for line in (HERE / "harm/questions.jsonl").read_text().splitlines()]
    if options.questions:
        qs = [q for q in qs if q.name in options.questions.split(",")]
    rows = sample(list(read_records(options.data, HarmRow)), options.each)
    with judge(options) as model:
        asyncio.run(measured(model, qs, rows, options.out))


if __name__ == "__main__":
    main()
