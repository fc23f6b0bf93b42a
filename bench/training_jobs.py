"""The work that training benchmarks time, the same for every engine, and how it is measured; standard library only."""

from __future__ import annotations

import json
import random
import resource
import time

PROMPT_TOKENS = RESPONSE_TOKENS = 48
PAIRS, PAIRS_PER_STEP, PAIR_TOKENS = 64, 16, 50
VOCABULARY = (1000, 30000)


def prompts(count: int) -> list[list[int]]:
    """Prompts of ordinary tokens that share no opening, so that no engine can save work by it."""
    draw = random.Random(0)
    return [[draw.randrange(*VOCABULARY) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


def pairs() -> list[tuple[list[int], list[int], list[int]]]:
    """(prompt, chosen, rejected) of about 50 tokens a side, the end token left off."""
    draw = random.Random(1)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(*VOCABULARY) for _ in range(count)]

    return [
        (tokens(PAIR_TOKENS // 2), tokens(draw.randrange(20, 28)), tokens(draw.randrange(20, 28))) for _ in range(PAIRS)
    ]


class Steps:
    """Seconds of each step, by the clock and of processor time over all threads."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._mark = (time.perf_counter(), time.process_time())

    def start(self) -> None:
        """Begin timing here."""
        self._mark = (time.perf_counter(), time.process_time())

    def done(self) -> None:
        """A step ended; the next begins."""
        now = (time.perf_counter(), time.process_time())
        self.wall.append(now[0] - self._mark[0])
        self.cpu.append(now[1] - self._mark[1])
        self._mark = now

    def report(self, **more: float) -> None:
        """Print the measurement as the last line of output."""
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps({"wall_s": self.wall, "cpu_s": self.cpu, "peak_rss_gb": peak_gb, **more}), flush=True)
