import asyncio
import math

import pytest

from hrlaif.errors import CallError
from hrlaif.judges.compare import Comparison, Vote, combine, compare, compare_reasoning, conversation
from hrlaif.judges.verdict import verdict_of
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Cost, Finish, Judgement, Message, Prompt, Response, Task, Verdict

PROMPT = Prompt("p", (Message("user", "What is 2 + 2?"),), "math", Task.MATH, reference="4")
FIRST = Response("p/0", "p", "It is four.", "policy", 0, Finish.STOP)
SECOND = Response("p/1", "p", "It is five.", "policy", 1, Finish.STOP)


def says_a(share: float) -> ChatReply:
    """A reply that gives A this probability, and B the rest."""
    alternatives = {"A": math.log(share), "B": math.log(1 - share)}
    return ChatReply("A" if share >= 0.5 else "B", Finish.STOP, "judge", (alternatives,), Cost(1, 100, 1, 0.01))


def judge(forward: float | None, backward: float | None) -> ScriptedModel:
    """P(A) when the first response is shown as A, and when the second one is; None fails the call."""

    def script(request: ChatRequest) -> ChatReply:
        text = request.messages[0].content
        share = forward if text.index(FIRST.text) < text.index(SECOND.text) else backward
        if share is None:
            raise CallError("timed out")
        return says_a(share)

    return ScriptedModel(script, name="judge")


def compared(model: ScriptedModel, *, tie_margin: float = 0.05) -> Comparison:
    return asyncio.run(compare(model, PROMPT, FIRST, SECOND, tie_margin=tie_margin, purpose="labels/rlaif"))


def test_both_orders_are_asked_and_their_probabilities_averaged() -> None:
    # A shown first wins with 0.9; with the sides changed A (the second) wins with 0.4, so the first with 0.6.
    found = compared(judge(0.9, 0.4))
    assert found.p_first == pytest.approx((0.9 + 0.6) / 2)
    assert found.verdict is Verdict.FIRST


def test_the_two_calls_are_kept_as_they_were_made() -> None:
    forward, backward = compared(judge(0.9, 0.4)).judgements
    assert forward == Judgement("p", "p/0", "p/1", pytest.approx(0.9), Verdict.FIRST, "judge", "A", says_a(0.5).cost)
    assert backward == Judgement("p", "p/1", "p/0", pytest.approx(0.4), Verdict.SECOND, "judge", "B", says_a(0.5).cost)


def test_a_judge_that_only_sees_the_position_ends_at_a_tie() -> None:
    # 0.9 for whatever comes first: (0.9 + 1 - 0.9) / 2 = 0.5.
    found = compared(judge(0.9, 0.9), tie_margin=0.0)
    assert found.p_first == pytest.approx(0.5)
    assert found.verdict is Verdict.TIE


def test_changing_the_sides_changes_the_label_and_nothing_else() -> None:
    straight = compared(judge(0.9, 0.4))
    mirrored = asyncio.run(compare(judge(0.9, 0.4), PROMPT, SECOND, FIRST, tie_margin=0.05, purpose="x"))
    assert mirrored.p_first == pytest.approx(1 - straight.p_first)
    assert mirrored.verdict is Verdict.SECOND


@pytest.mark.parametrize(
    ("p_first", "margin", "verdict"),
    [
        (0.55, 0.05, Verdict.TIE),
        (0.45, 0.05, Verdict.TIE),
        (0.551, 0.05, Verdict.FIRST),
        (0.449, 0.05, Verdict.SECOND),
        (0.5, 0.0, Verdict.TIE),
        (0.500001, 0.0, Verdict.FIRST),
        ((0.9 + 1 - 0.7) / 2, 0.1, Verdict.TIE),  # 0.6000000000000001 in floating point
    ],
)
def test_a_mean_within_the_margin_of_one_half_is_a_tie(p_first: float, margin: float, verdict: Verdict) -> None:
    assert verdict_of(p_first, tie_margin=margin) is verdict


@pytest.mark.parametrize(("forward", "backward"), [(None, 0.1), (0.9, None), (None, None)])
def test_one_unreadable_order_makes_the_pair_unreadable(forward: float | None, backward: float | None) -> None:
    found = compared(judge(forward, backward))
    assert (found.p_first, found.verdict) == (0.5, Verdict.UNREADABLE)
    lost = [one for one in found.judgements if one.verdict is Verdict.UNREADABLE]
    assert len(lost) == (forward is None) + (backward is None)
    assert all(one.reply == "call failed: timed out" and one.p_first == 0.5 for one in lost)


def test_an_unreadable_reply_is_kept_with_what_it_cost() -> None:
    rambling = ChatReply("Both are fine", Finish.LENGTH, "judge", (), Cost(1, 90, 4))
    found = compared(ScriptedModel(lambda _: rambling))
    assert found.verdict is Verdict.UNREADABLE
    assert [one.reply for one in found.judgements] == ["Both are fine", "Both are fine"]
    assert sum((one.cost for one in found.judgements), Cost()) == Cost(2, 180, 8)


def test_combining_needs_no_judge() -> None:
    forward = Judgement("p", "p/0", "p/1", 0.2, Verdict.SECOND, "j", "B")
    backward = Judgement("p", "p/1", "p/0", 0.7, Verdict.FIRST, "j", "A")
    # (0.2 + 1 - 0.7) / 2 = 0.25.
    found = combine([Vote(forward, backward)], tie_margin=0.1)
    assert found == Comparison(pytest.approx(0.25), Verdict.SECOND, (forward, backward))


def test_the_plain_comparison_does_not_show_the_reference_and_the_one_of_reasoning_does() -> None:
    marked = Prompt("p", PROMPT.messages, "math", Task.MATH, reference="REFERENCE-4")
    model = judge(0.9, 0.1)
    asyncio.run(compare(model, marked, FIRST, SECOND, tie_margin=0, purpose="x"))
    assert all("REFERENCE-4" not in request.messages[0].content for request in model.requests)
    model = judge(0.9, 0.1)
    found = asyncio.run(compare_reasoning(model, marked, FIRST, SECOND, tie_margin=0, purpose="x"))
    assert [request.messages[0].content.count("REFERENCE-4") for request in model.requests] == [1, 1]
    assert found.verdict is Verdict.FIRST


def test_the_judge_reads_one_user_turn_bare_and_a_conversation_with_its_roles() -> None:
    assert conversation(PROMPT) == "What is 2 + 2?"
    turns = (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "2+2?"),
    )
    shown = conversation(Prompt("p", turns, "c", Task.OPEN))
    assert shown == "[system]\nBe brief.\n\n[user]\nHi\n\n[assistant]\nHello\n\n[user]\n2+2?"
