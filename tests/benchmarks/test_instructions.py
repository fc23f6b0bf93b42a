"""Each of IFEval's 25 instructions with responses that follow it and responses that do not."""

from __future__ import annotations

from typing import Any

import pytest

from hrlaif.benchmarks.ifeval import by_instructions
from hrlaif.benchmarks.instructions import CHECKS, sentences
from hrlaif.benchmarks.languages import language_of
from hrlaif.types import BenchmarkItem, Finish, Message, Prompt, Response, Task

# Instruction, arguments, a response that follows it, one that does not.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["harbour", "fog"]}, "Fog lay over the harbour.", "The harbour was clear."),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "at least"},
        "Tea first. More tea later.",
        "Tea first. Coffee later.",
    ),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "less than"},
        "Tea first. Coffee later.",
        "Tea first. More tea later.",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "A category of its own.", "A Cat sat there."),
    (
        "keywords:letter_frequency",
        {"letter": "z", "let_frequency": 3, "let_relation": "at least"},
        "Zigzag buzz",
        "Zigzag",
    ),
    ("language:response_language", {"language": "fr"}, "Il est dans la maison avec son chat.", "He is in the house."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "Only one."),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        "First paragraph.\n***\nSecond paragraph.",
        "First paragraph.\n\nSecond paragraph.",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 4, "relation": "less than"},
        "Just three words",
        "No, four words here",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Boats"},
        'The sea is wide.\n\n"Boats," she said.',
        "Boats sail.\n\nThe sea is wide.",
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        "Dear [name], come to [place].",
        "Dear [name], come.",
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. Write soon.", "Bye. Write soon."),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP.P.S. Soon.", "Bye.\nP.S. Soon."),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        "Buy:\n* milk\n- bread",
        "Buy:\n* milk\n* bread\n* tea",
    ),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "Perhaps."),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "A *first* and a **second** one.",
        "A *first* one and ** nothing.",
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        "Part 1\nHere.\nPart 2\nThere.",
        "Part one\nHere.\nPart 2\nThere.",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1, 2]}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<The Sea>>\nIt is wide.", "<< >>\nThe Sea"),
    ("combination:two_responses", {}, "Yes.\n******\nNo.", "Yes.\n******\nYes."),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Name a river."},
        "Name a river. The Danube.",
        "The Danube. Name a river.",
    ),
    ("startend:end_checker", {"end_phrase": "That is all."}, "Salt and oil. That is all.", "That is all. Goodbye."),
    ("startend:quotation", {}, '"The sea is wide."', 'He said "The sea is wide."'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NEVER do THAT.",
        "NEVER do that.",
    ),
    ("change_case:english_capital", {}, "THE SEA IS WIDE AND THE BOAT IS SMALL.", "The sea is wide."),
    ("change_case:english_capital", {}, "THE SEA IS WIDE.", "LE CHAT EST DANS LA MAISON."),
    ("change_case:english_lowercase", {}, "the sea is wide.", "The sea is wide."),
    ("punctuation:no_comma", {}, "Salt and oil and bread.", "Salt, oil and bread."),
]


@pytest.mark.parametrize(("name", "arguments", "follows", "fails"), CASES)
def test_an_instruction_is_followed_or_not(name: str, arguments: dict[str, Any], follows: str, fails: str) -> None:
    assert CHECKS[name](follows, **arguments)
    assert not CHECKS[name](fails, **arguments)


def test_every_published_instruction_has_cases() -> None:
    assert len(CHECKS) == 25
    assert {name for name, *_ in CASES} == set(CHECKS)


def scored(text: str, *instructions: tuple[str, dict[str, Any]]) -> tuple[dict[str, bool | None], list[dict[str, Any]]]:
    facts = {"instructions": [{"id": name, "kwargs": arguments} for name, arguments in instructions]}
    prompt = Prompt("i/1", (Message("user", "?"),), "ifeval", Task.OPEN)
    item = BenchmarkItem("i", "ifeval", "generative", prompt, 8, facts=facts)
    scores, evidence = by_instructions(item, Response("r", "i/1", text, "m", 0, Finish.STOP))
    return scores, evidence["instructions"]


def test_a_prompt_counts_where_all_its_instructions_are_followed() -> None:
    comma, phrase = ("punctuation:no_comma", {}), ("startend:end_checker", {"end_phrase": "Bye."})
    assert scored("Good luck. Bye.", comma, phrase)[0] == {"prompt_strict": True, "prompt_loose": True}
    scores, rows = scored("Well, good luck. Bye.", comma, phrase)
    assert scores == {"prompt_strict": False, "prompt_loose": False}
    assert [row["strict"] for row in rows] == [False, True]


def test_loose_forgives_a_first_line_a_last_line_and_asterisks() -> None:
    capital = ("change_case:english_capital", {})
    for text in ("Sure, here it is:\nTHE SEA IS WIDE.", "THE SEA IS WIDE.\nShall I go on?"):
        assert scored(text, capital)[0] == {"prompt_strict": False, "prompt_loose": True}
    starts = ("combination:repeat_prompt", {"prompt_to_repeat": "Name a river."})
    assert scored("**Name a river.** The Danube.", starts)[0] == {"prompt_strict": False, "prompt_loose": True}


def test_an_empty_response_follows_nothing() -> None:
    assert scored("  ", ("punctuation:no_comma", {}))[0] == {"prompt_strict": False, "prompt_loose": False}


@pytest.mark.parametrize(
    ("text", "number"),
    [("Dr. Ito met Mr. Fox. They talked.", 2), ("Pi is 3.14 or so. Really?! Yes", 3), ("你好。再见！", 2), ("...", 0)],
)
def test_sentences_are_counted(text: str, number: int) -> None:
    assert len(sentences(text)) == number


LANGUAGES = {
    "en": "The boats come back in the evening with what they have caught.",
    "es": "Los barcos vuelven por la tarde con lo que han pescado en el mar.",
    "pt": "Os barcos voltam à tarde com o que pescaram e não vão mais ao mar.",
    "fr": "Les bateaux rentrent le soir avec ce qu'ils ont pris dans la mer.",
    "de": "Die Boote kommen am Abend mit dem zurück, was sie gefangen haben.",
    "it": "Le barche tornano la sera con quello che hanno preso nel mare.",
    "pl": "Łodzie wracają wieczorem z tym, co udało się złowić na morzu.",
    "vi": "Những chiếc thuyền trở về vào buổi tối với những gì đã bắt được.",
    "sw": "Mashua hurudi jioni na samaki ambao wavuvi wamewapata kwa siku hiyo.",
    "fi": "Veneet palaavat illalla ja niissä on se, mitä merestä on saatu.",
    "ru": "Лодки возвращаются вечером с тем, что они поймали в море.",
    "uk": "Човни повертаються ввечері з тим, що вони зловили в морі.",
    "bg": "Лодките се връщат вечер с това, което са уловили в морето.",
    "ar": "تعود القوارب في المساء مع ما تم صيده من البحر.",
    "fa": "قایق‌ها شب با آنچه از دریا گرفته‌اند به خانه برمی‌گردند و این خوب است.",
    "ur": "کشتیاں شام کو سمندر سے واپس آتی ہیں اور ان میں مچھلیاں ہوتی ہیں۔",
    "hi": "नावें शाम को समुद्र से वापस आती हैं और उनमें मछलियाँ होती हैं।",
    "ne": "डुङ्गाहरू साँझ समुद्रबाट फर्किन्छन् र तिनमा धेरै माछा हुन्छ भने यो राम्रो हो।",
    "mr": "होड्या संध्याकाळी समुद्रातून परत येतात आणि त्यात खूप मासे आहेत.",
    "bn": "নৌকাগুলো সন্ধ্যায় সমুদ্র থেকে ফিরে আসে।",
    "pa": "ਕਿਸ਼ਤੀਆਂ ਸ਼ਾਮ ਨੂੰ ਸਮੁੰਦਰ ਤੋਂ ਵਾਪਸ ਆਉਂਦੀਆਂ ਹਨ।",
    "gu": "હોડીઓ સાંજે દરિયામાંથી પાછી આવે છે.",
    "ta": "படகுகள் மாலையில் கடலிலிருந்து திரும்பி வருகின்றன.",
    "te": "పడవలు సాయంత్రం సముద్రం నుండి తిరిగి వస్తాయి.",
    "kn": "ದೋಣಿಗಳು ಸಂಜೆ ಸಮುದ್ರದಿಂದ ಹಿಂತಿರುಗುತ್ತವೆ.",
    "ml": "വള്ളങ്ങൾ വൈകുന്നേരം കടലിൽ നിന്ന് മടങ്ങുന്നു.",
    "th": "เรือกลับมาในตอนเย็นพร้อมกับปลา",
    "ko": "배들은 저녁에 바다에서 돌아온다.",
    "ja": "船は夕方に海から戻ってくる。",
    "he": "הסירות חוזרות בערב מן הים.",
    "zh": "船在傍晚从海上回来。",
}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_sentence_shows_its_language(code: str) -> None:
    assert language_of(LANGUAGES[code]) == code


def test_a_text_that_shows_no_language_has_none() -> None:
    assert language_of("42 + 7 = 49") is None
    assert language_of("Xyzzy") is None
