"""Near-duplicate removal of 100,000 attacks: time, memory, and how many planted duplicates it finds.

    python bench/dedup.py [--texts 100000] [--made words|attacks] [--repeats 3] [--json FILE]

`words` are requests of random words, which have nothing in common. `attacks` are the shipped seeds, varied as an
attacker varies them (another opening, another person, a detail more) and put under every strategy: texts that share
whole templates, so that many are compared, and some are rightly alike without having been planted.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from claims import claim, report
from hrlaif.metrics.duplicates import THRESHOLD, duplicates, similarity
from hrlaif.prompts import bundled
from hrlaif.red_team import strategies
from hrlaif.types import Task

PLANTED = 0.2  # share of the texts that repeat an earlier one with one word changed
CHECKED = 2000  # planted duplicates whose true similarity is computed


PEOPLE = ("my boss", "a nurse", "our landlord", "an old friend", "the new girl", "my cousin", "a waiter", "our coach")
OPENINGS = ("", "Please. ", "Be quick: ", "I have asked others already. ", "This is for tonight. ", "You know me. ")
DETAILS = (
    "It is about {person}.",
    "Write it as {person} would say it.",
    "Mention {person} and the number {number}.",
    "Keep it under {number} words.",
    "I tried it {number} times and {person} laughed.",
    "Last week {person} paid {number} for it.",
)


def words(rng: random.Random) -> Iterator[str]:
    """Random requests of 8 to 25 words."""
    known = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    while True:
        yield " ".join(rng.choices(known, k=rng.randint(8, 25)))


def attacks(rng: random.Random) -> Iterator[str]:
    """Varied seeds under strategies, in no order."""
    seeds = [prompt for prompt in bundled() if prompt.task in (Task.RED_TEAM, Task.BENIGN_TRICKY)]
    while True:
        seed = rng.choice(seeds)
        details = (
            detail.format(person=rng.choice(PEOPLE), number=rng.randint(2, 999))
            for detail in rng.sample(DETAILS, k=rng.randint(0, 3))
        )
        request = " ".join([rng.choice(OPENINGS) + seed.question, *details])
        text = strategies.apply(rng.choice(strategies.names()), request, lang=seed.lang)
        if text is not None:
            yield text


MADE = {"words": words, "attacks": attacks}


def texts(count: int, *, made_as: str, seed: int) -> tuple[list[str], dict[int, int]]:
    """Requests, and which of them were made from which earlier one by changing a word."""
    rng = random.Random(seed)
    fresh = MADE[made_as](rng)
    made: list[str] = []
    planted: dict[int, int] = {}
    for index in range(count):
        if made and rng.random() < PLANTED:
            planted[index] = rng.randrange(len(made))
            words_of = made[planted[index]].split()
            words_of[rng.randrange(len(words_of))] = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6))
            made.append(" ".join(words_of))
        else:
            made.append(next(fresh))
    return made, planted


def measure(count: int, made_as: str, seed: int) -> dict[str, float]:
    """One run: wall and CPU seconds, memory that the search added, recall and precision at the threshold."""
    made, planted = texts(count, made_as=made_as, seed=seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    found = duplicates(made)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # A text is compared with the ones that were kept, so a copy of a copy may rightly stay.
    kept = [(i, origin) for i, origin in planted.items() if found[origin] is None][:CHECKED]
    close = [i for i, origin in kept if similarity(made[i], made[origin]) >= THRESHOLD]
    # Whatever is dropped must be alike; only random words are never alike by chance.
    dropped = [(i, twin) for i, twin in enumerate(found) if twin is not None]
    sample = random.Random(seed).sample(dropped, k=min(CHECKED, len(dropped)))
    wrong = [i for i, twin in sample if similarity(made[i], made[twin]) < THRESHOLD]
    return {
        "wall": seconds,
        "cpu": cpu_seconds,
        "gigabytes": after / 1e6,
        "added": (after - before) / 1e6,
        "recall": sum(found[i] is not None for i in close) / len(close),
        "dropped": len(dropped) / count,
        "wrong": len(wrong),
    }


def main() -> None:
    """Each repetition runs in a process of its own, so that its peak memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--made", choices=MADE, default="words")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once is not None:
        print(json.dumps(measure(arguments.texts, arguments.made, arguments.once)))
        return
    runs = []
    for seed in range(arguments.repeats):
        command = [sys.executable, __file__, "--texts", str(arguments.texts), "--made", arguments.made]
        command += ["--once", str(seed)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    what = f"dedup of {arguments.texts:,} texts ({arguments.made})"
    column = {name: [run[name] for run in runs] for name in runs[0]}
    report(
        [
            # One thread: with a core to itself its wall time is its CPU time.
            claim(f"{what}: CPU time", column["cpu"], "s", at_most=60),
            claim(f"{what}: wall time", column["wall"], "s"),
            claim(f"{what}: peak memory of the process", column["gigabytes"], "GB", at_most=1),
            claim(f"{what}: found of the planted ones at similarity >= 0.8", column["recall"], "share", at_least=0.97),
            claim(f"{what}: dropped", column["dropped"], "share"),
            claim(f"{what}: dropped though less alike, of {CHECKED:,}", column["wrong"], "texts", at_most=0),
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
