"""All prompts of a run, from every source of its configuration."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hrlaif.artifacts import fingerprint
from hrlaif.config import BUNDLED, PromptSource, PromptsSection, SftSection
from hrlaif.errors import DataError
from hrlaif.prompts.bundled import bundled, bundled_files
from hrlaif.prompts.problems import Problems
from hrlaif.prompts.rows import Draft, drafts, text_key
from hrlaif.prompts.sources import files_of
from hrlaif.prompts.split import divide, take_evenly
from hrlaif.storage import File
from hrlaif.types import Prompt, Split


def load(section: PromptsSection, *, seed: int) -> list[Prompt]:
    """The prompts of a run, each with its id and split, in the order of their sources.

    Same configuration, files and seed, same prompts. See docs/data.md for the sources and the rules.

    Raises:
        DataError: A source or a row is wrong, two prompts have one id, or a split is empty; problems of one source
            are listed together.
    """
    if not section.sources:
        raise DataError('prompts.sources is empty. Name a file, a dataset folder or "bundled".')
    found = read_drafts(section, seed=seed)
    prompts = divide(found, evaluation_share=section.evaluation_share, seed=seed)
    chosen: set[str] = set()
    for split, limit in ((Split.TRAIN, section.train), (Split.EVALUATION, section.evaluation)):
        of_split = [prompt for prompt in prompts if prompt.split is split]
        # A share of exactly 0 or 1 asks for one side only.
        if not of_split and section.evaluation_share != (0 if split is Split.EVALUATION else 1):
            free = sum(not draft.has_split for draft in found)
            raise DataError(
                f"none of the {len(prompts)} prompts is for {split.value}: {free} of them carry no split, and "
                f"evaluation_share = {section.evaluation_share} of those are for evaluation. Add a source with "
                f'split = "{split.value}", add prompts, or leave a split column unread (columns = {{ split = "" }}).'
            )
        chosen.update(prompt.id for prompt in take_evenly(of_split, limit, seed=seed))
    return [prompt for prompt in prompts if prompt.id in chosen]


def read_drafts(section: PromptsSection | SftSection, *, seed: int) -> list[Draft]:
    """The rows of all sources of a section, each with its id."""
    return _with_ids([draft for source in section.sources for draft in _drafts(source, seed)])


def input_files(section: PromptsSection | SftSection) -> list[File]:
    """Every file that is read for this section, for a fingerprint of its input.

    Raises:
        DataError: A source is missing or of a kind that cannot be read.
    """
    files: list[File] = []
    for source in section.sources:
        is_bundled = source.path == BUNDLED
        files += bundled_files() if is_bundled else [file for file, _ in files_of(source.path)]
    return files


def _drafts(source: PromptSource, seed: int) -> list[Draft]:
    if source.path == BUNDLED:
        found = [Draft(prompt, "bundled", text_key(prompt.messages), True, True) for prompt in bundled()]
    else:
        found = drafts(source)
    if not source.limit or source.limit >= len(found):
        return found
    # Ids may still be missing; positions stand in for them.
    numbered = [replace(draft.prompt, id=str(position)) for position, draft in enumerate(found)]
    return [found[int(prompt.id)] for prompt in take_evenly(numbered, source.limit, seed=seed)]


def _with_ids(found: Sequence[Draft]) -> list[Draft]:
    """Ids for the rows that have none, from file name and content: they stay when rows are added or moved."""
    problems = Problems("sources")
    where: dict[str, str] = {}
    for draft in found:
        if draft.has_id:
            if draft.prompt.id in where:
                first = where[draft.prompt.id]
                problems.add(f"{draft.where}: prompt id {draft.prompt.id!r} is already at {first}. Rename one of them.")
            where.setdefault(draft.prompt.id, draft.where)
    problems.check()
    taken = set(where)
    complete = []
    for draft in found:
        if not draft.has_id:
            identity = next(name for name in _names(draft.prompt) if name not in taken)
            taken.add(identity)
            draft = replace(draft, prompt=replace(draft.prompt, id=identity))
        complete.append(draft)
    return complete


def _names(prompt: Prompt) -> Iterator[str]:
    """Possible ids of a prompt without one: the second row with the same content gets the second, and so on."""
    content = fingerprint([(message.role, message.content) for message in prompt.messages], prompt.choices)[:12]
    name = f"{re.sub(r'[^a-zA-Z0-9_-]+', '-', prompt.source.partition('.')[0])}-{content}"
    yield name
    yield from (f"{name}-{copy}" for copy in itertools.count(2))
