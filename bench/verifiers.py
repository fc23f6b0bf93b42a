"""How often the verifiers agree with published labels of real model responses, and how fast they are.

python bench/verifiers.py [DATA] [--repeats 3] [--json FILE]

DATA is the folder with verifier_math.jsonl, verifier_mcq.jsonl, verifier_mcq_tricky.jsonl, verifier_bbh.jsonl and
verifier_equiv.jsonl (rows of the schema `verify`) and the samples of GSM8K and MATH-500 with their solutions;
by default ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from claims import Claim, claim, report
from hrlaif.artifacts import read_records
from hrlaif.metrics import wilson
from hrlaif.types import Finish, Message, Outcome, Prompt, Response, Task, Verification
from hrlaif.verifiers import verify_many
from hrlaif.verifiers.calibrate import LabelledResponse

FILES = ("math", "mcq", "mcq_tricky", "bbh", "equiv")
ACCURACY = {"math": 0.996, "mcq": 0.985, "bbh": 0.98, "equiv": 0.96}
PRECISION = {"math": 0.998}
EXTRACTED = {"mcq_tricky": 0.95}
SOLVED = ("gsm8k_train_sample.jsonl", "gsm8k_test_sample.jsonl", "math500_sample.jsonl")
AT_LEAST_ROWS = 5000


@dataclass(frozen=True)
class Solved:
    """A question of a benchmark with its worked solution."""

    id: str
    question: str
    answer: str
    solution: str | None = None

    def item(self, text: str, finish: Finish = Finish.STOP) -> tuple[Prompt, Response]:
        """Some text as a response to this question."""
        prompt = Prompt(self.id, (Message("user", self.question),), "math", Task.MATH, reference=self.answer)
        return prompt, Response(self.id, self.id, text, model="", seed=0, finish=finish)


def share(name: str, successes: int, n: int, target: float | None = None) -> Claim:
    """A share with its Wilson interval; the target is a bound on the share itself."""
    metric = wilson(successes, n, name=name)
    met = None if target is None else metric.value >= target
    return Claim(name, metric.value, metric.low, metric.high, "share", "" if target is None else f">= {target:g}", met)


def quality(file: str, rows: Sequence[LabelledResponse], results: Sequence[Verification]) -> list[Claim]:
    """Agreement of CORRECT with the labels; UNREADABLE counts as not correct."""
    called = [result.outcome is Outcome.CORRECT for result in results]
    right = sum(call and row.is_correct for call, row in zip(called, rows, strict=True))
    agreed = sum(call == row.is_correct for call, row in zip(called, rows, strict=True))
    unreadable = sum(result.outcome is Outcome.UNREADABLE for result in results)
    claims = [
        share(f"{file}: accuracy", agreed, len(rows), ACCURACY.get(file)),
        share(f"{file}: precision of CORRECT", right, sum(called), PRECISION.get(file)),
        share(f"{file}: recall of CORRECT", right, sum(row.is_correct for row in rows)),
        share(f"{file}: unreadable", unreadable, len(rows)),
    ]
    if file in EXTRACTED:
        same = sum(result.found == row.extracted_answer for row, result in zip(rows, results, strict=True))
        claims.insert(0, share(f"{file}: extracted letter", same, len(rows), EXTRACTED[file]))
    return claims


def solutions(data: Path) -> list[Claim]:
    """The benchmarks' own worked solutions: without their answer line, for another question's answer, and cut off."""
    rows = [row for name in SOLVED for row in read_records(data / name, Solved) if row.solution]
    stories = [row for row in rows if "boxed" not in row.solution]
    others = [
        (row, other)
        for step in (1, 7, 31)
        for row, other in zip(rows, rows[step:] + rows[:step], strict=True)
        if row.answer != other.answer
    ]
    rng = random.Random(0)
    cut = [row.item(row.solution[: rng.randrange(20, len(row.solution))], Finish.LENGTH) for row in rows]
    unmarked = outcomes(row.item(row.solution.partition("####")[0]) for row in stories)
    foreign = outcomes(row.item(other.solution) for row, other in others)
    short = outcomes(cut)
    n = len(unmarked)
    return [
        share("own solution, no marked answer: correct", unmarked.count(Outcome.CORRECT), n),
        share("own solution, no marked answer: wrong", unmarked.count(Outcome.WRONG), n),
        share("another question's solution: correct", foreign.count(Outcome.CORRECT), len(foreign)),
        share("own solution cut at the token limit: wrong", short.count(Outcome.WRONG), len(short)),
    ]


def outcomes(items: Iterable[tuple[Prompt, Response]]) -> list[Outcome]:
    """The outcome of each item."""
    return [result.outcome for result in verify_many(items)]


def rates(name: str, rows: Sequence[LabelledResponse], repeats: int, target: float) -> list[Claim]:
    """Responses per second of processor time (all processes) and of wall time, the workers' start included."""
    items = [row.item() for row in rows] * max(1, AT_LEAST_ROWS // max(1, len(rows)))
    by_cpu, by_wall = [], []
    for _ in range(repeats):
        cpu, wall = cpu_seconds(), time.perf_counter()
        count = sum(1 for _ in verify_many(items))
        by_cpu.append(count / (cpu_seconds() - cpu))
        by_wall.append(count / (time.perf_counter() - wall))
    return [
        claim(f"{name}: responses a CPU second", by_cpu, "1/s", at_least=target),
        claim(f"{name}: responses a second on the clock", by_wall, "1/s"),
    ]


def cpu_seconds() -> float:
    """Processor time of this process and of the workers that ended."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def disagreements(rows: Sequence[LabelledResponse], results: Sequence[Verification]) -> None:
    """Print the id of every row on which label and verifier differ."""
    for row, result in zip(rows, results, strict=True):
        if (result.outcome is Outcome.CORRECT) != row.is_correct:
            print(
                f"  {row.id}: label {row.is_correct}, {result.outcome.value}, found {result.found!r}", file=sys.stderr
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    parser.add_argument("data", type=Path, nargs="?", default=beside)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    claims: list[Claim] = []
    read: dict[str, list[LabelledResponse]] = {}
    for file in FILES:
        read[file] = list(read_records(arguments.data / f"verifier_{file}.jsonl", LabelledResponse))
        results = list(verify_many(row.item() for row in read[file]))
        claims += quality(file, read[file], results)
        print(f"verifier_{file}.jsonl: rows on which label and verifier differ", file=sys.stderr)
        disagreements(read[file], results)
    claims += solutions(arguments.data)
    short = [row for row in read["bbh"] if row.task == "short"]
    claims += rates("math (verifier_math)", read["math"], arguments.repeats, 600)
    claims += rates("choice (verifier_mcq)", read["mcq"], arguments.repeats, 5000)
    claims += rates("short (verifier_bbh)", short, arguments.repeats, 5000)
    report(claims, arguments.json)


if __name__ == "__main__":
    main()
