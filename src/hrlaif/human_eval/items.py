"""What raters are shown: two arms' answers to one evaluation prompt, or two training responses of the start, and
pairs whose better answer is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hrlaif.artifacts import evenly
from hrlaif.errors import ConfigError, DataError
from hrlaif.types import CalibrationPair, Finish, Message, Prompt, Response, Split, Task, Verdict

_KNOWN = {"A": Verdict.FIRST, "B": Verdict.SECOND}
CHECK = "check"
"""What stands for the arms of a pair that checks raters."""


@dataclass(frozen=True, slots=True)
class Item:
    """Two responses to one prompt. `known` is the right verdict where the pair is there to check raters.

    The arms of two training responses are "": all are the start's.
    """

    prompt: Prompt
    first: Response
    second: Response
    first_arm: str
    second_arm: str
    known: Verdict | None = None


def comparisons(text: str, arms: Sequence[str], models: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """The pairs of `rlaif:start,hrlaif:start`; empty text means each arm and further model against the start, and the
    last two arms.

    Raises:
        ConfigError: A name is unknown, or compared with itself.
    """
    if not text:
        start, *others = arms
        last_two = [(others[-1], others[-2])] if len(others) > 1 else []
        return (*((arm, start) for arm in others), *last_two, *((model, start) for model in models))
    pairs = []
    for part in text.split(","):
        first, _, second = (name.strip() for name in part.partition(":"))
        if first == second or not {first, second} <= {*arms, *models}:
            known = ", ".join((*arms, *models))
            raise ConfigError(f"--compare: {part.strip()!r} is no comparison. Name two of {known} as in rlaif:start.")
        pairs.append((first, second))
    return tuple(pairs)


def arm_items(
    prompts: Sequence[Prompt],
    answers: Mapping[str, Mapping[str, Response]],
    compare: Sequence[tuple[str, str]],
    *,
    most_prompts: int = 0,
) -> tuple[list[Item], list[tuple[str, str, str]]]:
    """The pairs to rate, and those that nobody has to read because both arms wrote the same (prompt id, named ids).

    `most_prompts` (0: all) takes that many evaluation prompts evenly from the file.

    Raises:
        DataError: An arm has no answer to an evaluation prompt.
    """
    chosen = evenly([prompt for prompt in prompts if prompt.split is Split.EVALUATION], most_prompts)
    found: list[Item] = []
    same: list[tuple[str, str, str]] = []
    for prompt in chosen:
        for first, second in compare:
            pair = [_answer(answers, arm, prompt) for arm in (first, second)]
            if pair[0].text.strip() == pair[1].text.strip():
                same.append((prompt.id, named(first, pair[0]), named(second, pair[1])))
                continue
            found.append(Item(prompt, pair[0], pair[1], first, second))
    return found, same


def named(arm: str, response: Response) -> str:
    """An id that tells the arms' answers apart: all arms number theirs alike. Training responses keep their own."""
    return f"{arm}:{response.id}" if arm else response.id


def _answer(answers: Mapping[str, Mapping[str, Response]], arm: str, prompt: Prompt) -> Response:
    try:
        return answers[arm][prompt.id]
    except KeyError as error:
        raise DataError(f"arm {arm!r} has no answer to prompt {prompt.id!r}: run `hrlaif evaluate` first.") from error


def check_items(pairs: Sequence[CalibrationPair], *, wanted: int, langs: frozenset[str], seed: int) -> list[Item]:
    """Pairs whose better answer is plain, in the languages of the prompts; drawn by the seed."""
    able = [pair for pair in pairs if pair.label in _KNOWN and pair.lang in langs]
    able.sort(key=lambda pair: hashlib.sha256(f"{seed}/{pair.id}".encode()).digest())
    return [_check(pair) for pair in able[:wanted]]


def _check(pair: CalibrationPair) -> Item:
    prompt = Prompt(pair.id, (Message("user", pair.prompt),), CHECK, Task.OPEN, lang=pair.lang, source=pair.source)
    first, second = (
        Response(f"{pair.id}/{side}", pair.id, text, CHECK, 0, Finish.STOP)
        for side, text in (("a", pair.response_a), ("b", pair.response_b))
    )
    return Item(prompt, first, second, CHECK, CHECK, _KNOWN[pair.label])


def shuffled(items: Sequence[Item], *, seed: int) -> list[Item]:
    """The items in an order that says nothing: their numbers are all that a rater could learn about them."""

    def key(one: Item) -> bytes:
        name = json.dumps([seed, one.prompt.id, named(one.first_arm, one.first), named(one.second_arm, one.second)])
        return hashlib.sha256(name.encode()).digest()

    return sorted(items, key=key)
