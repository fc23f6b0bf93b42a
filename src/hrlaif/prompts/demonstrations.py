"""Prompts with the responses to learn, for supervised fine-tuning: the same sources, columns and rules as prompts."""

from __future__ import annotations

import warnings
from collections.abc import Collection

from hrlaif.config import SftSection
from hrlaif.errors import DataError
from hrlaif.prompts.load import read_drafts
from hrlaif.prompts.problems import Problems
from hrlaif.prompts.rows import cell_text, text_key
from hrlaif.prompts.split import divide
from hrlaif.types import Demonstration, Prompt


def demonstrations(section: SftSection, *, seed: int, keep_out: Collection[Prompt] = ()) -> list[Demonstration]:
    """The demonstrations of all sources, in order; `held_out` of them, and rows of evaluation splits, for EVALUATION.

    Those whose conversation is also that of a prompt in `keep_out` (the run's evaluation prompts) are left out, with a
    warning that counts them.

    Raises:
        DataError: A source or a row is wrong, a response is missing, or nothing is left to train on; problems are
            listed together.
    """
    found = read_drafts(section, seed=seed)
    problems, responses = Problems("sft.sources"), {}
    for draft in found:
        try:
            response = cell_text(draft.response, "response")
        except DataError as error:
            problems.add(f"{draft.where}: {error}")
            continue
        if response is None:
            problems.add(
                f'{draft.where}: no response to learn. Name its column, e.g. columns = {{ response = "answer" }}, or '
                "end the conversation with the assistant's turn."
            )
        else:
            responses[draft.prompt.id] = response
    problems.check()
    evaluated = {text_key(prompt.messages) for prompt in keep_out}
    free = [draft for draft in found if text_key(draft.prompt.messages) not in evaluated]
    if left_out := len(found) - len(free):
        warnings.warn(f"{left_out} demonstration(s) left out: the same text is an evaluation prompt.", stacklevel=2)
    divided = divide(free, evaluation_share=section.held_out, seed=seed)
    return [Demonstration(prompt, responses[prompt.id]) for prompt in divided]
