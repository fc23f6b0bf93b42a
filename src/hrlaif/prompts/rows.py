"""Rows of a source turned into prompts: texts checked, answers brought into our form, what is missing inferred."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from hrlaif.config import PromptSource
from hrlaif.errors import DataError
from hrlaif.prompts import sources
from hrlaif.prompts.choices import letter_of, options, with_options
from hrlaif.prompts.columns import locate, value_at
from hrlaif.prompts.problems import Problems
from hrlaif.prompts.sources import SPLIT_NAMES, Row
from hrlaif.types import Message, Prompt, Split, Task

LONGEST_SHORT_ANSWER_WORDS = 5
ROLES = {"human": "user", "gpt": "assistant", **{role: role for role in ("system", "user", "assistant")}}
HAZARDS = tuple(f"S{number}" for number in range(1, 15))
NUMBER = re.compile(r"[-+]?[$€£¥]?\d[\d,]*(\.\d+)?\s*%?|[-+]?\d+\s*/\s*\d+|[-+]?\.\d+")
WORD = re.compile(r"[\u4e00-\u9fff]{1,2}|[^\s\u4e00-\u9fff]+")
LATEX = re.compile(r"\\[a-zA-Z]+|\$.+\$")
Member = TypeVar("Member", bound=Enum)


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt on its way in: where it stands, its normalised text, and what the source left open.

    `response` is the row's response as the source has it, for those who read demonstrations.
    """

    prompt: Prompt
    where: str
    text_key: str
    has_id: bool
    has_split: bool
    response: Any = None


def drafts(source: PromptSource) -> list[Draft]:
    """The prompts of one source.

    Raises:
        DataError: Rows or columns are wrong; up to 20 problems are listed together, each with file, line and id.
    """
    rows = sources.read(source.path)
    problems = Problems(source.path)
    fields: dict[str, tuple[str, ...]] = {}
    try:
        fields = locate(source.columns, list(dict.fromkeys(column for row in rows for column in row.values)))
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from error
    found = []
    for row in rows:
        values = {field: [value_at(row.values, column) for column in columns] for field, columns in fields.items()}
        try:
            found.append(_draft(row, values, source))
        except DataError as error:
            name = f" prompt {values['id'][0]!r}:" if values.get("id", [None])[0] is not None else ""
            problems.add(f"{row.where}:{name} {error}")
    problems.check()
    return found


def text_key(messages: tuple[Message, ...]) -> str:
    """The conversation without case, width, punctuation and spacing: equal keys are the same question."""
    said = " ".join(message.content for message in messages if message.role != "system")
    folded = unicodedata.normalize("NFKC", said).casefold()
    # Other signs stay: 3 + 4 and 3 - 4 are not the same question.
    return " ".join(re.split(r"[\s.,!?;:\"'“”‘’。、()]+", folded)).strip() or folded


def _draft(row: Row, values: Mapping[str, list[Any]], source: PromptSource) -> Draft:
    def one(field: str) -> str | None:
        return cell_text(values.get(field, [None])[0], field)

    choices, labels = options(values.get("choices", []))
    task = _member(Task, one("task")) or source.task
    hazard = _hazard(one("hazard"))
    reference = _reference(values.get("reference", [None])[0], task)
    task = task or _inferred(reference, choices, hazard)
    messages = _messages(values)
    lang = one("lang") or source.lang or _language(messages)
    key = " ".join((text_key(messages), *sorted(choices)))
    if task is Task.CHOICE:
        if len(choices) < 2:
            raise DataError(
                f"task choice needs a list of at least two choices, found {len(choices)}. "
                "Map columns.choices to it, or set another task."
            )
        is_index = isinstance(values.get("reference", [None])[0], int)
        reference = letter_of(reference, choices, labels, is_index=is_index)
        last = messages[-1]
        messages = (*messages[:-1], Message(last.role, with_options(last.content, choices, lang)))
    split = _split(one("split")) or row.split or source.split
    identity = one("id")
    prompt = Prompt(
        id=identity or "",
        messages=messages,
        category=one("category") or source.category or task.value,
        task=task,
        reference=reference,
        choices=choices,
        lang=lang,
        source=one("source") or Path(source.path).name,
        split=split or Split.TRAIN,
        hazard=hazard,
    )
    return Draft(prompt, row.where, key, identity is not None, split is not None, _response(values))


def _response(values: Mapping[str, list[Any]]) -> Any:
    """The response column, or what the assistant says at the end of the conversation."""
    written = values.get("response", [None])[0]
    if written is not None:
        return written
    turns = values.get("messages", values.get("prompt", [None]))[0]
    last = turns[-1] if isinstance(turns, list) and turns else None
    if isinstance(last, dict) and ROLES.get(str(last.get("role", last.get("from"))).lower()) == "assistant":
        return last.get("content", last.get("value"))
    return None


def cell_text(value: Any, field: str) -> str | None:
    """A cell as text without surrounding space; None where it is empty (null, NaN, blank)."""
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        raise DataError(
            f"{field} is a {type(value).__name__} ({str(value)[:60]!r}), not one text. "
            "Map the column, or the nested one (outer.inner), that holds the text."
        )
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{field} holds half of a character pair ({text[error.start : error.end]!r}). Repair it."
        ) from error
    return text or None


def _messages(values: Mapping[str, list[Any]]) -> tuple[Message, ...]:
    turns = values.get("messages", [None])[0] or None
    parts = values.get("prompt", [None])
    if turns is None and isinstance(parts[0], list):
        turns = parts[0]
    if turns is None:
        text = "\n\n".join(part for value in parts if (part := cell_text(value, "prompt")))
        if not text:
            raise DataError("the prompt is empty. Fill it in, or delete the row.")
        return (Message("user", text),)
    if not isinstance(turns, list):
        raise DataError(f"messages are a {type(turns).__name__}, not a list of {{role, content}}.")
    messages = [_message(turn) for turn in turns]
    while messages and messages[-1].role == "assistant":
        messages.pop()
    if not messages or messages[-1].role != "user":
        raise DataError(
            "no user turn that waits for an answer. A conversation must end with the user's turn "
            "(an assistant's turn after it is left out)."
        )
    return tuple(messages)


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise DataError(f"a message is {str(turn)[:60]!r}, not an object with role and content.")
    role = str(turn.get("role", turn.get("from"))).lower()
    if role not in ROLES:
        raise DataError(f"role {role!r} of a message is unknown; use system, user or assistant.")
    content = cell_text(turn.get("content", turn.get("value")), "message content")
    if content is None:
        raise DataError(f"a {role} message is empty. Fill it in, or delete the row.")
    return Message(ROLES[role], content)


def _reference(value: Any, task: Task | None) -> str | None:
    """The final answer: after the last `####` (GSM8K) or in the last boxed formula (MATH), else the whole text."""
    if isinstance(value, list):
        if len(value) > 1:
            raise DataError(f"reference is a list of {len(value)} answers ({str(value)[:60]}). Give one final answer.")
        value = value[0] if value else None
    text = cell_text(value, "reference")
    if text is None or task is Task.OPEN:
        return text
    if marked := re.findall(r"(?m)^\s*####\s*(\S.*)$", text):
        return str(marked[-1]).strip()
    return _boxed(text) or text


def _boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for end in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : end].strip() or None
    return None


def _inferred(reference: str | None, choices: tuple[str, ...], hazard: str | None) -> Task:
    if hazard:
        return Task.RED_TEAM
    if choices:
        return Task.CHOICE
    if reference is None:
        return Task.OPEN
    if NUMBER.fullmatch(reference):
        return Task.MATH
    if len(WORD.findall(reference)) > LONGEST_SHORT_ANSWER_WORDS:
        return Task.OPEN
    return Task.MATH if LATEX.search(reference) else Task.SHORT


def _member(kind: type[Member], text: str | None) -> Member | None:
    if text is None:
        return None
    try:
        return kind(text.lower())
    except ValueError as error:
        known = ", ".join(str(member.value) for member in kind)
        name = kind.__name__.lower()
        raise DataError(
            f'{name} {text!r} is unknown; use one of {known} (columns = {{ {name} = "" }} leaves that column unread).'
        ) from error


def _split(text: str | None) -> Split | None:
    return None if text is None else SPLIT_NAMES.get(text.lower()) or _member(Split, text)


def _hazard(text: str | None) -> str | None:
    if text is not None and text.upper() not in HAZARDS:
        raise DataError(f"hazard {text!r} is unknown; use {HAZARDS[0]} to {HAZARDS[-1]}.")
    return text.upper() if text else None


def _language(messages: tuple[Message, ...]) -> str:
    """Chinese where a fifth of the last turn's letters are Chinese characters, English otherwise."""
    text = messages[-1].content
    if text.isascii():
        return "en"
    chinese = len(re.findall(r"[\u4e00-\u9fff]", text))
    letters = len(re.findall(r"[^\W\d_]", text))
    return "zh" if 5 * chinese >= max(letters, 1) else "en"
