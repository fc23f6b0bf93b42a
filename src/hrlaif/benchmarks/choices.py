"""Multiple choice: MMLU, CMMLU, ARC and TruthfulQA (MC1), asked as letters or as the options' own words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from hrlaif.benchmarks.files import Row
from hrlaif.config import BenchmarkMode
from hrlaif.types import BenchmarkItem, BenchmarkResult, Message, Prompt, Response, Task
from hrlaif.verifiers import verify

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Their options are part of the question and letters are compared; elsewhere the options' texts are.
LETTERED = ("mmlu", "cmmlu")
ACCURACY, NORMALISED = "accuracy", "accuracy_length_normalised"


class Question(NamedTuple):
    """A question with its options and the index of the right one."""

    text: str
    options: tuple[str, ...]
    right: int
    category: str
    lang: str = "en"


def question_of(kind: str, row: Row) -> Question:
    """A published row as a question.

    Raises:
        DataError: Something is missing, or the right option is none of the options.
    """
    found = {"mmlu": _mmlu, "cmmlu": _cmmlu, "arc": _arc, "truthfulqa": _truthfulqa}[kind](row)
    if not 2 <= len(found.options) <= len(LETTERS) or not all(option.strip() for option in found.options):
        raise row.wrong(f"options are {list(found.options)!r:.80}; there must be at least two, none of them empty")
    if not 0 <= found.right < len(found.options):
        raise row.wrong("the right answer is none of the options")
    return found


def choice_item(name: str, kind: str, number: int, question: Question, mode: BenchmarkMode, ask: Any) -> BenchmarkItem:
    """A question as it is asked; `ask(question, options, lang)` writes the prompt of the generative mode."""
    if kind == "truthfulqa":
        question = _shuffled(question)
    lettered = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, question.options, strict=False))
    if mode == "generative":
        text = ask(question.text, question.options, question.lang)
    elif kind in LETTERED:
        text = _template(question.lang).format(question=question.text, options=lettered)
    else:
        text = question.text
    letters = tuple(LETTERS[: len(question.options)])
    prompt = Prompt(
        id=f"{name}/{number}",
        messages=(Message("user", text),),
        category=question.category,
        task=Task.CHOICE,
        reference=letters[question.right],
        choices=question.options,
        lang=question.lang,
        source=name,
    )
    texts = letters if kind in LETTERED else question.options
    return BenchmarkItem(name, kind, mode, prompt, 0, texts if mode == "loglikelihood" else ())


def by_likelihood(item: BenchmarkItem, logprobs: Sequence[float]) -> BenchmarkResult:
    """The option with the highest log-likelihood (nats), and with the highest per character; the first of equals."""
    letters = LETTERS[: len(logprobs)]
    per_character = [found / len(text) for found, text in zip(logprobs, item.continuations, strict=True)]
    best = letters[max(range(len(letters)), key=lambda index: logprobs[index])]
    best_normalised = letters[max(range(len(letters)), key=lambda index: per_character[index])]
    gold = item.prompt.reference
    scores: dict[str, bool | None] = {ACCURACY: best == gold}
    # One letter each: both readings are the same.
    if item.kind not in LETTERED:
        scores[NORMALISED] = best_normalised == gold
    evidence = {
        "logprobs_nats": dict(zip(letters, logprobs, strict=True)),
        "characters": [len(text) for text in item.continuations],
        "chosen": best,
        "chosen_length_normalised": best_normalised,
        "right": gold,
    }
    return BenchmarkResult(
        item.benchmark, item.kind, item.mode, item.prompt.id, item.prompt.category, None, scores, evidence
    )


def by_final_answer(item: BenchmarkItem, response: Response) -> tuple[dict[str, bool | None], dict[str, Any]]:
    """Whether the answer's final option or value is the right one; an answer without one is not correct."""
    found = verify(item.prompt, response)
    evidence = {"found": found.found, "right": item.prompt.reference, "outcome": found.outcome.value}
    return {ACCURACY: found.outcome.value == "correct"}, evidence


def _mmlu(row: Row) -> Question:
    listed = row.value("choices")
    options = listed if isinstance(listed, (list, tuple)) else [row.value(letter) for letter in "ABCD"]
    texts = tuple("" if option is None else str(option) for option in options)
    return Question(row.text("question"), texts, _index(row.value("answer")), str(row.value("subject") or row.stem))


def _cmmlu(row: Row) -> Question:
    texts = tuple("" if (option := row.value(letter)) is None else str(option) for letter in "ABCD")
    return Question(row.text("Question"), texts, _index(row.value("Answer")), row.stem, "zh")


def _arc(row: Row) -> Question:
    question, key = row.value("question"), str(row.value("answerKey"))
    listed = question.get("choices") if isinstance(question, Mapping) else row.value("choices")
    if isinstance(listed, Mapping):
        listed = [
            {"text": text, "label": label}
            for text, label in zip(listed.get("text", ()), listed.get("label", ()), strict=False)
        ]
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise row.wrong(f"no choices with text and label (seen: {str(listed)[:60]!r})")
    stem = question.get("stem") if isinstance(question, Mapping) else question
    if not isinstance(stem, str) or not stem.strip():
        raise row.wrong("no text in 'question' or its 'stem'")
    labels = [str(one.get("label")) for one in listed]
    return Question(stem, tuple(str(one.get("text") or "") for one in listed), _place(labels, key), "arc")


def _truthfulqa(row: Row) -> Question:
    targets = row.value("mc1_targets")
    if isinstance(targets, Mapping) and isinstance(targets.get("choices"), (list, tuple)):
        targets = dict(zip(targets["choices"], targets.get("labels", ()), strict=False))
    if not isinstance(targets, Mapping) or list(targets.values()).count(1) != 1:
        raise row.wrong(f"mc1_targets must name options of which exactly one is 1 (seen: {str(targets)[:60]!r})")
    return Question(row.text("question"), tuple(targets), list(targets.values()).index(1), "truthfulqa")


def _index(answer: Any) -> int:
    if isinstance(answer, str) and not answer.strip().isdecimal():
        return LETTERS.find(answer.strip().upper()) if len(answer.strip()) == 1 else -1
    try:
        return int(answer)
    except (TypeError, ValueError):
        return -1


def _place(labels: Sequence[str], key: str) -> int:
    return labels.index(key) if key in labels else -1


def _shuffled(question: Question) -> Question:
    """TruthfulQA lists the right option first; the order follows from the texts instead."""
    order = sorted(
        range(len(question.options)),
        key=lambda index: hashlib.sha256(f"{question.text}\n{question.options[index]}".encode()).digest(),
    )
    options = tuple(question.options[index] for index in order)
    return question._replace(options=options, right=order.index(question.right))


@cache
def _template(lang: str) -> str:
    return resources.files("hrlaif.benchmarks").joinpath(f"letter_{lang}.txt").read_text("utf-8").strip()
