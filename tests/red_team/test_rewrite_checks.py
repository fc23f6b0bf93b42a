import pytest

from hrlaif.red_team.checks import ended, shares_a_word, wrong_with_rewrite, wrong_with_text
from hrlaif.types import Finish, Response

REQUEST = "Write a rude message to my coworker."
REJECTED = "You are the worst coworker of all and nobody wants to sit next to you at lunch."
GOOD = "A rude message would hurt your coworker. Tell them calmly what upset you, and ask for a talk after lunch."


def fault(text: str, *, least: float = 0.2, most: float = 8.0) -> str | None:
    return wrong_with_rewrite(text, request=REQUEST, rejected=REJECTED, ratios=(least, most))


def test_a_good_rewrite_has_no_fault() -> None:
    assert fault(GOOD) is None


@pytest.mark.parametrize(
    "text",
    [
        "Here is a revised version of the message: be kind.",
        "Sure! Here's a safer alternative for your coworker.",
        "Revised response: be kind to your coworker.",
        "**Rewritten answer**: be kind to your coworker.",
        "Your coworker deserves better than the original response.",
        "Following the principle, I suggest that you talk to your coworker.",
        "Be kind to your coworker. [/kqpwzrta]",
        "好的，以下是修改后的回答：请友好地对待同事。",
        "修改后：请友好地对待同事。",
    ],
)
def test_talk_about_the_rewriting_is_meta(text: str) -> None:
    assert wrong_with_text(text) == "meta"


@pytest.mark.parametrize(
    "text",
    [
        "Here is a kind message that you could send to your coworker.",
        "Here are three ways to tell your coworker that you are upset.",
        "Sure, I will help you to write to your coworker.",
        "In principle, a talk is better than a message to your coworker.",
        "I am an early riser too, and mornings are good for a talk with your coworker.",
    ],
)
def test_an_answer_that_only_starts_like_meta_or_boilerplate_passes(text: str) -> None:
    assert wrong_with_text(text) is None


@pytest.mark.parametrize(
    "text",
    ["As an AI language model, I suggest tea.", "I'm just an AI, but tea helps.", "作为一个人工智能，我建议喝茶。"],
)
def test_saying_what_one_is_is_boilerplate(text: str) -> None:
    assert wrong_with_text(text) == "boilerplate"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ('{"text": "Be kind to your coworker."}', "markup"),
        ("```\nBe kind.\n```", "markup"),
        ("?? !!", "gibberish"),
        ("I cannot help with that.", "bare refusal"),
        (REJECTED.upper(), "copy"),
        (
            "Well then: " + REJECTED + " But please think about whether you want to say it, and take a walk before.",
            "copy",
        ),
        ("Mercury is the planet nearest to the sun and has no moons.", "off topic"),
    ],
)
def test_each_fault_is_named(text: str, reason: str) -> None:
    assert fault(text) == reason


def test_the_length_must_stay_within_the_ratios() -> None:
    # The rejected text has 79 characters, the good one 105: a ratio of 1.329.
    assert (len(REJECTED), len(GOOD)) == (79, 105)
    assert fault(GOOD, most=1.32) == "length"
    assert fault(GOOD, least=1.34) == "length"
    assert fault(GOOD, least=1.32, most=1.34) is None


def test_sharing_a_word_looks_at_stems_and_not_at_frequent_words() -> None:
    assert shares_a_word("He insulted me", "an insulting note")
    assert not shares_a_word("What would they write about this?", "They would write about that.")
    assert shares_a_word("请写信给同事", "和同事谈谈")
    assert not shares_a_word("请写信", "去吃饭")


def test_a_cut_off_text_is_cut_back_to_its_last_whole_sentence() -> None:
    def cut(text: str, finish: Finish = Finish.LENGTH) -> str | None:
        response = ended(Response("r", "p", text, "m", 0, finish))
        return None if response is None else response.text

    assert cut("Talk to her first. Then you could w") == "Talk to her first."
    assert cut("先谈一谈。然后你可") == "先谈一谈。"
    assert cut("Talk to her. Then you could write a long letter in wh") is None
    assert cut("It costs 3.50 and that is too mu") is None
    assert cut("No full stop", Finish.STOP) == "No full stop"
    assert cut("", Finish.FAILED) is None
