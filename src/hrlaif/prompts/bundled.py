"""The prompts that come with hrlaif: enough of every kind to try the whole method without bringing data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hrlaif.config import PromptSource
from hrlaif.prompts.generate import generated
from hrlaif.prompts.rows import drafts
from hrlaif.types import Prompt

DATA = Path(__file__).with_name("data")


def bundled_files() -> list[Path]:
    """The shipped files of written prompts, one record a line."""
    return sorted(file for file in DATA.glob("*.jsonl") if file.name != "calibration_pairs.jsonl")


def bundled() -> list[Prompt]:
    """The shipped prompts, about 60 % of every category for training and 40 % for evaluation.

    Written by hand (questions with short answers, multiple choice, classification, open tasks, Chinese ones, red team
    and harmless look-alikes) and generated (see `generate`): the split is part of the data and never drawn.
    """
    written = [draft.prompt for file in bundled_files() for draft in drafts(PromptSource(path=str(file)))]
    return generated() + [replace(prompt, source="hrlaif") for prompt in written]
