"""A judge endpoint for benchmarks, in a process of its own: latency as asked for, faults on request.

Prints its address, serves until its standard input closes, and then prints what it saw as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
import time
import zlib
from collections import Counter
from typing import Any

from hrlaif.models.scripted import Fault, ScriptedServer, completion

# What 20 alternatives of one verdict token look like.
ALTERNATIVES = {letter: -0.3 - 1.37 * rank for rank, letter in enumerate("ABCDEFGHIJKLMNOPQRST")}
REPLY = completion("A", top_logprobs=[ALTERNATIVES], prompt_tokens=300)
REFUSED_EVERY = 200  # 0.5 % of the pairs
SHARES = {"limited": 0.01, "broken": 0.005, "stalled": 0.001}
STALL_S = 30.0


class MockJudge:
    """Answers "A" with log-probabilities; every 200th pair is refused for good where faults are on."""

    def __init__(self, *, has_faults: bool) -> None:
        self._has_faults = has_faults
        self._random = random.Random(0)
        self.answered: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any]) -> dict[str, Any] | Fault:
        """The script of the server."""
        text = body["messages"][-1]["content"]
        if self._has_faults and (fault := self._fault(text)):
            return fault
        self.answered[zlib.crc32(text.encode())] += 1
        return REPLY

    def _fault(self, text: str) -> Fault | None:
        number = re.search(r"Question (\d+)", text)
        if number and int(number.group(1)) % REFUSED_EVERY == 0:
            return self._count("refused", Fault(400, '{"error": {"message": "this prompt is refused"}}'))
        drawn = self._random.random()
        if drawn < SHARES["limited"]:
            return self._count("limited", Fault(429, "slow down"))
        if drawn < SHARES["limited"] + SHARES["broken"]:
            return self._count("broken", Fault(200, '{"choices": [{"message": {"con'))
        if drawn < sum(SHARES.values()):
            return self._count("stalled", Fault(stall_s=STALL_S))
        return None

    def _count(self, kind: str, fault: Fault) -> Fault:
        self.faults[kind] += 1
        return fault


def lognormal(median_s: float, p99_s: float) -> Any:
    """Draws latencies with that median and 99th percentile; the same sequence in every process."""
    sigma = math.log(p99_s / median_s) / 2.3263
    generator = random.Random(0)
    return lambda: generator.lognormvariate(math.log(median_s), sigma)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--p99", type=float, default=0.0)
    parser.add_argument("--faults", action="store_true")
    options = parser.parse_args()
    judge = MockJudge(has_faults=options.faults)
    latency = lognormal(options.latency, options.p99) if options.p99 else options.latency
    with ScriptedServer(judge, latency_s=latency) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        answers = sum(judge.answered.values())
        seen = {"calls": server.calls, "answers": answers, "repeated": answers - len(judge.answered)}
        print(json.dumps({**seen, "faults": judge.faults, "cpu_s": time.process_time()}), flush=True)


if __name__ == "__main__":
    main()
