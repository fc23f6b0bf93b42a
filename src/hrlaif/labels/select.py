"""Which pairs of a prompt's responses are worth a label: chosen by what is known, under a limit, repeatably."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from itertools import combinations

from hrlaif.types import Outcome, Response, Verification

ResponsePair = tuple[Response, Response]


def usable(responses: Sequence[Response]) -> list[Response]:
    """One response of each text; empty and failed ones cannot be compared."""
    by_text = {response.text.strip(): response for response in reversed(responses) if response.text.strip()}
    return list(reversed(by_text.values()))


def spread(responses: Sequence[Response], limit: int | None, *, seed: str) -> list[ResponsePair]:
    """Up to `limit` pairs (None: all) that use every response about equally often, in random order, with random sides.

    The responses are shuffled onto a circle. Each step takes the two used least so far, neighbours before others: the
    first n - 1 of n responses' pairs already connect them all, as a ranking needs. Fewer pairs are the first of more.
    """
    draw = random.Random(seed)
    circle = usable(responses)
    draw.shuffle(circle)
    n = len(circle)
    uses = [0] * n
    left = list(combinations(range(n), 2))
    chosen: list[ResponsePair] = []
    for _ in range(len(left) if limit is None else min(limit, len(left))):
        i, j = min(
            left, key=lambda pair: (uses[pair[0]] + uses[pair[1]], min(pair[1] - pair[0], n - pair[1] + pair[0]))
        )
        left.remove((i, j))
        uses[i] += 1
        uses[j] += 1
        chosen.append(_random_sides(draw, circle[i], circle[j]))
    return chosen


def decided(
    responses: Sequence[Response], verifications: Mapping[str, Verification], limit: int, *, seed: str
) -> list[ResponsePair]:
    """Up to `limit` pairs of a CORRECT and a WRONG response, each response used about equally often."""
    draw = random.Random(seed)
    correct, wrong = (_with_outcome(responses, verifications, outcome) for outcome in (Outcome.CORRECT, Outcome.WRONG))
    draw.shuffle(correct)
    draw.shuffle(wrong)
    c, w = len(correct), len(wrong)
    # Both sides go round and round, so that none comes back before the others of its side were used. After lcm(c, w)
    # steps they would meet the same partners again: one side skips a step.
    steps = range(min(limit, c * w))
    return [_random_sides(draw, correct[k % c], wrong[(k + k // math.lcm(c, w)) % w]) for k in steps]


def both_correct(
    responses: Sequence[Response], verifications: Mapping[str, Verification], limit: int, *, seed: str
) -> list[ResponsePair]:
    """Up to `limit` pairs of two CORRECT responses, whose reasoning is to be compared."""
    return spread(_with_outcome(responses, verifications, Outcome.CORRECT), limit, seed=seed)


def _with_outcome(
    responses: Sequence[Response], verifications: Mapping[str, Verification], outcome: Outcome
) -> list[Response]:
    return [
        response
        for response in usable(responses)
        if response.id in verifications and verifications[response.id].outcome is outcome
    ]


def _random_sides(draw: random.Random, one: Response, other: Response) -> ResponsePair:
    """Which response comes first must not tell which is better."""
    return (one, other) if draw.random() < 0.5 else (other, one)
