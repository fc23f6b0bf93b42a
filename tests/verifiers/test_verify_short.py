"""Own cases for the SHORT verifier."""

import pytest

from hrlaif.types import Finish, Outcome
from hrlaif.verifiers.short import verify_short

C, W, U = Outcome.CORRECT, Outcome.WRONG, Outcome.UNREADABLE

POLAR = [
    ("yes", "Yes", C),
    ("yes", "yes.", C),
    ("Yes", "Yes, it does.", C),
    ("Yes", "The answer is yes.", C),
    ("Yes", "So the answer is **Yes**.", C),
    ("Yes", r"\boxed{\text{Yes}}", C),
    ("yes", "True.", C),
    ("yes", "**yes**", C),
    ("yes", "*Yes*", C),
    ("yes", "Whales breathe air and feed their young with milk. **Yes**.", C),
    ("no", "Whales breathe air and feed their young with milk. Yes.", W),
    ("不是", "**不是**", C),
    ("no", "No, because seven is prime.", C),
    ("yes", "No.", W),
    ("no", "Yes.", W),
    ("yes", "The answer is no.", W),
    ("yes", "No doubt about it.", U),
    ("no", "No doubt about it.", U),
    ("no", "No one knows.", U),
    ("yes", "Yes and no.", U),
    ("yes", "Yes. On reflection the chain breaks. So no.", U),
    ("yes", "The answer is yes. The answer is no.", U),
    ("yes", "The answer is no. Wait, that is wrong. The answer is yes.", C),
    ("no", "The answer is no. Wait, that is wrong. The answer is yes.", W),
    ("false", "It is not true.", C),
    ("true", "The statement is not true.", W),
    ("true", "We check each part. Therefore, the statement is true.", C),
    ("False", "= not ( True ) = False. So the answer is False.", C),
    ("yes", "是", C),
    ("是", "是的。", C),
    ("是", "Yes", C),
    ("否", "答案是否。", C),
    ("否", "答案是：不是", C),
    ("是", "不是。", W),
    ("yes", "It depends on the weather.", U),
    ("yes", "", U),
    ("yes", "I cannot answer that question.", U),
]

NAMES = [
    ("Paris", "Paris", C),
    ("Paris", "paris.", C),
    ("Paris", "**Paris**", C),
    ("Paris", "It's Paris.", C),
    ("Paris", "The answer is Paris.", C),
    ("Paris", "The answer is: Paris, because it is the seat of government.", C),
    ("Paris", "The answer is Paris (France).", C),
    ("Paris", 'The answer is "Paris".', C),
    ("Paris", "The capital of France is Paris.", C),
    ("Paris", "Let me think about the map first. France has many cities. The capital is Paris.", C),
    ("Paris", "Ｐａｒｉｓ", C),
    ("the Nile", "Nile", C),
    ("Nile", "The answer is the Nile.", C),
    ("São Paulo", "The answer is Sao Paulo.", C),
    ("George W. Bush", "The answer is George W. Bush.", C),
    ("J. K. Rowling", "The author is J. K. Rowling.", C),
    ("well-known", "well known", C),
    ("valid", "So the answer is valid.", C),
    ("valid", "So the answer is invalid.", W),
    ("invalid", "So the answer is valid.", W),
    ("Paris", "Rome", W),
    ("Paris", "The answer is Rome.", W),
    ("Paris", "Not Paris.", W),
    ("Paris", "It is not Paris.", U),
    ("Paris", "The answer is not Paris.", W),
    ("Paris", "The capital of France is not Paris.", U),
    ("Paris", "Paris or Lyon", U),
    ("Paris", "The answer is Paris or Lyon.", U),
    ("Paris", "The answer is Paris. The answer is Lyon.", U),
    ("Paris", "Paris, Texas", U),
    ("York", "The answer is New York.", U),
    ("New York", "The answer is York.", U),
    ("Albert Einstein", "The answer is Einstein.", U),
    ("United States", "The answer is the USA.", U),
    ("Argentina", "The answer is Argentine.", U),
    ("Paris", "I went to Paris last year and saw many museums, and then we travelled on to Rome by train.", U),
    ("C", "The answer is C++.", W),
    ("北京", "答案是北京。", C),
    ("北京", "中国的首都是北京。", C),
    ("北京", "答案是上海。", W),
    ("北京", "The answer is Beijing.", U),
]

OTHERS = [
    ("7", "7", C),
    ("7", "The answer is 7.", C),
    ("7", "The answer is seven.", C),
    ("7", "I have seven fruits.", C),
    ("7", "1 + 1 + 5 = 7. So the answer is 7.", C),
    ("7", "The answer is 8.", W),
    ("-160", "Then A * B = -160. So the answer is -160.", C),
    ("-160", "So the answer is 160.", W),
    ("1,000", "The answer is 1000.", C),
    ("7", "The answer is seventeen.", W),
    ("red, green, blue", "red, green, blue", C),
    ("red, green, blue", "Red, green and blue.", C),
    ("red, green, blue", "The answer is red green blue.", C),
    ("red, green, blue", "The answer is blue, green, red.", W),
    ("red, green, blue", "The answer is red, green.", U),
    ("apple bear cat dog", "So the answer is apple bear cat dog.", C),
    ("apple bear cat dog", "So the answer is apple, bear, cat, dog.", C),
    ("apple bear cat dog", "So the answer is bear apple cat dog.", W),
    ("apple bear cat dog", "So the answer is apple bear cat.", U),
    ("> ) }", "So the answer is > ) }.", C),
    ("> ) }", "So the answer is > } ).", W),
    ("4 July 1776", "July 4, 1776", U),
]


@pytest.mark.parametrize(("reference", "response", "outcome"), POLAR + NAMES + OTHERS)
def test_a_short_answer_gets_the_outcome_a_careful_reader_gives(
    reference: str, response: str, outcome: Outcome
) -> None:
    assert verify_short(reference, response)[0] is outcome


def test_a_sentence_that_only_restates_the_question_around_the_reference_is_correct() -> None:
    question = "What is the capital of France?"
    assert verify_short("Paris", "Paris is the capital of France.", question=question)[0] is C
    assert verify_short("Paris", "Paris is not the capital of France.", question=question)[0] is U
    assert verify_short("Paris", "Paris lost to Rome in the capital vote.", question=question)[0] is U
    assert verify_short("Paris", "The capital of France is Paris. It lies on the Seine.", question=question)[0] is C
    assert verify_short("Paris", "The capital of France is Lyon. It lies on the Seine.", question=question)[0] is W
    assert verify_short("Paris", "Paris is the capital of France, and it is very old.", question=question)[0] is C
    assert verify_short("Paris", "The capital of France was Lyon, but is Paris.", question=question)[0] is not W
    assert verify_short("Paris", "The capital is Lyon. No: the capital is Paris.", question=question)[0] is C
    assert verify_short("北京", "中国的首都是北京。它很大。", question="中国的首都是哪座城市？")[0] is C
    assert verify_short("北京", "中国的首都是上海。它很大。", question="中国的首都是哪座城市？")[0] is W


def test_a_reference_that_the_question_itself_names_must_be_chosen_not_only_named() -> None:
    question = "Is Spain larger than Germany, or Germany larger than Spain? Name the larger one."
    assert verify_short("Germany", "Spain is larger than Germany.", question=question)[0] is U
    assert verify_short("Germany", "The larger one is Germany.", question=question)[0] is C


def test_an_answer_at_a_token_limit_counts_only_if_its_sentence_goes_on() -> None:
    cut = Finish.LENGTH
    assert verify_short("Paris", "The answer is Paris. It lies on", finish=cut)[0] is C
    assert verify_short("Paris", "The answer is Paris", finish=cut)[0] is U
    assert verify_short("Paris", "Paris", finish=cut)[0] is U
    assert verify_short("yes", "Yes, since", finish=cut)[0] is U
    assert verify_short("Paris", "", finish=Finish.FAILED)[0] is U
