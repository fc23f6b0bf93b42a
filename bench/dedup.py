"""Near-duplicate removal of 100,000 attacks: time, memory, and how many planted duplicates it finds.

python bench/dedup.py [--texts 100000] [--repeats 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

from claims import claim, report
from hrlaif.metrics.duplicates import THRESHOLD, duplicates, similarity

PLANTED = 0.2  # share of the texts that repeat an earlier one with one word changed
CHECKED = 2000  # planted duplicates whose true similarity is computed


def texts(count: int, *, seed: int) -> tuple[list[str], dict[int, int]]:
    """Random requests of 8 to 25 words, and which of them were made from which earlier one."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    made: list[str] = []
    planted: dict[int, int] = {}
    for index in range(count):
        if made and rng.random() < PLANTED:
            planted[index] = rng.randrange(len(made))
            words_of = made[planted[index]].split()
            words_of[rng.randrange(len(words_of))] = rng.choice(words)
            made.append(" ".join(words_of))
        else:
            made.append(" ".join(rng.choices(words, k=rng.randint(8, 25))))
    return made, planted


def measure(count: int, seed: int) -> dict[str, float]:
    """One run: wall and CPU seconds, memory that the search added, recall and precision at the threshold."""
    made, planted = texts(count, seed=seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    found = duplicates(made)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # A text is compared with the ones that were kept, so a copy of a copy may rightly stay.
    kept = [(i, origin) for i, origin in planted.items() if found[origin] is None][:CHECKED]
    close = [i for i, origin in kept if similarity(made[i], made[origin]) >= THRESHOLD]
    wrong = [i for i, twin in enumerate(found) if twin is not None and i not in planted]
    return {
        "wall": seconds,
        "cpu": cpu_seconds,
        "gigabytes": after / 1e6,
        "added": (after - before) / 1e6,
        "recall": sum(found[i] is not None for i in close) / len(close),
        "wrong": len(wrong),
    }


def main() -> None:
    """Each repetition runs in a process of its own, so that its peak memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once is not None:
        print(json.dumps(measure(arguments.texts, arguments.once)))
        return
    runs = []
    for seed in range(arguments.repeats):
        command = [sys.executable, __file__, "--texts", str(arguments.texts), "--once", str(seed)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    what = f"dedup of {arguments.texts:,} attacks"
    column = {name: [run[name] for run in runs] for name in runs[0]}
    report(
        [
            # One thread: with a core to itself its wall time is its CPU time.
            claim(f"{what}: CPU time", column["cpu"], "s", at_most=60),
            claim(f"{what}: wall time", column["wall"], "s"),
            claim(f"{what}: peak memory of the process", column["gigabytes"], "GB", at_most=1),
            claim(f"{what}: found of the planted ones at similarity >= 0.8", column["recall"], "share", at_least=0.97),
            claim(f"{what}: dropped though not planted", column["wrong"], "texts", at_most=0),
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
