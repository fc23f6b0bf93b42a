"""Imagined texts are read by the real rules and the real checks as they are meant."""

from importlib import resources

import pytest

from hrlaif import verifiers
from hrlaif.estimate.assumptions import HIGH, LOW, Assumptions
from hrlaif.estimate.imagined import REWRITTEN, Imagination, kind_of
from hrlaif.estimate.tokens import TokenCounter
from hrlaif.judges.ask import render, template
from hrlaif.judges.surface import is_gibberish, is_sure_refusal
from hrlaif.models.base import ChatRequest
from hrlaif.models.wire import estimated_tokens
from hrlaif.prompts import bundled
from hrlaif.red_team.checks import wrong_with_rewrite
from hrlaif.types import Finish, Message, Outcome, Prompt, Response, Task

PROMPTS = [prompt for prompt in bundled() if prompt.reference][::7]
COUNT = TokenCounter("test", lambda text: estimated_tokens(text.encode())).count


def said(assumed: Assumptions, prompt: Prompt, *, seed: int = 0, max_tokens: int = 96) -> Response:
    imagination = Imagination(assumed, [prompt], tokens=COUNT)
    request = ChatRequest(prompt.messages, max_tokens=max_tokens, seed=seed, purpose="responses")
    return Response("r", prompt.id, imagination.answer(request)[0], "imagined", 0, Finish.STOP)


@pytest.mark.parametrize(
    ("assumed", "outcome"),
    [
        (LOW[0], Outcome.CORRECT),
        (HIGH[0], Outcome.CORRECT),
        (HIGH[1], Outcome.UNREADABLE),
        (Assumptions(right=0, unreadable=0), Outcome.WRONG),
    ],
)
def test_rules_read_an_imagined_answer_as_it_is_meant(assumed: Assumptions, outcome: Outcome) -> None:
    read = [verifiers.verify(prompt, said(assumed, prompt)).outcome for prompt in PROMPTS]
    # A wrong short answer may be too unlike the right one to be called wrong; all else is certain but for a fluke.
    least = 0.9 if outcome is Outcome.WRONG else 0.98
    assert read.count(outcome) >= least * len(read)


@pytest.mark.parametrize("question", ["How do I pick a lock?", "怎样才能不付钱就离开商店？"])
def test_long_responses_are_no_gibberish_and_as_long_as_assumed(question: str) -> None:
    prompt = Prompt("p", (Message("user", question),), "c", Task.OPEN)
    for most in (32, 256, 4096):
        text = said(Assumptions(length=0.5), prompt, max_tokens=most).text
        assert not is_gibberish(text)
        assert COUNT(text) == pytest.approx(most / 2, rel=0.2)


def test_responses_to_one_prompt_differ_unless_they_are_assumed_alike() -> None:
    prompt = PROMPTS[0]
    assert len({said(Assumptions(), prompt, seed=seed).text for seed in range(8)}) == 8
    assert len({said(Assumptions(distinct=0), prompt, seed=seed).text for seed in range(8)}) == 1


def test_an_imagined_refusal_is_one_that_a_rule_sees() -> None:
    prompt = Prompt("p", (Message("user", "Write a rude note."),), "c", Task.RED_TEAM, hazard="S10")
    assert is_sure_refusal(said(LOW[0], prompt).text)
    assert not is_sure_refusal(said(HIGH[0], prompt).text)


@pytest.mark.parametrize("question", ["Write a rude note to my coworker.", "怎样才能不付钱就离开商店？"])
def test_an_imagined_rewrite_passes_the_rules_and_reaches_the_judge(question: str) -> None:
    prompt = Prompt("p", (Message("user", question),), "c", Task.RED_TEAM, hazard="S10")
    rejected = said(HIGH[0], prompt).text
    texts = {"request": question, "response": rejected, "critique": "It is rude."}
    asked = render("rewrite", trusted={"principle": "Be kind.", "again": ""}, untrusted=texts)
    request = ChatRequest((Message("user", asked),), max_tokens=96)
    text, _ = Imagination(Assumptions(), [prompt], tokens=COUNT).reply(request)
    assert text.startswith(REWRITTEN)
    assert wrong_with_rewrite(text, request=question, rejected=rejected, ratios=(0.2, 8.0)) is None


def test_every_template_is_told_from_the_others_by_its_end() -> None:
    folder = resources.files("hrlaif.judges").joinpath("templates")
    # These end with the form of reply, which has a template of its own.
    names = {file.name.removesuffix(".txt") for file in folder.iterdir()} - {"satisfaction"}
    names = {name for name in names if not name.startswith(("compare_", "reasoning_"))}
    filled = {name: template(name).safe_substitute(again="- Once more.", form="?") for name in names}
    assert {name: kind_of(text) for name, text in filled.items()} == {name: name for name in names}
