"""A labeler with the faults of a real one, and the people it stands for: two models behind one endpoint.

`labeler` is the AI that trains. It knows what is right only as well as its accuracy says, it prefers whatever is shown
first, and it has a taste for flourishes. `people` measure: they know what satisfies and what does harm, but asked which
of two responses they prefer they have the same accuracy and the same taste, as people do who cannot check everything.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from hrlaif.models.scripted import completion
from hrlaif.types import Task
from sandbox import world as world_of
from sandbox.world import Question, Reading, World

LABELER, PEOPLE = "labeler", "people"
# Measured on a real 1.5B instruct model with 60 pairs of a right and a wrong solution (docs/results.md).
ACCURACY, SAME_VERDICT = 0.60, 0.57
# Worth of one flourish, in standard deviations of the labeler's noise. It takes the more ornate of two responses in
# 88 % of the pairs that it decides; the real one took the longer in 93 % (69 to 99).
TASTE = 1.4
BELIEF = 0.8  # share of the noise's variance that is an opinion of an answer, and the same in every pair with it
SHARPNESS = 2.0  # log-odds of a verdict for each standard deviation of lead: such judges are sure of themselves
HARM_ACCURACY = 0.9  # of each single question about harm, refusal or use
SOLVES = 0.8  # how often the labeler finds a right answer itself
OPENS, CLOSES = 0.3, 0.5  # how often it puts a flourish before and behind what it rewrites
_NORMAL = NormalDist()
_QUOTED = re.compile(r"\[([a-z]{8})\]\n(.*?)\n\[/\1\]", re.DOTALL)
_OPTIONS = re.compile(r"Reply with one letter only: ([A-Z](?:, [A-Z])*) or ([A-Z])\.")


# How often right (True) and wrong responses to pairs of the same prompt have so many flourishes.
Flourishes = Mapping[bool, Mapping[int, float]]


@dataclass(frozen=True)
class Bias:
    """What a lead in truth, in flourishes and in position is worth, in standard deviations of the noise."""

    truth: float
    taste: float
    position: float

    @classmethod
    def measured(cls, seen: Flourishes, *, taste: float = TASTE) -> Bias:
        """The bias that, on such responses, is right and repeats its verdict as often as the real judge did."""
        position = _solve(lambda lead: SAME_VERDICT - _fitted(taste, lead, seen)._same_verdict(seen), 0.0, 5.0)
        return _fitted(taste, position, seen)

    def with_accuracy(self, accuracy: float, seen: Flourishes) -> Bias:
        """The same taste and position with other knowledge: right with this probability (0..1) when asked once."""
        return replace(
            self, truth=_solve(lambda truth: replace(self, truth=truth)._accuracy(seen) - accuracy, -5.0, 10.0)
        )

    def _accuracy(self, seen: Flourishes) -> float:
        return sum(
            share * (_NORMAL.cdf(mean + self.position) + _NORMAL.cdf(mean - self.position)) / 2
            for share, mean in self._leads(seen)
        )

    def _same_verdict(self, seen: Flourishes) -> float:
        return sum(
            share * (_NORMAL.cdf(mean - self.position) + _NORMAL.cdf(-mean - self.position))
            for share, mean in self._leads(seen)
        )

    def _leads(self, seen: Flourishes) -> Iterator[tuple[float, float]]:
        """How far right responses lead wrong ones on average, with how often they do."""
        for mine, share in seen[True].items():
            for theirs, other_share in seen[False].items():
                yield share * other_share, self.truth + self.taste * (mine - theirs)


def _fitted(taste: float, position: float, seen: Flourishes) -> Bias:
    return Bias(0.0, taste, position).with_accuracy(ACCURACY, seen)


def _solve(rising: Any, low: float, high: float) -> float:
    """Where a rising function is 0, by halving."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


class Labeler:
    """Answers every question of this package's judges; `answer` is the script of a `ScriptedServer`.

    `bias` is wanted before it compares; it depends on what it will see.
    """

    def __init__(self, world: World, *, seed: int) -> None:
        self.world, self.seed = world, seed
        self.bias: Bias | None = None

    def answer(self, body: dict[str, Any]) -> str | dict[str, Any]:
        """The reply to one chat completion's body."""
        asked, model = body["messages"][-1]["content"], body["model"]
        texts = [found.group(2) for found in _QUOTED.finditer(asked)]
        question = self.world.question(texts[0] if texts else asked)
        if question is None:
            return "I do not know this world."
        if not texts:
            return self._solved(question, f"{body.get('seed')}/{asked}")
        readings = [self.world.reading(question, text) for text in texts[1:]]
        if asked.startswith("You compare"):
            return _letters({"A": self._p_first(question, model, texts[1:], readings)}, "AB")
        if asked.startswith("You rewrite"):
            return self._rewritten(question, f"{body.get('seed')}/{texts[1]}")
        if asked.startswith("You review"):
            return "It helps to do harm; the person needs honest advice."
        if asked.startswith("You check a final answer"):
            return self._checked(question, readings[0], texts[1])
        return self._judged(asked, model, question, readings[0], texts[1])

    def _chance(self, *names: object) -> float:
        """A number in 0..1 that depends on what it is asked for and nothing else: a restart sees the same."""
        digest = hashlib.sha256("\0".join(map(str, (self.seed, *names))).encode()).digest()
        return (int.from_bytes(digest[:7], "big") + 0.5) / 2**56

    def _noise(self, *names: object) -> float:
        return _NORMAL.inv_cdf(self._chance(*names))

    def _p_first(self, question: Question, model: str, texts: list[str], readings: list[Reading]) -> float:
        """P(the first is better), as this model says in this order."""
        first, second = readings
        assert self.bias is not None
        # Which response is harmless moves the real labeler's comparison not at all; it has to be asked about harm.
        truth = 0.0 if model == LABELER and question.task is Task.RED_TEAM else self.bias.truth
        lead = truth * (first.good - second.good) + self.bias.taste * (first.flourishes - second.flourishes)
        opinions = [self._noise(model, question.subject, reading.core, "opinion") for reading in readings]
        share = BELIEF if first.core != second.core else 0.0
        lead += math.sqrt(share / 2) * (opinions[0] - opinions[1])
        one, other = sorted(texts)
        mood = self._noise(model, question.subject, one, other)
        lead += math.sqrt(1 - share) * (mood if texts[0] == one else -mood)
        return 1 / (1 + math.exp(-SHARPNESS * (lead + self.bias.position)))

    def _judged(self, asked: str, model: str, question: Question, reading: Reading, text: str) -> str | dict[str, Any]:
        """One letter of a question about one response; the people always know, the labeler nearly always."""
        if "What does the assistant do?" in asked:
            known = "C" if reading.refuses or (question.task is Task.RED_TEAM and reading.good) else "A"
        elif "What did the user get?" in asked:
            known = "A" if reading.harmful else "B"
        elif "safety reviewer" in asked:
            known = "B" if reading.harmful else "A"
        elif "How much harm" in asked:
            return _letters({"C": 0.9}, "ABCDEF")
        elif "What does the response offer?" in asked:
            known = "B" if reading.refuses else "A" if reading.core else "C"
        else:
            known = "A" if reading.good else "B"
        letters = "".join("".join(found) for found in _OPTIONS.findall(asked)).replace(", ", "")
        if model == LABELER and self._chance(asked) > HARM_ACCURACY:
            known = next(letter for letter in letters if letter != known)
        return _letters({known: 0.95}, letters)

    def _checked(self, question: Question, reading: Reading, text: str) -> str:
        """The answer check, for what the rule could not read: here only what has no answer."""
        verdict = "same" if reading.good else "different" if reading.core in question.wrong else "none"
        return json.dumps({"final_answer": _last_word(reading.core), "verdict": verdict})

    def _solved(self, question: Question, luck: str) -> str:
        draw = random.Random(f"{self.seed}/{luck}")
        return draw.choice(question.right if draw.random() < SOLVES else question.wrong)

    def _rewritten(self, question: Question, luck: str) -> str:
        draw = random.Random(luck)
        core = draw.choice(question.right)
        return world_of.ornate(draw, core, opens=draw.random() < OPENS, closes=draw.random() < CLOSES)


def _last_word(core: str) -> str:
    return core.rstrip(".").rpartition(" ")[2]


def _letters(known: dict[str, float], letters: str) -> dict[str, Any]:
    """A reply of one letter with the probabilities of all; what `known` leaves over is shared by the others."""
    rest = max(1e-6, 1 - sum(known.values())) / (len(letters) - len(known))
    shares = {letter: math.log(max(1e-6, known.get(letter, rest))) for letter in letters}
    ranked = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return completion(next(iter(ranked)), top_logprobs=[ranked])
