import json
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from hrlaif.artifacts import read_manifest, read_records
from hrlaif.config import LabelsSection
from hrlaif.errors import CallError, ModelError
from hrlaif.labels import verify
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.scripted import ScriptedModel
from hrlaif.types import Cost, Finish, Message, Outcome, Prompt, Response, Task, Verification

# Choices, because their verifier never starts a process.
ADD = Prompt("add", (Message("user", "5 + 7?"),), "math", Task.CHOICE, reference="B", choices=("10", "12", "13"))
SUM = Prompt("sum", (Message("user", "What is 5 + 7?"),), "math", Task.MATH, reference="12")
CHAT = Prompt("chat", (Message("user", "Hello!"),), "open", Task.OPEN)
RUDE = Prompt("rude", (Message("user", "Be rude."),), "red", Task.RED_TEAM, hazard="S10")
PICK = Prompt("pick", ADD.messages, "math", Task.CHOICE, choices=ADD.choices)
UNSOLVED = Prompt("unsolved", (Message("user", "What is 2 + 2?"),), "math", Task.MATH)


class Held(Response):
    """A response that can be seen to be let go."""

    __slots__ = ("__weakref__",)


READABLE, UNREADABLE = "The answer is B.", "It makes a dozen, I would say."


def answers(prompt: Prompt, *texts: str, finish: Finish = Finish.STOP) -> list[Response]:
    return [Response(f"{prompt.id}/{k}", prompt.id, text, "policy", k, finish) for k, text in enumerate(texts)]


def reads_dozen(_: ChatRequest) -> ChatReply:
    reply = json.dumps({"final_answer": "a dozen", "verdict": "same"})
    return ChatReply(reply, Finish.STOP, "judge", cost=Cost(1, 60, 9))


def verified(
    path: Path,
    prompts: list[Prompt],
    responses: Iterable[Response],
    judge: ScriptedModel,
    *,
    window: int = 4,
    **options: object,
) -> list[Verification]:
    section = LabelsSection.model_validate(options)
    n = verify(prompts, responses, judge=judge, section=section, path=path, fingerprint="f", window=window)
    found = list(read_records(path, Verification))
    assert len(found) == n
    return found


def test_what_the_rule_reads_costs_nothing_and_comes_in_the_order_of_the_responses(tmp_path: Path) -> None:
    judge = ScriptedModel(reads_dozen)
    responses = [
        *answers(SUM, "The answer is 12.", "The answer is 13."),
        *answers(CHAT, "Hi."),
        *answers(ADD, READABLE, "The answer is A."),
        *answers(RUDE, "No."),
    ]
    found = verified(tmp_path / "v.jsonl", [ADD, SUM, CHAT, RUDE], responses, judge)
    right, wrong = Outcome.CORRECT, Outcome.WRONG
    assert [(one.response_id, one.outcome) for one in found] == [
        ("sum/0", right),
        ("sum/1", wrong),
        ("add/0", right),
        ("add/1", wrong),
    ]
    assert [one.reference for one in found] == ["12", "12", "B", "B"]
    assert judge.requests == []
    assert sum((one.cost for one in found), Cost()) == Cost()
    manifest = read_manifest(tmp_path / "v.jsonl")
    assert manifest is not None
    assert (manifest["rows"], manifest["outcomes"]) == (4, {"correct": 2, "wrong": 2})


def test_only_what_the_rule_cannot_read_goes_to_the_judge(tmp_path: Path) -> None:
    judge = ScriptedModel(reads_dozen, name="judge")
    found = verified(tmp_path / "v.jsonl", [ADD], answers(ADD, READABLE, UNREADABLE), judge)
    assert [one.verifier for one in found] == ["rule:choice", "judge"]
    assert (found[1].outcome, found[1].found, found[1].reference) == (Outcome.CORRECT, "a dozen", "B")
    assert found[1].cost == Cost(1, 60, 9)
    assert [request.purpose for request in judge.requests] == ["verify"]


@pytest.mark.parametrize(
    ("text", "finish"),
    [(UNREADABLE, Finish.LENGTH), (UNREADABLE, Finish.FAILED), ("", Finish.STOP), (" ", Finish.STOP)],
)
def test_an_answer_that_was_cut_off_or_is_empty_is_not_asked_about(tmp_path: Path, text: str, finish: Finish) -> None:
    judge = ScriptedModel(reads_dozen)
    found = verified(tmp_path / "v.jsonl", [ADD], answers(ADD, text, finish=finish), judge)
    assert [one.outcome for one in found] == [Outcome.UNREADABLE]
    assert judge.requests == []


def test_without_the_answer_check_nobody_is_asked(tmp_path: Path) -> None:
    judge = ScriptedModel(reads_dozen)
    found = verified(tmp_path / "v.jsonl", [ADD], answers(ADD, UNREADABLE), judge, answer_check=False)
    assert [one.outcome for one in found] == [Outcome.UNREADABLE]
    assert judge.requests == []


def test_a_failed_call_leaves_its_own_response_unreadable(tmp_path: Path) -> None:
    def script(request: ChatRequest) -> ChatReply:
        if "ten and two" in request.messages[0].content:
            raise CallError("timed out")
        return reads_dozen(request)

    responses = answers(ADD, "It is ten and two, a dozen.", UNREADABLE)
    found = verified(tmp_path / "v.jsonl", [ADD], responses, ScriptedModel(script))
    assert [one.outcome for one in found] == [Outcome.UNREADABLE, Outcome.CORRECT]


# --- prompts without a reference -------------------------------------------------------------------------------------


def solves(*texts: str) -> ScriptedModel:
    """A judge that gives these solutions, by the seed of the attempt."""
    return ScriptedModel(lambda request: texts[request.seed or 0], name="judge")


def test_without_attempts_a_prompt_without_a_reference_is_left_alone(tmp_path: Path) -> None:
    judge = solves()
    assert verified(tmp_path / "v.jsonl", [UNSOLVED], answers(UNSOLVED, "The answer is 4."), judge) == []
    assert judge.requests == []


def test_the_majority_of_the_judges_solutions_is_the_reference(tmp_path: Path) -> None:
    judge = solves("The answer is 4.", "The answer is 5.", "So it is 4.0.\n#### 4.0")
    responses = answers(UNSOLVED, "The answer is 4.", "The answer is 5.")
    # 4 and 4.0 are the same answer: two of three.
    found = verified(tmp_path / "v.jsonl", [UNSOLVED], responses, judge, solve_times=3, solve_majority=0.6)
    assert [(one.outcome, one.reference) for one in found] == [(Outcome.CORRECT, "4"), (Outcome.WRONG, "4")]
    assert [(request.seed, request.purpose) for request in judge.requests] == [(k, "solve") for k in range(3)]
    assert all(request.messages == UNSOLVED.messages and request.temperature > 0 for request in judge.requests)


@pytest.mark.parametrize(
    "texts",
    [
        ("The answer is A.", "The answer is B.", "The answer is C."),  # no two agree
        ("The answer is B.", "I do not know.", "Hard to say."),  # one of three, the others cannot be read
        ("I do not know.", "Hard to say.", "No idea."),
        ("The answer is B.", "The answer is C.", "Hard to say.", "The answer is C.", "The answer is B."),  # two draws
    ],
)
def test_without_a_majority_there_is_no_reference_and_no_verification(tmp_path: Path, texts: tuple[str, ...]) -> None:
    options = {"solve_times": len(texts), "solve_majority": 0.4}
    assert verified(tmp_path / "v.jsonl", [PICK], answers(PICK, READABLE), solves(*texts), **options) == []


def test_a_share_that_reaches_the_majority_exactly_is_enough(tmp_path: Path) -> None:
    # 0.55 * 100 is 55.00000000000001 in floating point, yet 55 of 100 are 0.55.
    judge = solves(*["The answer is B."] * 55, *["The answer is C."] * 45)
    found = verified(tmp_path / "v.jsonl", [PICK], answers(PICK, READABLE), judge, solve_times=100, solve_majority=0.55)
    assert [(one.outcome, one.reference) for one in found] == [(Outcome.CORRECT, "B")]


def test_a_failed_attempt_counts_against_the_majority(tmp_path: Path) -> None:
    def script(request: ChatRequest) -> str:
        if request.seed:
            raise CallError("timed out")
        return "The answer is 4."

    responses = answers(UNSOLVED, "The answer is 4.")
    path = tmp_path / "v.jsonl"
    assert verified(path, [UNSOLVED], responses, ScriptedModel(script), solve_times=2, solve_majority=0.6) == []


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [(CHAT,), (ADD,), (ADD, CHAT, CHAT), (CHAT, CHAT, ADD)])
def test_responses_are_read_once_and_only_a_window_of_them_is_held(tmp_path: Path, kinds: tuple[Prompt, ...]) -> None:
    count, window = 3000, 4
    alive: weakref.WeakSet[Held] = weakref.WeakSet()
    most = 0

    def stream() -> Iterator[Response]:
        nonlocal most
        for k in range(count):
            prompt = kinds[k % len(kinds)]
            one = Held(f"{prompt.id}/{k}", prompt.id, READABLE, "policy", k, Finish.STOP)
            alive.add(one)
            most = max(most, len(alive))
            yield one

    n = verify(
        [ADD, CHAT],
        stream(),
        judge=ScriptedModel(reads_dozen),
        section=LabelsSection(),
        path=tmp_path / "v.jsonl",
        fingerprint="f",
        window=window,
    )
    assert n == sum(kinds[k % len(kinds)] is ADD for k in range(count))
    # The window, and what the generators between have in hand.
    assert most <= window + 8


# --- resume ----------------------------------------------------------------------------------------------------------


def test_a_run_that_broke_off_asks_about_no_response_twice(tmp_path: Path) -> None:
    texts = [f"{UNREADABLE} Number {word}." for word in ("one", "two", "three", "four")]
    responses = [*answers(CHAT, "Hi."), *answers(ADD, *texts)]
    path = tmp_path / "v.jsonl"

    def breaks(request: ChatRequest) -> ChatReply:
        if "Number three" in request.messages[0].content:
            raise ModelError("the endpoint is gone")
        return reads_dozen(request)

    with pytest.raises(ModelError, match="gone"):
        verified(path, [CHAT, ADD], responses, ScriptedModel(breaks), window=1)
    second = ScriptedModel(reads_dozen)
    found = verified(path, [CHAT, ADD], iter(responses), second)
    assert [one.response_id for one in found] == ["add/0", "add/1", "add/2", "add/3"]
    assert len(second.requests) == 2


def test_a_prompt_that_is_solved_only_at_the_second_attempt_shifts_nothing(tmp_path: Path) -> None:
    responses = [*answers(UNSOLVED, "The answer is 4."), *answers(ADD, READABLE, UNREADABLE, "The answer is C.")]
    path = tmp_path / "v.jsonl"

    def first(request: ChatRequest) -> str:
        if request.purpose == "solve":
            raise CallError("busy")
        raise ModelError("gone")

    with pytest.raises(ModelError, match="gone"):
        verified(path, [UNSOLVED, ADD], responses, ScriptedModel(first), window=1, solve_times=1)

    def second(request: ChatRequest) -> ChatReply | str:
        return "The answer is 4." if request.purpose == "solve" else reads_dozen(request)

    found = verified(path, [UNSOLVED, ADD], responses, ScriptedModel(second), solve_times=1)
    assert [(one.response_id, one.outcome.value) for one in found] == [
        ("add/0", "correct"),
        ("add/1", "correct"),
        ("add/2", "wrong"),
    ]


def test_the_records_are_the_same_whatever_the_window(tmp_path: Path) -> None:
    responses = [
        response for letter in "ABC" for response in answers(ADD, READABLE, UNREADABLE, f"The answer is {letter}.")
    ]
    files = []
    for window in (1, 2, 50):
        verified(tmp_path / f"{window}.jsonl", [ADD], responses, ScriptedModel(reads_dozen), window=window)
        files.append((tmp_path / f"{window}.jsonl").read_bytes())
    assert files[0] == files[1] == files[2]
