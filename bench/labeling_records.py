"""What follows from a large label file, in a process of its own: prints one line of JSON with seconds and memory.

python bench/labeling_records.py --labels N --folder DIR

Writes a run folder of N labels (25 for each prompt's 8 responses, with both calls as evidence; half of the prompts are
checkable), then makes what reads it: verifications, pairs, costs, and the judge's accuracy on verified pairs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from itertools import combinations, islice
from pathlib import Path

from hrlaif.artifacts import encode, write_manifest
from hrlaif.config import Config, JudgeSection, LabelsSection
from hrlaif.make import make_pairs, make_verifications, of_split
from hrlaif.make_report import costs, judge_on_verified
from hrlaif.pipeline import STAGES
from hrlaif.plan import plan
from hrlaif.run import Run
from hrlaif.types import (
    Basis,
    Cost,
    Evidence,
    Finish,
    Judgement,
    Label,
    Message,
    Prompt,
    Response,
    Split,
    Task,
    Verdict,
)
from labeling_clients import peak_mb

RESPONSES, LABELS = 8, 25
REPLY = "A. The first response answers what was asked, and the second one does not."


def prompts(count: int) -> Iterator[Prompt]:
    for number in range(count):
        messages = (Message("user", f"Question {number}: what follows from what is known so far?"),)
        if number % 2:
            yield Prompt(f"p{number}", messages, "open", Task.OPEN)
        else:
            yield Prompt(f"p{number}", messages, "choice", Task.CHOICE, "B", choices=("this", "that", "neither"))


def responses(count: int) -> Iterator[Response]:
    for prompt in prompts(count):
        for k in range(RESPONSES):
            text = f"Thinking about it, {'what is known so far says little, ' * 8}so the answer is {'ABC'[k % 3]}."
            yield Response(f"{prompt.id}/{k}", prompt.id, text, "policy", k, Finish.STOP)


def labels(count: int) -> Iterator[Label]:
    for prompt in prompts(count):
        for i, j in islice(combinations(range(RESPONSES), 2), LABELS):
            ids = (prompt.id, f"{prompt.id}/{i}", f"{prompt.id}/{j}")
            orders = (ids, (ids[0], ids[2], ids[1]))
            calls = tuple(Judgement(*order, 0.7, Verdict.FIRST, "judge", REPLY, Cost(1, 300, 20)) for order in orders)
            yield Label(*ids, 0.7, Verdict.FIRST, Basis.JUDGE, Evidence(judgements=calls))


def write(path: Path, records: Iterable[object]) -> float:
    """Write records one by one; returns the size (MB)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with path.open("wb") as file:
        for record in records:
            file.write(encode(record) + b"\n")
            rows += 1
    write_manifest(path, fingerprint=path.name, rows=rows)
    return path.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--labels", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    count = options.labels // LABELS
    write(options.folder / "prompts.jsonl", prompts(count))
    write(options.folder / "responses.jsonl", responses(count))
    size_mb = write(options.folder / "rlaif" / "labels.jsonl", labels(count))
    config = Config(
        run_dir=str(options.folder),
        arms=("rlaif",),
        judge=JudgeSection(url="http://127.0.0.1:9/v1", model="never-asked"),
        labels=LabelsSection(answer_check=False),
    )
    measured = {"size_mb": size_mb}
    with Run(config) as run:
        steps = {step.stage.name: step for step in plan(STAGES, config)}
        parts = {
            "prompts in memory": lambda: of_split(run, Split.TRAIN),
            "verifications": lambda: make_verifications(run, steps["verifications"]),
            "pairs": lambda: make_pairs(run, steps["pairs"]),
            "costs": lambda: costs(run, steps["report"]),
            "judge on verified pairs": lambda: judge_on_verified(run, steps["report"]),
        }
        for name, part in parts.items():
            start_s = time.perf_counter()
            part()
            measured[f"{name}: s"] = time.perf_counter() - start_s
            measured[f"{name}: MB"] = peak_mb()
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
