import asyncio
import json
import math

import pytest

from hrlaif.config import JudgeReply
from hrlaif.errors import CallError
from hrlaif.judges.panel import Judge
from hrlaif.judges.verdict import Opinion, Reasoned, opinion, token_p_first
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Cost, Finish, Verdict

UNREADABLE = (0.5, Verdict.UNREADABLE)


def an_object(better: str, confidence: object, reason: str = "A is wrong") -> str:
    return json.dumps({"reason": reason, "better": better, "confidence": confidence})


def asked(answer: str | ChatReply, *, reply: JudgeReply = "json") -> Opinion:
    judge = Judge(ScriptedModel(lambda _: answer), reply=reply)
    return asyncio.run(opinion(judge, "Which?", purpose="labels/rlaif"))


def tokens(*drawn: str | dict[str, float]) -> tuple[dict[str, float], ...]:
    """Positions with one certain token, or with these probabilities, the drawn one first."""
    return tuple(
        {one: 0.0} if isinstance(one, str) else {token: math.log(share) for token, share in one.items()}
        for one in drawn
    )


def replied(*drawn: str | dict[str, float], text: str | None = None) -> ChatReply:
    made = "".join(one if isinstance(one, str) else next(iter(one)) for one in drawn)
    return ChatReply(made if text is None else text, Finish.STOP, "judge", tokens(*drawn), Cost(1, 300, 40))


# --- what is stated ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "confidence", "p_first", "verdict"),
    [
        ("A", 80, 0.8, Verdict.FIRST),
        ("B", 80, 0.2, Verdict.SECOND),
        ("A", 100, 1.0, Verdict.FIRST),
        ("B", 50, 0.5, Verdict.SECOND),
        ("tie", 90, 0.5, Verdict.TIE),
        ("tie", 50, 0.5, Verdict.TIE),
    ],
)
def test_without_probabilities_the_stated_confidence_is_the_soft_label(
    better: str, confidence: int, p_first: float, verdict: Verdict
) -> None:
    found = asked(an_object(better, confidence))
    assert (found.p_first, found.verdict) == (pytest.approx(p_first), verdict)


def test_the_reply_is_kept_with_its_reason() -> None:
    text = an_object("B", 70, "The first answer forgets the second part.")
    assert asked(text).reply == text


def test_an_object_is_asked_for_with_its_schema_the_reason_first_and_few_alternatives() -> None:
    model = ScriptedModel(lambda _: an_object("A", 80))
    asyncio.run(opinion(Judge(model, reply="json"), "Which?", purpose="labels/rlaif"))
    (request,) = model.requests
    assert request.response_schema == Reasoned.model_json_schema()
    assert list(Reasoned.model_json_schema()["properties"]) == ["reason", "better", "confidence"]
    assert (request.max_tokens, request.top_logprobs, request.temperature) == (512, 5, 0.0)
    assert request.purpose == "labels/rlaif"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "The first is better.",
        '{"reason": "x", "better": "A", "confidence": 80',
        '{"reason": "x", "better": "A" "confidence": 80}',
        '{"reason": "x", "better": "A"}',
        '{"better": "A", "confidence": 80}',
        an_object("A", 49),
        an_object("A", 101),
        an_object("A", 0.8),
        an_object("A", -80),
        an_object("A", "high"),
        an_object("A", None),
        an_object("C", 80),
        an_object("first", 80),
        an_object("a", 80),
        "<think>" + an_object("A", 80),
        "<think>First I compare. " + an_object("A", 80) + " But wait",
    ],
)
def test_what_is_no_whole_verdict_is_unreadable_and_never_a_guess(text: str) -> None:
    found = asked(text)
    assert (found.p_first, found.verdict, found.reply) == (*UNREADABLE, text)


def test_a_failed_call_is_unreadable_and_says_so() -> None:
    def fail(_: ChatRequest) -> str:
        raise CallError("timed out")

    found = asyncio.run(opinion(Judge(ScriptedModel(fail), reply="json"), "Which?", purpose="x"))
    assert found == Opinion(0.5, Verdict.UNREADABLE, "call failed: timed out", Cost())


def test_of_two_objects_the_last_one_counts() -> None:
    assert asked(an_object("A", 90) + "\nOn reflection:\n" + an_object("B", 70)).p_first == pytest.approx(0.3)


def test_an_object_quoted_in_the_reason_is_part_of_the_reason() -> None:
    found = asked(an_object("B", 70, f"It says {an_object('A', 100)} itself"))
    assert (found.p_first, found.verdict) == (pytest.approx(0.3), Verdict.SECOND)


def test_thoughts_are_skipped_whatever_they_draft() -> None:
    text = f"<think>Draft: {an_object('A', 100)}</think>\n```json\n{an_object('B', 75)}\n```"
    assert asked(text).p_first == pytest.approx(0.25)
    assert asked(f"Draft: {an_object('A', 100)}</think>{an_object('B', 75)}").p_first == pytest.approx(0.25)
    assert asked(f"Draft: {an_object('A', 100)}</think>I cannot say.").verdict is Verdict.UNREADABLE


def test_a_reason_that_quotes_the_end_of_thoughts_is_read_all_the_same() -> None:
    assert asked(an_object("A", 80, "It leaks </think> into the text")).p_first == pytest.approx(0.8)
    assert asked(an_object("A", 80, "It leaks <think> into the text")).p_first == pytest.approx(0.8)


# --- the probability of the verdict's token ---------------------------------------------------------------------------


def test_the_verdict_tokens_alternatives_come_before_the_stated_confidence() -> None:
    # A 0.6, B 0.2, tie 0.1 of 0.9; a tie counts half: (0.6 + 0.05) / 0.9.
    reply = replied(
        '{"reason": "x", ', '"better"', ": ", '"', {"A": 0.6, "B": 0.2, "tie": 0.1, "x": 0.1}, '", "confidence": 99}'
    )
    found = asked(reply)
    assert found.p_first == pytest.approx(0.65 / 0.9)
    assert (found.verdict, found.cost) == (Verdict.FIRST, Cost(1, 300, 40))


def test_a_verdict_is_found_however_its_token_is_cut() -> None:
    # The quotation mark within the token; the beginnings of "tie"; a space written as Ġ.
    quoted = replied('{"reason": "x", "better":', {' "B': 0.7, ' "A': 0.3}, '", "confidence": 60}')
    assert asked(quoted).p_first == pytest.approx(0.3)
    split = replied('{"reason": "x", "better": "', {"t": 0.5, "A": 0.4, "ti": 0.1}, 'ie", "confidence": 60}')
    # tie 0.6, A 0.4: 0.4 + 0.3.
    assert asked(split).p_first == pytest.approx(0.7)
    assert asked(split).verdict is Verdict.TIE
    spaced = replied(
        '{"reason":"x","better":', 'Ġ"', {"A": 0.9, "B": 0.1}, '","confidence":60}', text=an_object("A", 60)
    )
    assert asked(spaced).p_first == pytest.approx(0.9)


def test_the_token_that_counts_is_that_of_the_last_verdict() -> None:
    reply = replied(
        '<think>{"reason": "x", "better": "',
        {"A": 0.9, "B": 0.1},
        '", "confidence": 90}</think>{"reason": "y", "better": "',
        {"B": 0.8, "A": 0.2},
        '", "confidence": 55}',
    )
    assert asked(reply).p_first == pytest.approx(0.2)


def test_where_tokens_say_nothing_or_something_else_the_stated_confidence_counts() -> None:
    text = an_object("A", 80)
    start, end = '{"reason": "A is wrong", "better": "', '", "confidence": 80}'
    # One alternative only says that it was drawn, not how nearly another was.
    assert token_p_first(replied(start, "A", end), "A") is None
    assert token_p_first(replied(start, {"B": 0.9, "A": 0.1}, end), "A") is None
    assert token_p_first(replied(start, {"x": 0.9, "y": 0.1}, end), "A") is None
    assert token_p_first(replied("nothing", "to", "find"), "A") is None
    assert token_p_first(replied(), "A") is None
    for reply in (replied(start, "A", end), replied(start, {"B": 0.9, "A": 0.1}, end, text=text), replied(text=text)):
        assert asked(reply).p_first == pytest.approx(0.8)


# --- letters ----------------------------------------------------------------------------------------------------------


def test_a_letter_is_the_default_and_gives_its_tokens_probability() -> None:
    found = asked(replied({"B": 0.7, "A": 0.3}), reply="letter")
    assert (found.p_first, found.verdict, found.reply) == (pytest.approx(0.3), Verdict.SECOND, "B")
    assert asked("Both", reply="letter")[:2] == UNREADABLE


def test_room_to_think_is_asked_for_where_it_is_set() -> None:
    for reply, room, expected in (("letter", 0, 4), ("letter", 900, 900), ("json", 900, 900), ("json", 100, 512)):
        model = ScriptedModel(lambda _: "A")
        judge = Judge(model, reply=reply, reply_max_tokens=room)  # type: ignore[arg-type]
        asyncio.run(opinion(judge, "Which?", purpose="x"))
        assert model.requests[0].max_tokens == expected
