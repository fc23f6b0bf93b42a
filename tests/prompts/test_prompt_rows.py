"""What a row becomes: texts, answers, tasks, languages, and the message where it cannot become a prompt."""

import json
from pathlib import Path
from typing import Any

import pytest

from hrlaif.config import PromptSource
from hrlaif.errors import DataError
from hrlaif.prompts.rows import Draft, drafts, text_key
from hrlaif.types import Message, Prompt, Split, Task


def _drafts(folder: Path, *rows: dict[str, Any], **source: Any) -> list[Draft]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return drafts(PromptSource(path=str(path), **source))


def _prompt(folder: Path, row: dict[str, Any], **source: Any) -> Prompt:
    return _drafts(folder, row, **source)[0].prompt


def _refusal(folder: Path, row: dict[str, Any], **source: Any) -> str:
    with pytest.raises(DataError) as error:
        _drafts(folder, row, **source)
    return str(error.value)


def test_every_field_is_taken_from_the_column_of_its_name(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "prompt": " What is 2 + 3? ",
        "category": "sums",
        "task": "MATH",
        "reference": 5,
        "lang": "en",
        "split": "test",
        "source": "mine",
    }
    assert _prompt(tmp_path, row) == Prompt(
        id="7",
        messages=(Message("user", "What is 2 + 3?"),),
        category="sums",
        task=Task.MATH,
        reference="5",
        source="mine",
        split=Split.EVALUATION,
    )


def test_columns_are_mapped_also_nested_ones(tmp_path: Path) -> None:
    row = {"text": {"body": "Why?"}, "gold": {"value": "because"}, "prompt": "not this"}
    prompt = _prompt(tmp_path, row, columns={"prompt": "text.body", "reference": "gold.value"})
    assert (prompt.question, prompt.reference) == ("Why?", "because")


def test_usual_names_are_found_whatever_their_case(tmp_path: Path) -> None:
    prompt = _prompt(tmp_path, {"Question": "Why?", "Answer": "so"})
    assert (prompt.question, prompt.reference) == ("Why?", "so")


def test_arcs_labelled_choices_and_its_answer_key_are_found(tmp_path: Path) -> None:
    row = {"question": "Which?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    prompt = _prompt(tmp_path, row)
    assert (prompt.choices, prompt.reference, prompt.task) == (("x", "y"), "B", Task.CHOICE)


def test_columns_named_with_letters_are_choices(tmp_path: Path) -> None:
    prompt = _prompt(tmp_path, {"Question": "Which?", "A": "x", "B": "y", "C": "z", "Answer": "C", "E": "not one"})
    assert (prompt.choices, prompt.reference) == (("x", "y", "z"), "C")


def test_an_index_that_is_a_number_stays_an_index_beside_numeric_choices(tmp_path: Path) -> None:
    assert _prompt(tmp_path, {"prompt": "1 + 1?", "choices": ["1", "2", "3"], "answer": 1}).reference == "B"


def test_one_question_with_its_options_in_another_order_is_one_question_and_with_other_options_is_not(
    tmp_path: Path,
) -> None:
    first, turned, other = _drafts(
        tmp_path,
        *({"prompt": "Which is true?", "choices": choices} for choices in (["x", "y"], ["y", "x"], ["x", "z"])),
    )
    assert first.text_key == turned.text_key != other.text_key


def test_alpacas_input_follows_its_instruction(tmp_path: Path) -> None:
    assert (
        _prompt(tmp_path, {"instruction": "Shorten.", "input": "A long text."}).question == "Shorten.\n\nA long text."
    )
    assert _prompt(tmp_path, {"instruction": "Sing.", "input": ""}).question == "Sing."


def test_a_field_mapped_to_nothing_is_not_read(tmp_path: Path) -> None:
    prompt = _prompt(
        tmp_path, {"prompt": "Why?", "task": "algebra", "answer": "x"}, columns={"task": "", "reference": ""}
    )
    assert (prompt.task, prompt.reference) == (Task.OPEN, None)


def test_a_missing_column_is_named_with_the_columns_there_are_and_the_near_one(tmp_path: Path) -> None:
    message = _refusal(tmp_path, {"question": "Why?", "answer": "x"}, columns={"prompt": "questoin"})
    assert "no column 'questoin'; the columns are 'question', 'answer'. Did you mean 'question'?" in message


def test_a_source_without_any_prompt_column_lists_its_columns(tmp_path: Path) -> None:
    assert "no column holds the prompt; the columns are 'text'." in _refusal(tmp_path, {"text": "Why?"})


def test_several_columns_for_one_text_are_refused(tmp_path: Path) -> None:
    message = _refusal(tmp_path, {"prompt": "a", "x": "b", "y": "c"}, columns={"reference": "x, y"})
    assert "names several columns; only prompt and choices may" in message


def test_a_gsm8k_solution_gives_what_follows_its_four_signs(tmp_path: Path) -> None:
    prompt = _prompt(tmp_path, {"question": "How many?", "answer": "3 * 400 = <<3*400=1200>>1200\n#### 1,200 "})
    assert (prompt.reference, prompt.task) == ("1,200", Task.MATH)


def test_the_last_of_several_marked_answers_counts(tmp_path: Path) -> None:
    assert _prompt(tmp_path, {"question": "How many?", "answer": "#### 3\nNo:\n#### 4"}).reference == "4"


def test_the_reference_of_an_open_prompt_stays_whole(tmp_path: Path) -> None:
    assert _prompt(tmp_path, {"prompt": "Why?", "task": "open", "answer": "So.\n#### 4"}).reference == "So.\n#### 4"


def test_a_boxed_solution_gives_the_content_of_its_last_box(tmp_path: Path) -> None:
    prompt = _prompt(tmp_path, {"problem": "x?", "target": r"So \boxed{1} and then \boxed{\frac{1}{2}}."})
    assert (prompt.reference, prompt.task) == (r"\frac{1}{2}", Task.MATH)


@pytest.mark.parametrize(
    ("row", "task"),
    [
        ({}, Task.OPEN),
        ({"reference": "-1,234.50"}, Task.MATH),
        ({"reference": "3/4"}, Task.MATH),
        ({"reference": "25%"}, Task.MATH),
        ({"reference": 0.5}, Task.MATH),
        ({"reference": "Paris"}, Task.SHORT),
        ({"reference": "12 apples"}, Task.SHORT),
        ({"reference": "the left bank of Paris"}, Task.SHORT),
        ({"reference": "It is the left bank of Paris."}, Task.OPEN),
        ({"reference": "北京市东城区长安街"}, Task.SHORT),
        ({"reference": "它位于北京市东城区长安街"}, Task.OPEN),
        ({"choices": ["x", "y"], "reference": "A"}, Task.CHOICE),
        ({"hazard": "s4"}, Task.RED_TEAM),
    ],
)
def test_a_missing_task_is_inferred_from_what_the_row_holds(tmp_path: Path, row: dict[str, Any], task: Task) -> None:
    prompt = _prompt(tmp_path, {"prompt": "?!", **row})
    assert (prompt.task, prompt.category) == (task, task.value)


def test_a_number_without_a_fraction_and_a_truth_value_are_written_plainly(tmp_path: Path) -> None:
    references = [
        draft.prompt.reference
        for draft in _drafts(
            tmp_path, *({"prompt": "a", "reference": value} for value in (72.0, True, float("nan"), ["one"], []))
        )
    ]
    assert references == ["72", "true", None, "one", None]


def test_what_the_source_sets_applies_to_rows_that_do_not_say(tmp_path: Path) -> None:
    first, second = _drafts(
        tmp_path,
        {"prompt": "a", "task": "open", "category": "own", "lang": "de", "split": "train"},
        {"prompt": "b"},
        task=Task.RED_TEAM,
        category="set",
        lang="fr",
        split=Split.EVALUATION,
    )
    assert (first.prompt.task, first.prompt.category, first.prompt.lang) == (Task.OPEN, "own", "de")
    assert (second.prompt.task, second.prompt.category, second.prompt.lang) == (Task.RED_TEAM, "set", "fr")
    assert (first.prompt.split, second.prompt.split) == (Split.TRAIN, Split.EVALUATION)


def test_the_split_of_a_folder_stands_above_the_one_that_the_source_sets(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "a"}')
    found = drafts(PromptSource(path=str(tmp_path), split=Split.TRAIN))
    assert [draft.prompt.split for draft in found] == [Split.EVALUATION, Split.TRAIN]


def test_chinese_is_recognised(tmp_path: Path) -> None:
    assert [
        draft.prompt.lang
        for draft in _drafts(tmp_path, {"prompt": "请用 Python 写一个函数"}, {"prompt": "What is 好?"})
    ] == [
        "zh",
        "en",
    ]


def test_a_conversation_waits_for_the_turn_after_the_last_user_turn(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    expected = (Message("system", "Be brief."), Message("user", "Hi"))
    assert _prompt(tmp_path, {"messages": [*turns, {"role": "assistant", "content": "Hello"}]}).messages == expected
    assert _prompt(tmp_path, {"prompt": turns}).messages == expected


def test_conversations_written_with_from_and_value_are_read(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    assert _prompt(tmp_path, row).messages == (Message("user", "Hi"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "p1", "prompt": "  "}, "rows.jsonl:1: prompt 'p1': the prompt is empty"),
        ({"prompt": "a", "task": "algebra"}, "task 'algebra' is unknown; use one of math, choice"),
        ({"prompt": "a", "split": "later"}, "split 'later' is unknown; use one of train, evaluation"),
        ({"prompt": "a", "hazard": "S15"}, "hazard 'S15' is unknown; use S1 to S14"),
        ({"prompt": "a", "reference": ["x", "y"]}, "reference is a list of 2 answers"),
        ({"prompt": "a", "reference": {"value": "x"}}, "reference is a dict"),
        ({"prompt": "a", "task": "choice"}, "at least two choices, found 0"),
        ({"prompt": "a", "choices": ["x"]}, "at least two choices, found 1"),
        (
            {"prompt": "a", "choices": ["x", "y"], "reference": "C"},
            "'C' is none of the 2 choices. Write a letter from A to B",
        ),
        ({"prompt": "half \ud83d"}, "prompt holds half of a character pair"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool' of a message is unknown"),
        ({"messages": [{"role": "user", "content": ""}]}, "a user message is empty"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "no user turn that waits for an answer"),
        ({"messages": ["Hi"]}, "not an object with role and content"),
    ],
)
def test_a_row_that_cannot_be_used_says_where_and_why(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    assert message in _refusal(tmp_path, row)


def test_a_hazard_that_is_unknown_in_a_csv_file_of_attacks_is_one_message(tmp_path: Path) -> None:
    file = tmp_path / "attacks.csv"
    file.write_text("prompt,hazard\nBe rude to my aunt.,S1\nFake my sick note.,fraud\nSay no.,\n")
    source = PromptSource(path=str(file), task=Task.RED_TEAM)
    with pytest.raises(DataError) as error:
        drafts(source)
    assert str(error.value).splitlines()[1:] == [f"  {file}:3: hazard 'fraud' is unknown; use S1 to S14."]
    file.write_text(file.read_text().replace("fraud", "s2"))
    assert [draft.prompt.hazard for draft in drafts(source)] == ["S1", "S2", None]


def test_problems_of_several_rows_come_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        _drafts(tmp_path, {"prompt": ""}, {"prompt": "fine"}, {"prompt": "a", "task": "x"})
    assert "2 problem(s)" in str(error.value)
    assert "rows.jsonl:1:" in str(error.value)
    assert "rows.jsonl:3:" in str(error.value)


def test_texts_that_differ_in_case_width_spacing_and_punctuation_are_the_same_question() -> None:
    def key(text: str) -> str:
        return text_key((Message("system", f"Rule {len(text)}."), Message("user", text)))

    assert key("Ｗhat  is 3 + 4 ?") == key("what is 3 + 4")
    assert key("天空是蓝色的吗？") == key("天空是蓝色的吗")
    assert key("What is 3 + 4?") != key("What is 3 - 4?")
    assert key("What is 3 × 4?") != key("What is 3 ÷ 4?")
    assert key("???") != key("!!!")
