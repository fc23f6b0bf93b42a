"""Multiple choice: options, right letters and the text that asks."""

from typing import Any

import pytest

from hrlaif.errors import DataError
from hrlaif.prompts.choices import letter_of, options, with_options


@pytest.mark.parametrize(
    "values",
    [
        [["red", "green"]],
        ["red", "green"],
        ["red", "green", None],
        ['["red", "green"]'],
        ["['red', 'green']"],
        ["red | green"],
    ],
)
def test_choices_are_read_from_a_list_its_text_separators_or_several_columns(values: list[Any]) -> None:
    assert options(values) == (("red", "green"), ())


def test_no_choices_are_no_choices() -> None:
    assert options([]) == options([None]) == ((), ())


def test_labels_of_the_source_come_with_the_choices() -> None:
    assert options([{"text": ["red", "green"], "label": ["1", "2"]}]) == (("red", "green"), ("1", "2"))


@pytest.mark.parametrize("value", [3, '{"a": 1}', [["a"], ["b"]], [str(number) for number in range(27)]])
def test_what_is_not_a_list_of_texts_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"not a list of texts|more than there are letters"):
        options([value])


@pytest.mark.parametrize("reference", ["B", "b", "(B)", "B.", "green", "1"])
def test_the_right_choice_is_found_by_letter_text_or_index_from_zero(reference: str) -> None:
    assert letter_of(reference, ("red", "green"), is_index=False) == "B"


def test_an_unknown_right_choice_stays_unknown() -> None:
    assert letter_of(None, ("red", "green"), is_index=False) is None


def test_the_sources_own_label_comes_before_an_index() -> None:
    # Labelled 1, 2: "1" is the first choice, although index 1 is the second.
    assert letter_of("1", ("red", "green"), ("1", "2"), is_index=True) == "A"


def test_a_number_is_an_index_even_where_a_choice_reads_the_same() -> None:
    assert letter_of("1", ("1", "2"), is_index=True) == "B"


def test_a_text_that_could_be_an_index_or_a_choice_is_refused() -> None:
    with pytest.raises(DataError, match=r"could be an index \(choice B\) or the text of choice A"):
        letter_of("1", ("1", "2"), is_index=False)


@pytest.mark.parametrize("reference", ["C", "2", "blue", "-1"])
def test_a_reference_outside_the_choices_is_refused(reference: str) -> None:
    with pytest.raises(DataError, match="is none of the 2 choices"):
        letter_of(reference, ("red", "green"), is_index=False)


def test_a_question_gets_its_lettered_options_and_the_way_to_answer() -> None:
    assert with_options("Which {one}?", ("red", "green"), "en") == (
        "Which {one}?\n\nA. red\nB. green\n\n"
        'Give your reason in one or two sentences, then end with "Answer: " and the letter of the right option.'
    )
    assert "A. 红\nB. 绿\n\n请" in with_options("哪个？", ("红", "绿"), "zh")


@pytest.mark.parametrize("shown", ["A. red\nB. green", "(A) red (B) green", "A) red\nB) green", "A、red B、green"])
def test_a_question_that_shows_its_options_is_left_alone(shown: str) -> None:
    assert with_options(f"Which? {shown}", ("red", "green"), "en") == f"Which? {shown}"


def test_a_question_that_shows_only_some_options_gets_them_all() -> None:
    assert "B. green" in with_options("Which? A. red", ("red", "green"), "en")
