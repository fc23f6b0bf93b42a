import asyncio
import math

import pytest

from hrlaif.config import EndpointSection, JudgeSection
from hrlaif.errors import CallError
from hrlaif.judges.ask import template
from hrlaif.judges.compare import Comparison, compare, compare_reasoning, orders, pooled, question, votes_of
from hrlaif.judges.panel import Judge, Panel, panel_of, seat, with_room
from hrlaif.models.base import ChatModel, ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Basis, Cost, Evidence, Finish, Label, Message, Prompt, Response, Task, Verdict

PROMPT = Prompt("p", (Message("user", "What is 2 + 2?"),), "math", Task.MATH, reference="4")
FIRST = Response("p/0", "p", "It is four.", "policy", 0, Finish.STOP)
SECOND = Response("p/1", "p", "It is five.", "policy", 1, Finish.STOP)


def says(forward: float | None, backward: float | None, *, name: str) -> ScriptedModel:
    """P(A) when FIRST is shown as A, and when SECOND is; None is a reply that cannot be read."""

    def script(request: ChatRequest) -> ChatReply:
        text = request.messages[0].content
        share = forward if text.index(FIRST.text) < text.index(SECOND.text) else backward
        if share is None:
            return ChatReply("Hmm.", Finish.STOP, name, (), Cost(1, 90, 2))
        alternatives = {"A": math.log(share), "B": math.log(1 - share)}
        return ChatReply("A" if share >= 0.5 else "B", Finish.STOP, name, (alternatives,), Cost(1, 100, 1))

    return ScriptedModel(script, name=name)


def compared(panel: Panel, *, tie_margin: float = 0.05) -> Comparison:
    return asyncio.run(compare(panel, PROMPT, FIRST, SECOND, tie_margin=tie_margin, purpose="labels/rlaif"))


def label_of(found: Comparison) -> Label:
    evidence = Evidence(judgements=found.judgements)
    return Label("p", "p/0", "p/1", found.p_first, found.verdict, Basis.JUDGE, evidence)


# --- the vote ---------------------------------------------------------------------------------------------------------

# Alone: a gives (0.9 + 1 - 0.3) / 2 = 0.8, b (0.4 + 1 - 0.8) / 2 = 0.3, c (0.6 + 1 - 0.6) / 2 = 0.5.
A, B, C = (0.9, 0.3), (0.4, 0.8), (0.6, 0.6)


def test_the_soft_label_is_the_weighted_mean_over_both_orders_of_all_judges() -> None:
    judges = (
        Judge(says(*A, name="a"), weight=2.0),
        Judge(says(*B, name="b")),
        Judge(says(*C, name="c"), weight=0.5),
    )
    found = compared(Panel(judges))
    # (2 * 0.8 + 1 * 0.3 + 0.5 * 0.5) / 3.5 = 2.15 / 3.5.
    assert found.p_first == pytest.approx(2.15 / 3.5)
    assert found.verdict is Verdict.FIRST
    assert [(one.judge, one.first_id, one.weight) for one in found.judgements] == [
        *(("a", "p/0", 2.0), ("a", "p/1", 2.0)),
        *(("b", "p/0", 1.0), ("b", "p/1", 1.0)),
        *(("c", "p/0", 0.5), ("c", "p/1", 0.5)),
    ]


@pytest.mark.parametrize("broken", [(None, 0.8), (0.4, None), (None, None)])
def test_a_judge_that_is_unreadable_in_either_order_drops_out_and_its_calls_are_kept(
    broken: tuple[float | None, float | None],
) -> None:
    judges = (Judge(says(*A, name="a"), weight=3.0), Judge(says(*broken, name="b")), Judge(says(*C, name="c")))
    found = compared(Panel(judges))
    # (3 * 0.8 + 1 * 0.5) / 4.
    assert found.p_first == pytest.approx(2.9 / 4)
    assert len(found.judgements) == 6
    assert [vote.is_readable for vote in votes_of(label_of(found))] == [True, False, True]


def test_only_a_panel_without_a_readable_judge_is_unreadable() -> None:
    found = compared(Panel((Judge(says(None, 0.9, name="a")), Judge(says(0.9, None, name="b")))))
    assert (found.p_first, found.verdict, len(found.judgements)) == (0.5, Verdict.UNREADABLE, 4)


def test_judges_that_contradict_each_other_end_at_a_tie() -> None:
    found = compared(Panel((Judge(says(0.9, 0.1, name="a")), Judge(says(0.1, 0.9, name="b")))))
    assert (found.p_first, found.verdict) == (pytest.approx(0.5), Verdict.TIE)


def test_a_failed_call_of_one_judge_costs_its_own_vote_only() -> None:
    def fail(_: ChatRequest) -> str:
        raise CallError("timed out")

    found = compared(Panel((Judge(says(*A, name="a")), Judge(ScriptedModel(fail, name="b")))))
    assert found.p_first == pytest.approx(0.8)
    assert [one.reply for one in found.judgements[2:]] == ["call failed: timed out"] * 2


def test_a_plain_model_is_a_panel_of_one() -> None:
    model = says(*A, name="a")
    assert compared(panel_of(model)) == asyncio.run(
        compare(model, PROMPT, FIRST, SECOND, tie_margin=0.05, purpose="labels/rlaif")
    )
    assert panel_of(model).name == "a"
    panel = Panel((Judge(model), Judge(model, prompt="correctness")))
    assert panel_of(panel) is panel
    assert panel.name == "panel: a, a (correctness)"


# --- votes read back from a label -------------------------------------------------------------------------------------


def test_a_panel_flips_where_its_pooled_verdict_does_and_each_judge_where_its_own_does() -> None:
    # In the pair's order: (0.9 + 0.4 + 0.6) / 3 = 0.63; in the other: (0.3 + 0.8 + 0.6) / 3 = 0.57. First place twice.
    votes = votes_of(
        label_of(compared(Panel(tuple(Judge(says(*one, name=n)) for n, one in zip("abc", (A, B, C), strict=True)))))
    )
    first, second = Verdict.FIRST, Verdict.SECOND
    assert [orders(vote) for vote in votes] == [(first, second), (second, first), (first, first)]
    assert (pooled(votes).forward.p_first, pooled(votes).backward.p_first) == (
        pytest.approx(1.9 / 3),
        pytest.approx(1.7 / 3),
    )
    assert orders(pooled(votes)) == (first, first)


def test_the_pooled_vote_is_that_of_the_readable_judges_by_weight_and_of_one_judge_its_own() -> None:
    judges = (Judge(says(*A, name="a"), weight=3.0), Judge(says(None, 0.9, name="b")), Judge(says(*B, name="c")))
    votes = votes_of(label_of(compared(Panel(judges))))
    # (3 * 0.9 + 0.4) / 4 and (3 * 0.3 + 0.8) / 4.
    assert pooled(votes).forward.p_first == pytest.approx(3.1 / 4)
    assert pooled(votes).backward.p_first == pytest.approx(1.7 / 4)
    assert pooled(votes[1:2]) == votes[1]
    assert not pooled(votes[1:2]).is_readable


def test_a_call_without_its_opposite_is_no_vote() -> None:
    found = compared(Panel((Judge(says(*A, name="a")), Judge(says(*B, name="b")))))
    one_missing = found._replace(judgements=found.judgements[1:])
    assert [vote.forward.judge for vote in votes_of(label_of(one_missing))] == ["b"]


# --- names and wordings -----------------------------------------------------------------------------------------------


def test_a_name_tells_two_judges_of_one_model_apart() -> None:
    model = ScriptedModel(lambda _: "A", name="org/m")
    assert Judge(model).name == "org/m"
    assert Judge(model, reply="json").name == "org/m (json)"
    assert Judge(model, prompt="errors_first").name == "org/m (errors_first)"
    assert Judge(model, prompt="mine", template="$request $first $second", reply="json").name == "org/m (mine, json)"


def asked_by(judge: Judge, *, reference: str | None = None) -> str:
    return question(judge, PROMPT, (FIRST, SECOND), reference=reference)


MODEL = ScriptedModel(lambda _: "A")
STANDARD_LETTER = "Which response is better? Reply with one letter only: A or B.\n"


def test_each_wording_asks_with_its_own_criterion_and_in_the_form_that_is_wanted() -> None:
    assert asked_by(Judge(MODEL)).endswith(STANDARD_LETTER)
    assert "Only correctness counts." in asked_by(Judge(MODEL, prompt="correctness"))
    assert "Look for faults before merits." in asked_by(Judge(MODEL, prompt="errors_first"))
    for prompt in ("standard", "correctness", "errors_first"):
        letter, json = (asked_by(Judge(MODEL, prompt=prompt, reply=reply)) for reply in ("letter", "json"))  # type: ignore[arg-type]
        assert (
            letter.replace(template("reply_letter").template.strip(), template("reply_json").template.strip()) == json
        )
        assert "$" not in letter
        assert letter.index(PROMPT.question) < letter.index(FIRST.text) < letter.index(SECOND.text)


def test_a_template_of_ones_own_gets_the_form_where_it_says_so_or_at_the_end() -> None:
    own = Judge(MODEL, prompt="mine", template="Costs $$5.\n$request\n1: $first\n2: $second\n")
    assert asked_by(own).startswith("Costs $5.\n[")
    assert asked_by(own).endswith("]\n\nReply with one letter only: A or B.")
    placed = Judge(MODEL, prompt="mine", template="${form}\n$request\n$first\n$second\nThink of $$form.")
    assert asked_by(placed).startswith("Reply with one letter only: A or B.\n[")
    assert asked_by(placed).endswith("\nThink of $form.")


def test_on_two_correct_responses_the_standard_wording_has_its_own_and_others_are_told_what_to_compare() -> None:
    standard = asked_by(Judge(MODEL), reference="REF-4")
    assert standard.startswith("You compare how two responses reason.")
    for judge in (
        Judge(MODEL, prompt="errors_first"),
        Judge(MODEL, prompt="mine", template="MINE $request $first $second"),
    ):
        text = asked_by(judge, reference="REF-4")
        assert text.startswith(("You look for what is wrong", "MINE"))
        assert "which is: REF-4\nSo it is their reasoning that is compared" in text
        assert text.index(SECOND.text) < text.index("REF-4") < text.index("Reply with one letter only")


def test_reasoning_is_compared_by_every_member_with_the_reference_shown() -> None:
    models = [says(*A, name="a"), says(*B, name="b")]
    panel = Panel((Judge(models[0]), Judge(models[1], prompt="correctness")))
    marked = Prompt("p", PROMPT.messages, "math", Task.MATH, reference="REF-4")
    found = asyncio.run(compare_reasoning(panel, marked, FIRST, SECOND, tie_margin=0.0, purpose="x"))
    assert found.p_first == pytest.approx((0.8 + 0.3) / 2)
    assert all("REF-4" in request.messages[0].content for model in models for request in model.requests)


# --- who sits on it ---------------------------------------------------------------------------------------------------


def seated(**values: object) -> tuple[Panel, list[list[EndpointSection]]]:
    """The panel of a judge's section, and the endpoints that were opened for each member."""
    opened: list[list[EndpointSection]] = []

    def open_model(sections: object) -> ChatModel:
        opened.append(list(sections))  # type: ignore[call-overload]
        return ScriptedModel(lambda _: "A", name=opened[-1][0].model or "bundled")

    return seat(JudgeSection.model_validate(values), open_model), opened


JUDGE = {"url": "http://a/v1", "model": "m", "usd_per_million_prompt_tokens": 2.0, "in_flight": 7}


def test_without_a_panel_the_judge_votes_alone_in_its_own_form() -> None:
    panel, opened = seated(**JUDGE, replicas=[{"url": "http://b/v1", "model": "m"}], reply="json", reply_max_tokens=900)
    (judge,) = panel.judges
    assert (judge.name, judge.reply, judge.reply_max_tokens, judge.weight) == ("m (json)", "json", 900, 1.0)
    assert [[one.url for one in sections] for sections in opened] == [["http://a/v1", "http://b/v1"]]


def test_a_member_without_a_url_is_asked_at_the_judges_endpoint_and_replicas() -> None:
    panel, opened = seated(
        **JUDGE,
        reply="json",
        replicas=[{"url": "http://b/v1", "model": "m"}],
        panel=[
            {},
            {"prompt": "correctness", "reply": "letter", "weight": 2},
            {"model": "larger", "in_flight": 3},
            {"url": "http://c/v1", "model": "other"},
        ],
    )
    assert [judge.name for judge in panel.judges] == ["m (json)", "m (correctness)", "larger (json)", "other (json)"]
    assert [judge.weight for judge in panel.judges] == [1, 2, 1, 1]
    assert [[one.url for one in sections] for sections in opened] == [
        ["http://a/v1", "http://b/v1"],
        ["http://a/v1", "http://b/v1"],
        ["http://a/v1"],
        ["http://c/v1"],
    ]
    # What the third does not say is as with the judge; the fourth has an endpoint of its own.
    assert [one.usd_per_million_prompt_tokens for (one,) in opened[2:]] == [2.0, 0.0]
    assert [one.in_flight for (one,) in opened[2:]] == [3, 64]


def test_models_of_all_members_are_entered_and_left() -> None:
    class Counted(ScriptedModel):
        depth = most = 0

        async def __aenter__(self) -> ScriptedModel:
            self.depth += 1
            self.most = max(self.most, self.depth)
            return self

        async def __aexit__(self, *error: object) -> None:
            self.depth -= 1

    models = [Counted(lambda _: "A") for _ in range(2)]

    async def enter() -> None:
        async with Panel(tuple(Judge(with_room(model, 9)) for model in models)):
            assert [model.depth for model in models] == [1, 1]

    asyncio.run(enter())
    assert [(model.depth, model.most) for model in models] == [(0, 1), (0, 1)]


def test_room_to_think_is_given_to_replies_that_are_read_strictly_and_to_no_other() -> None:
    model = ScriptedModel(lambda _: "A")
    roomy = with_room(model, 100)
    message = (Message("user", "?"),)
    requests = [
        ChatRequest(message, max_tokens=4, top_logprobs=20),
        ChatRequest(message, max_tokens=128, response_schema={}),
        ChatRequest(message, max_tokens=9, response_schema={}),
        ChatRequest(message, max_tokens=9, temperature=0.7),
    ]
    for request in requests:
        asyncio.run(roomy.chat(request))
    assert [(request.max_tokens, request.top_logprobs) for request in model.requests] == [
        (100, 5),
        (128, 0),
        (100, 0),
        (9, 0),
    ]
    assert roomy.name == model.name
    assert with_room(model, 0) is model
