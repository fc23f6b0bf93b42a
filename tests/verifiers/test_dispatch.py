import itertools
import threading

import pytest

from hrlaif.errors import DataError
from hrlaif.types import Finish, Message, Outcome, Prompt, Response, Task, Verification
from hrlaif.verifiers import verify, verify_many

SLOW = r"\boxed{\int_0^1 \sin(x^{x^x}) e^{x^{5}} dx}"


def item(
    number: int, task: Task, reference: str | None, text: str, choices: tuple[str, ...] = ()
) -> tuple[Prompt, Response]:
    question = (Message("user", "What is the capital of France?"),)
    prompt = Prompt(f"p{number}", question, "any", task, reference=reference, choices=choices)
    return prompt, Response(f"r{number}", prompt.id, text, "m", 0, Finish.STOP)


def test_each_task_goes_to_its_own_verifier() -> None:
    assert verify(*item(1, Task.MATH, "12", "The answer is 12.")) == Verification(
        "r1", Outcome.CORRECT, "12", "rule:math"
    )
    assert verify(*item(2, Task.CHOICE, "B", "It is (B).", ("Rome", "Paris"))).verifier == "rule:choice"
    assert verify(*item(3, Task.CHOICE, "B", "The answer is Paris.", ("Rome", "Paris"))).found == "B"
    assert verify(*item(4, Task.SHORT, "Paris", "Paris is the capital of France.")).outcome is Outcome.CORRECT


def test_the_finish_of_a_response_reaches_its_verifier() -> None:
    prompt, _ = item(1, Task.MATH, "12", "")
    cut = Response("r", prompt.id, "The answer is 12", "m", 0, Finish.LENGTH)
    assert verify(prompt, cut).outcome is Outcome.UNREADABLE


def test_verification_works_outside_the_main_thread() -> None:
    results: list[Verification] = []
    thread = threading.Thread(
        target=lambda: results.append(verify(*item(1, Task.MATH, r"2\sqrt{3}", r"\boxed{\sqrt{12}}")))
    )
    thread.start()
    thread.join()
    assert [result.outcome for result in results] == [Outcome.CORRECT]


def test_results_come_in_the_order_of_the_items_and_a_hanging_one_costs_only_itself() -> None:
    items = [
        item(0, Task.MATH, "12", "The answer is 12."),
        item(1, Task.MATH, "x", SLOW),
        item(2, Task.MATH, r"2\sqrt{3}", r"\boxed{\sqrt{12}}"),
        item(3, Task.MATH, r"2\sqrt{3}", r"\boxed{\sqrt{13}}"),
        item(4, Task.SHORT, "Paris", "Rome"),
    ]
    results = list(verify_many(items, workers=1, limit_s=0.2))
    assert [result.response_id for result in results] == ["r0", "r1", "r2", "r3", "r4"]
    assert [result.outcome.value for result in results] == ["correct", "unreadable", "correct", "wrong", "wrong"]


def test_results_stream_while_items_are_still_arriving() -> None:
    endless = (item(number, Task.MATH, "12", f"The answer is {number}.") for number in itertools.count())
    first = list(itertools.islice(verify_many(endless), 14))
    assert [result.outcome is Outcome.CORRECT for result in first] == [number == 12 for number in range(14)]


@pytest.mark.parametrize(
    ("task", "reference", "message"),
    [
        (Task.MATH, None, "prompt 'p7' has no reference"),
        (Task.SHORT, "  ", "prompt 'p7' has no reference"),
        (Task.OPEN, "12", "prompt 'p7': task 'open' has no final answer"),
        (Task.CHOICE, "Berlin", "prompt 'p7': reference 'Berlin' is neither"),
    ],
)
def test_a_prompt_that_cannot_be_verified_is_named(task: Task, reference: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        verify(*item(7, task, reference, "12", ("Rome", "Paris")))
    with pytest.raises(DataError, match=message):
        list(verify_many([item(7, task, reference, "12", ("Rome", "Paris"))]))
