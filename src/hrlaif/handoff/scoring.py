"""Rows of OpenRLHF's reward protocol, read and scored by an arm's reward model, with the verifier where asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hrlaif.errors import DataError, ModelError
from hrlaif.types import Finish, Message, Outcome, Prompt, Response
from hrlaif.verifiers import verify

SIGN = {Outcome.CORRECT: 1.0, Outcome.WRONG: -1.0}


class TextReward(Protocol):
    """A reward model that also takes prompts which a chat template has rendered already (a str)."""

    @property
    def end_texts(self) -> Sequence[str]:
        """The spellings of the tokens that end a response."""

    def is_rendered(self, prompt: str) -> bool:
        """True where the text spells out special tokens, as chat templates do."""

    def respelled(self, prompt: str) -> str:
        """The prompt after a round trip through the tokenizer: how an engine that decodes tokens spells it."""

    def score(self, conversations: Iterable[tuple[tuple[Message, ...] | str, str]]) -> list[float]:
        """One score per (messages or rendered prompt, response text)."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`reward` is what is trained on, `score` the reward model's share. `outcome` is None where nothing was checked."""

    reward: float
    score: float
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class Row:
    """A query split into prompt and response. `known` is the run's prompt that the label names, if it names one."""

    prompt: tuple[Message, ...] | str
    response: str
    finish: Finish
    known: Prompt | None


class ArmReward:
    """`reward = score + verifier_weight * (1 if correct, -1 if wrong)`; an answer that no rule can read adds nothing.

    A row whose label is the id of one of the run's prompts is rendered anew from that prompt's messages, by the one
    function that rendered them in training. Of any other row the prompt's text is taken as it is: as rendered where it
    holds special tokens, else as one user turn.
    """

    def __init__(self, model: TextReward, prompts: Iterable[Prompt], *, verifier_weight: float = 0.0) -> None:
        self.model = model
        self.prompts: Mapping[str, Prompt] = {prompt.id: prompt for prompt in prompts}
        self.verifier_weight = verifier_weight

    def read(self, query: str, prompt: str, label: str) -> Row:
        """Split one row; one end token is taken off the response, which without it counts as cut off.

        Raises:
            DataError: The query does not start with its prompt, or the label names a prompt that asks something else.
        """
        spelled = prompt if query.startswith(prompt) else self.model.respelled(prompt)
        if not query.startswith(spelled):
            raise DataError(
                f"the query does not start with its prompt ({prompt[:60]!r}). "
                "If the trainer cut it, allow longer prompts."
            )
        response, is_rendered = query[len(spelled) :], self.model.is_rendered(prompt)
        end = next((end for end in self.model.end_texts if response.endswith(end)), None)
        finish = Finish.LENGTH if is_rendered and end is None else Finish.STOP
        response = response.removesuffix(end) if end else response
        known = self.prompts.get(label)
        if known is not None:
            if known.question.strip() not in prompt:
                raise DataError(f"the label {label!r} names a prompt of this run that asks something else.")
            return Row(known.messages, response, finish, known)
        return Row(prompt if is_rendered else (Message("user", prompt),), response, finish, None)

    def score(self, rows: Sequence[Row]) -> list[Scored]:
        """Scores in the order of the rows.

        Raises:
            ModelError: A score is no finite number.
        """
        scores = self.model.score((row.prompt, row.response) for row in rows)
        if not all(map(math.isfinite, scores)):
            raise ModelError("the reward model gave a score that is no finite number. Train it again.")
        return [self._scored(row, score) for row, score in zip(rows, scores, strict=True)]

    def _scored(self, row: Row, score: float) -> Scored:
        known = row.known
        if self.verifier_weight == 0 or known is None or not known.task.is_checkable or known.reference is None:
            return Scored(score, score, None)
        outcome = verify(known, Response("", known.id, row.response, "", 0, row.finish)).outcome
        return Scored(score + self.verifier_weight * SIGN.get(outcome, 0.0), score, outcome)
