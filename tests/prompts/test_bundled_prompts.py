"""The shipped prompts: enough, correct, apart."""

import re
from collections import Counter, defaultdict
from pathlib import Path

from hrlaif.prompts import bundled
from hrlaif.prompts.generate import generated
from hrlaif.prompts.rows import text_key
from hrlaif.types import Prompt, Split, Task

SHIPPED = bundled()
GENERATED = generated()


def _facts(prompt: Prompt) -> tuple[str, ...]:
    """The numbers of a generated prompt and whether they are added: what must not be on both sides."""
    numbers = sorted(re.findall(r"\d+", prompt.question))
    return (*numbers, str(prompt.reference))


def test_there_are_enough_checkable_generated_prompts_for_an_experiment() -> None:
    splits = Counter(prompt.split for prompt in GENERATED if prompt.task.is_checkable)
    assert splits[Split.TRAIN] >= 300
    assert splits[Split.EVALUATION] >= 150


def test_every_category_is_divided_about_three_to_two() -> None:
    by_category = defaultdict(list)
    for prompt in SHIPPED:
        by_category[prompt.category].append(prompt.split is Split.TRAIN)
    shares = {category: sum(is_train) / len(is_train) for category, is_train in by_category.items()}
    assert len(shares) >= 14
    assert {category: share for category, share in shares.items() if not 0.5 <= share <= 0.7} == {}


def test_ids_and_texts_occur_once() -> None:
    assert [name for name, count in Counter(prompt.id for prompt in SHIPPED).items() if count > 1] == []
    assert [text for text, count in Counter(text_key(prompt.messages) for prompt in SHIPPED).items() if count > 1] == []


def test_there_are_chinese_prompts_of_several_kinds() -> None:
    chinese = Counter(prompt.task for prompt in SHIPPED if prompt.lang == "zh")
    assert chinese[Task.MATH] >= 20
    assert chinese[Task.SHORT] >= 10
    assert chinese[Task.OPEN] >= 20


def test_every_checkable_prompt_has_a_reference_and_no_open_one_has() -> None:
    wrong = [prompt.id for prompt in SHIPPED if prompt.task.is_checkable != (prompt.reference is not None)]
    assert wrong == []


def test_multiple_choice_shows_its_options_and_its_right_letters_are_spread() -> None:
    asked = [prompt for prompt in SHIPPED if prompt.task is Task.CHOICE]
    for prompt in asked:
        assert all(f"\n{'ABCD'[n]}. {choice}" in prompt.question for n, choice in enumerate(prompt.choices))
    letters = Counter(prompt.reference for prompt in asked if len(prompt.choices) == 3)
    assert max(letters.values()) <= min(letters.values()) + 2


def test_a_fact_that_is_trained_on_is_never_evaluated_in_any_wording_or_language() -> None:
    sides = defaultdict(set)
    for prompt in GENERATED:
        kind = "counting" if prompt.category == "counting" else "sum"
        sides[kind, _facts(prompt)].add(prompt.split)
    assert [fact for fact, splits in sides.items() if len(splits) > 1] == []


def test_every_generated_reference_is_the_answer_of_its_text() -> None:
    for prompt in GENERATED:
        numbers = sorted(int(number) for number in re.findall(r"\d+", prompt.question))
        if prompt.category == "counting":
            expected = numbers[-1] + 1
        else:
            low, high = numbers
            expected = {"add": high + low, "take": high - low}[prompt.id.split("-")[1]]
        assert prompt.reference == str(expected), prompt


def test_both_ways_of_answering_are_asked_for() -> None:
    for lang, only, first in (
        ("en", "Answer with the number only.", "Explain in one"),
        ("zh", "只回答数字", "请先用一句话"),
    ):
        texts = [prompt.question for prompt in GENERATED if prompt.lang == lang]
        assert 0.3 < sum(only in text for text in texts) / len(texts) < 0.7
        assert all((only in text) != (first in text) for text in texts)


def test_the_guide_counts_the_prompts_of_each_kind() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    counts = Counter(prompt.task.value for prompt in SHIPPED)
    told = dict(re.findall(r"^\|.*\| (\d+)[^|]*\| (\w+) \|$", guide, flags=re.MULTILINE))
    assert {task: int(count) for count, task in told.items()} == counts
    assert f"{len(SHIPPED):,} prompts" in guide
