import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrlaif.config import EndpointSection
from hrlaif.errors import ModelError
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.http import HttpModel
from hrlaif.models.http_sampler import HttpSampler
from hrlaif.models.ledger import Ledger
from hrlaif.models.scripted import Fault, ScriptedServer, completion
from hrlaif.types import Finish, Message, Prompt, Response, Task


def requests(count: int) -> list[SampleRequest]:
    prompts = [Prompt(f"p{n}", (Message("user", str(n)),), "open", Task.OPEN) for n in range(count)]
    return [SampleRequest(prompt, f"{prompt.id}/r", seed=number) for number, prompt in enumerate(prompts)]


def script(body: dict[str, Any]) -> str | dict[str, Any] | Fault:
    question = body["messages"][-1]["content"]
    if question == "3":
        return Fault(400, "no")
    if question == "4":
        return completion("cut", finish_reason="length")
    return f"{question}: {body['seed']}, {body['temperature']}, {body.get('top_p')}, {body['max_tokens']}"


def sampler(server: ScriptedServer, ledger: Ledger | None = None) -> HttpSampler:
    return HttpSampler(HttpModel(EndpointSection(url=server.url, model="policy", in_flight=4), ledger=ledger))


def draw(source: HttpSampler, count: int) -> Iterator[Response]:
    return source.sample(requests(count), Decoding(temperature=0.7, top_p=0.9, max_tokens=32))


def test_responses_come_in_the_order_of_their_requests_and_a_failed_call_is_marked() -> None:
    with ScriptedServer(script) as server:
        responses = list(draw(sampler(server), 6))
    assert [response.id for response in responses] == [f"p{n}/r" for n in range(6)]
    assert responses[2] == Response("p2/r", "p2", "2: 2, 0.7, 0.9, 32", "policy", 2, Finish.STOP)
    assert responses[3] == Response("p3/r", "p3", "", "policy", 3, Finish.FAILED)
    assert (responses[4].text, responses[4].finish) == ("cut", Finish.LENGTH)


def test_drawing_again_is_free(tmp_path: Path) -> None:
    with ScriptedServer(script) as server, Ledger(tmp_path / "calls.sqlite") as ledger:
        first, second = list(draw(sampler(server, ledger), 3)), list(draw(sampler(server, ledger), 3))
        assert first == second
        assert server.calls == ledger.totals("responses").calls == 3


def test_more_responses_than_the_window_holds_all_arrive() -> None:
    with ScriptedServer(lambda body: "x") as server:
        assert len(list(draw(sampler(server), 100))) == 100


def test_the_caller_may_stop_early_while_calls_are_stuck(caplog: pytest.LogCaptureFixture) -> None:
    def stuck(body: dict[str, Any]) -> str | Fault:
        return "x" if body["messages"][0]["content"] == "0" else Fault(stall_s=0.5)

    with ScriptedServer(stuck) as server:
        responses = draw(sampler(server), 50)
        assert next(responses).id == "p0/r"
        responses.close()  # type: ignore[attr-defined]
        assert server.calls <= 5  # the four under way at first, and the one that took the first one's place
    gc.collect()
    assert "never retrieved" not in caplog.text  # asyncio complains about errors that nobody looked at


def test_a_run_that_cannot_go_on_says_so() -> None:
    with ScriptedServer(lambda body: Fault(401, "wrong key")) as server, pytest.raises(ModelError, match="401"):
        list(draw(sampler(server), 3))
