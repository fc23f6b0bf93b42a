"""Own cases for the CHOICE verifier: the letter that a careful reader would take, None where none is committed."""

import pytest

from hrlaif.errors import DataError
from hrlaif.types import Finish, Outcome
from hrlaif.verifiers.choice import read_choice, verify_choice
from hrlaif.verifiers.options import options_of

CITIES = ("London", "Paris", "Rome", "Madrid")
TEN = tuple("alpha beta gamma delta epsilon zeta eta theta iota kappa".split())

WORDINGS = [
    ("The answer is (B).", "B"),
    ("The answer is B.", "B"),
    ("The answer is: B", "B"),
    ("The answer is **B**.", "B"),
    ("**B**", "B"),
    ("B", "B"),
    ("B.", "B"),
    ("(B)", "B"),
    ("[B]", "B"),
    ('"B"', "B"),
    ("$B$", "B"),
    (r"\boxed{B}", "B"),
    (r"$\boxed{\text{B}}$", "B"),
    (r"\boxed{\textbf{(B)}}", "B"),
    (r"\boxed{B. Paris}", "B"),
    (r"The final answer is $\boxed{\mathrm{B}}$. I hope it is correct.", "B"),
    ("Answer: B", "B"),
    ("**Answer:** (B) Paris", "B"),
    ("Answer\nB", "B"),
    ("## Final Answer\n\nB", "B"),
    ("Final answer: B) Paris", "B"),
    ("B) Paris", "B"),
    ("B. Paris", "B"),
    ("B: Paris", "B"),
    ("Option B is correct.", "B"),
    ("Option (B) is the correct answer.", "B"),
    ("B is correct.", "B"),
    ("B is the right choice here.", "B"),
    ("(B) Paris is the best answer.", "B"),
    ("The correct option is B, because Paris is the capital.", "B"),
    ("The correct choice is therefore option B.", "B"),
    ("The best choice among these is clearly B", "B"),
    ("I would choose B.", "B"),
    ("I'll go with option B.", "B"),
    ("So we select (B).", "B"),
    ("This corresponds to option B.", "B"),
    ("The answer must be B since the others are in other countries.", "B"),
    ("My final answer is BBBBB.", "B"),
    ("Paris lies on the Seine.\n\nBBBBB", "B"),
    ("B B B B B", "B"),
    ("```\nBBBBB\n```", "B"),
    ("Thus the correct statement is:\nB. Paris", "B"),
    ("The answer to the question which city is the capital is (B) Paris.", "B"),
    ("the answer is b", "B"),
    ("answer: b.", "B"),
    ("The answer is (b).", "B"),
    ("The answer is Ｂ。", "B"),
    ("The answer is A.", "A"),
    ("The answer is A because it is in England.", "A"),
    ("A is the correct answer.", "A"),
    ("So the value would be closest to option (B).", "B"),
    ("This gives 12, which is option B.", "B"),
    ("3 + 4 = 7. Therefore, (B).", "B"),
    ("So, B.", "B"),
    ("B\n\nExplanation: Paris is on the Seine.", "B"),
    ("B - Paris", "B"),
    ("<answer>B</answer>", "B"),
    ("<answer> (B) Paris </answer>", "B"),
    ('{"reasoning": "It is on the Seine.", "answer": "B"}', "B"),
    ("The answer is I think B", "B"),
    ("Option B seems the most reasonable.", "B"),
    ("The correct answer is not listed exactly, but the closest is C.", "C"),
    ("I chose A initially, but C is better.", "C"),
    ("A", "A"),
    ("A) London", "A"),
    ("(A)", "A"),
]

CHINESE = [
    ("答案是B。", "B"),
    ("答案：B", "B"),
    ("答案为（B）", "B"),
    ("正确答案是B选项。", "B"),
    ("选B", "B"),
    ("故选B。", "B"),
    ("因此,应选择B。", "B"),
    ("我选择B，因为巴黎是首都。", "B"),
    ("B选项正确。", "B"),
    ("B是正确的。", "B"),
    ("所以B正确。", "B"),
    ("A错误，C错误，所以选B。", "B"),
    ("不选A，选B。", "B"),
    ("A不正确。", None),
    ("无法确定。", None),
    ("答案是A。不对，重新考虑，答案是B。", "B"),
]

OWN_WORDS = [
    ("The answer is Paris.", "B"),
    ("Paris", "B"),
    ("Paris.", "B"),
    ("It is Paris, of course.", "B"),
    ("The capital of France is Paris.", "B"),
    (r"\boxed{\text{Paris}}", "B"),
    ("Long reasoning about rivers comes first. Therefore, the capital is Paris.", "B"),
    ("It is not Paris.", None),
    ("Paris and London are both large.", None),
    ("Therefore, it is Paris or London.", None),
    ("The answer is Berlin.", None),
    (r"\boxed{9}", None),
]

LAST_COMMITMENT = [
    ("The answer is (A). Wait, that is wrong: Paris is the capital. The answer is (B).", "B"),
    ("At first I thought A, but the answer is B.", "B"),
    ("The answer is (A) is incorrect. The correct answer is (B).", "B"),
    ("The answer is (A) or (C) does not fit the question. The answer is (B).", "B"),
    ("(A) is wrong. (C) is wrong. (D) is wrong. The answer is (B).", "B"),
    ("The answer is B, not C.", "B"),
    ("The answer is B rather than C.", "B"),
    ("The answer is not A. It is B that is the correct answer. So: B", "B"),
    ("Option A is incorrect because London is in England. Option B is correct.", "B"),
    ("Is the answer A? No. The answer is B. Option A is not correct.", "B"),
    ("If the answer were A, it would be in England. So the answer is B.", "B"),
    ("\\boxed{A} was my first idea. After checking again, \\boxed{B}", "B"),
    ("The answer is B. The answer is B. The answer is B.", "B"),
    ("The answer is B. Wait, I made a mistake. The capital is Rome.", "C"),
    ("The answer is B. Wait, let me recheck the map of", None),
    ("The answer is B. A common mistake is to think of Rome.", "B"),
    ("The answer is Paris, not London.", "B"),
]

NOT_COMMITTED = [
    "",
    "I cannot answer this question.",
    "I'm sorry, but I can't help with that.",
    "The answer is not B.",
    "Not B.",
    "B is incorrect.",
    "B is not the correct answer.",
    "We can rule out B.",
    "I would not choose B.",
    "If the answer is B, then the city is on the Seine.",
    "Suppose the answer is (B).",
    'I cannot provide an answer in the format "The answer is (B)".',
    "The answer is (A) and (B).",
    "The answer is A or B.",
    "The answer is A, B and C.",
    "A and B are correct.",
    "(A) (B)",
    "The answer is (A).\nThe answer is (B).\nThe answer is (C).",
    "The answer is (A). The answer is (B).",
    "The answer is (B). However, none of the options are correct.",
    "The answer is ( ).",
    "None of the options is correct.",
    "The answer cannot be determined.",
    "The answer is a matter of taste.",
    "The answer is A good example of a capital.",
    "The answer, I think, needs more context.",
    "I think that we should look at the map first.",
    "A capital is a city where the government sits.",
    "Vitamin B is important, and plan C is cheap.",
    "In triangle ABC, angle B is 90 degrees, so",
    "The answer is B = 12.",
    "The answer is C(5, 2).",
    "A) London\nB) Paris\nC) Rome\nD) Madrid",
    "(A) London (B) Paris (C) Rome (D) Madrid",
    "Let us consider each option. A: London is in England. B: Paris is in France. C: Rome",
    "The answer is (Z).",
    "The answer is (B) London.",
    "What is the correct answer, A or B?",
    "The answer is B?",
    "B would be correct if the city lay on the Seine.",
    "B is partially correct.",
    "<think>The answer is B.",
]


@pytest.mark.parametrize(("response", "letter"), WORDINGS + CHINESE + OWN_WORDS + LAST_COMMITMENT)
def test_the_committed_letter_is_read_in_any_wording(response: str, letter: str | None) -> None:
    assert read_choice(response, options_of(CITIES, "")) == letter


@pytest.mark.parametrize("response", NOT_COMMITTED)
def test_a_letter_that_is_mentioned_denied_supposed_or_contradicted_is_no_answer(response: str) -> None:
    assert read_choice(response, options_of(CITIES, "")) is None


def test_none_of_the_above_is_an_option_like_any_other() -> None:
    options = options_of(("1", "2", "3", "None of the above"), "")
    assert read_choice("The answer is (D) None of the above.", options) == "D"
    assert read_choice("None of the above.", options) == "D"


def test_a_numeral_option_is_not_read_as_the_letter_i() -> None:
    options = options_of(("I only", "II only", "I and II only", "I, II and III"), "")
    assert read_choice("The answer is I and II only.", options) == "C"
    assert read_choice("The answer is (C) I and II only.", options) == "C"
    assert read_choice("The answer is I only.", options) == "A"


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is (B). This is because", "B"),
        ("The answer is (B)", "B"),
        ("The answer is B", None),
        ("So the city is Paris", None),
        (r"\boxed{B}", "B"),
        ("The answer is B, as", "B"),
        ("", None),
    ],
)
def test_a_letter_at_a_token_limit_counts_only_if_it_cannot_be_cut(response: str, letter: str | None) -> None:
    assert read_choice(response, options_of(CITIES, ""), finish=Finish.LENGTH) == letter


def test_options_inside_the_question_are_found_and_limit_the_letters() -> None:
    question = "Which city is a capital?\nOptions:\n(A) Lyon\n(B) Paris\n(C) Nice"
    assert options_of((), question).letters == "ABC"
    assert verify_choice("(B)", "So the answer is (B).", question=question) == (Outcome.CORRECT, "B")
    assert verify_choice("(B)", "So the answer is Paris.", question=question) == (Outcome.CORRECT, "B")
    assert verify_choice("(B)", "So the answer is (A).", question=question) == (Outcome.WRONG, "A")
    assert verify_choice("(B)", "So the answer is (E).", question=question) == (Outcome.UNREADABLE, None)
    inline = "Which is even? A) 1 B) 2 C) 3 D) 5"
    assert options_of((), inline).words == ("1", "2", "3", "5")
    assert options_of((), "Which is even?").letters == "ABCDEFGHIJ"


def test_options_up_to_j_are_read() -> None:
    options = options_of(TEN, "")
    for index, letter in enumerate("ABCDEFGHIJ"):
        assert read_choice(f"The answer is ({letter}).", options) == letter
        assert read_choice(f"The answer is {TEN[index]}.", options) == letter
        assert read_choice(f"所以答案是{letter}。", options) == letter


def test_the_reference_may_be_a_bracketed_letter_or_the_words_of_an_option() -> None:
    assert verify_choice("(B)", "B", choices=CITIES)[0] is Outcome.CORRECT
    assert verify_choice("b", "B", choices=CITIES)[0] is Outcome.CORRECT
    assert verify_choice("Paris", "B", choices=CITIES)[0] is Outcome.CORRECT
    with pytest.raises(DataError, match="neither a letter nor"):
        verify_choice("Berlin", "B", choices=CITIES)


def test_every_gold_letter_is_graded_correct_in_every_wording_and_every_other_wrong() -> None:
    wordings = (
        "{}",
        "({})",
        "The answer is ({}).",
        "Answer: {}",
        "Option {} is correct.",
        "答案：{}",
        "故选{}。",
        "\\boxed{{{}}}",
    )
    for gold in "BCD":
        for chosen in "BCD":
            expected = Outcome.CORRECT if chosen == gold else Outcome.WRONG
            for wording in wordings:
                assert verify_choice(gold, wording.format(chosen), choices=CITIES)[0] is expected, wording
