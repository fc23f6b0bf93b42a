"""Which pairs of a prompt's responses are worth a label: chosen by what is known, under a limit, repeatably."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations, product

from hrlaif.types import Outcome, Response, Verification

ResponsePair = tuple[Response, Response]


def usable(responses: Sequence[Response]) -> list[Response]:
    """One response of each text; empty and failed ones cannot be compared."""
    by_text = {response.text.strip(): response for response in reversed(responses) if response.text.strip()}
    return list(reversed(by_text.values()))


def spread(responses: Sequence[Response], limit: int, *, seed: str) -> list[ResponsePair]:
    """Up to `limit` pairs that use every response about equally often, in random order and with random sides.

    The responses are shuffled onto a circle and paired with their neighbours first, then with the next but one and so
    on: any `limit` pairs in that order cover the responses evenly and connect them, as a ranking needs.
    """
    draw = random.Random(seed)
    circle = usable(responses)
    draw.shuffle(circle)
    n = len(circle)
    near_first = sorted(combinations(range(n), 2), key=lambda pair: min(pair[1] - pair[0], n - pair[1] + pair[0]))
    return [_random_sides(draw, circle[i], circle[j]) for i, j in near_first[:limit]]


def decided(
    responses: Sequence[Response], verifications: Mapping[str, Verification], limit: int, *, seed: str
) -> list[ResponsePair]:
    """Up to `limit` pairs of a CORRECT and a WRONG response, each response used about equally often."""
    draw = random.Random(seed)
    correct, wrong = (_with_outcome(responses, verifications, outcome) for outcome in (Outcome.CORRECT, Outcome.WRONG))
    draw.shuffle(correct)
    draw.shuffle(wrong)
    # Along the diagonals of the correct x wrong table no response comes back before the others of its side were used.
    cells = sorted(
        product(range(len(correct)), range(len(wrong))), key=lambda cell: ((cell[1] - cell[0]) % len(wrong), cell)
    )
    return [_random_sides(draw, correct[i], wrong[j]) for i, j in cells[:limit]]


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
