import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hrlaif.config import EndpointSection, JudgeSection
from hrlaif.errors import BudgetError, CallError, ConfigError, ModelError
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.models.endpoints import endpoint_key
from hrlaif.models.http import HttpModel
from hrlaif.models.ledger import Ledger
from hrlaif.models.limits import Budget
from hrlaif.models.scripted import Fault, ScriptedServer, completion
from hrlaif.models.wire import Secret
from hrlaif.types import Cost, Message

Outcome = ChatReply | BaseException
KEY = "very-secret-key-0123456789"


def request(text: str, **options: Any) -> ChatRequest:
    return ChatRequest((Message("user", text),), max_tokens=4, purpose="test", **options)


def text_of(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def endpoint(server: ScriptedServer, **options: Any) -> EndpointSection:
    return EndpointSection(url=server.url, model="judge", **options)


async def all_of(model: HttpModel, requests: Sequence[ChatRequest]) -> list[Outcome]:
    async with model:
        return await asyncio.gather(*(model.chat(each) for each in requests), return_exceptions=True)


def ask(model: HttpModel, *requests: ChatRequest) -> list[Outcome]:
    return asyncio.run(all_of(model, requests))


def texts(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.text if isinstance(outcome, ChatReply) else type(outcome).__name__ for outcome in outcomes]


class Attempts:
    """Answers the nth attempt at a prompt with the nth of `answers`, the last one from then on."""

    def __init__(self, **answers: Sequence[str | dict[str, Any] | Fault]) -> None:
        self.seen: Counter[str] = Counter()
        self._answers = answers

    def __call__(self, body: dict[str, Any]) -> str | dict[str, Any] | Fault:
        text = text_of(body)
        answers = self._answers.get(text, ("A",))
        self.seen[text] += 1
        return answers[min(self.seen[text], len(answers)) - 1]


TRANSIENT = {
    "limited": Fault(429),
    "limited_for_a_while": Fault(429, headers={"Retry-After": "0.2"}),
    "slow": Fault(408),
    "conflict": Fault(409),
    "error": Fault(500, "<html>oops</html>"),
    "gateway": Fault(502),
    "busy": Fault(503, headers={"Retry-After": "0.1"}),
    "broken": Fault(200, '{"choices": [{"mess'),
    "empty": Fault(200, ""),
    "error_in_200": Fault(200, '{"error": {"message": "upstream"}}'),
    "dropped": Fault(disconnect=True),
    "stalled": Fault(stall_s=30.0),
}


def test_what_can_be_retried_is_retried_until_it_is_answered() -> None:
    script = Attempts(**{name: (fault, "A") for name, fault in TRANSIENT.items()})
    with ScriptedServer(script) as server:
        outcomes = ask(HttpModel(endpoint(server, timeout_s=0.4), ledger=None), *map(request, TRANSIENT))
    assert texts(outcomes) == ["A"] * len(TRANSIENT)
    assert script.seen == dict.fromkeys(TRANSIENT, 2)


def test_a_call_that_keeps_failing_costs_itself_only_after_its_retries() -> None:
    script = Attempts(poison=(Fault(500, "boom"),))
    with ScriptedServer(script) as server:
        outcomes = ask(HttpModel(endpoint(server, retries=2), ledger=None), request("good"), request("poison"))
    assert texts(outcomes) == ["A", "CallError"]
    assert script.seen["poison"] == 3
    assert "500 boom (3 attempts)" in str(outcomes[1])


@pytest.mark.parametrize("status", [400, 422, 413])
def test_a_refused_request_is_not_repeated_and_costs_itself_only(status: int) -> None:
    script = Attempts(bad=(Fault(status, '{"error": {"message": "too long"}}'),))
    with ScriptedServer(script) as server:
        outcomes = ask(HttpModel(endpoint(server), ledger=None), *map(request, ("1", "bad", "2")))
    assert texts(outcomes) == ["A", "CallError", "A"]
    assert script.seen["bad"] == 1
    assert str(outcomes[1]) == f"{server.url}: {status} too long"


def test_an_endpoint_that_refuses_everything_stops_the_run() -> None:
    with ScriptedServer(lambda body: Fault(400, "unknown option")) as server:
        outcomes = ask(HttpModel(endpoint(server), ledger=None), *(request(str(number)) for number in range(60)))
    assert "refused the first 50 calls" in str(outcomes[-1])


@pytest.mark.parametrize(("status", "advice"), [(401, "JUDGE_TEST_KEY"), (403, "JUDGE_TEST_KEY"), (404, "'judge'")])
def test_a_wrong_key_or_model_stops_the_run_at_once(status: int, advice: str) -> None:
    with ScriptedServer(lambda body: Fault(status, "no")) as server:
        section = endpoint(server, key_env="JUDGE_TEST_KEY", in_flight=1)
        model = HttpModel(section, ledger=None, environment={"JUDGE_TEST_KEY": KEY})
        outcomes = ask(model, *(request(str(number)) for number in range(20)))
    assert server.calls == 1
    assert {type(outcome) for outcome in outcomes} == {ModelError}
    assert advice in str(outcomes[0])


def test_the_key_is_sent_and_never_shown_or_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    echoes = {"refused": 400, "forbidden": 403, "broken": 200}

    def script(body: dict[str, Any]) -> str | Fault:
        if text_of(body) == "echo":
            return f"your header says Bearer {KEY}"
        return Fault(echoes[text_of(body)], f"your key is {KEY}")

    with ScriptedServer(script) as server, Ledger(tmp_path / "calls.sqlite") as ledger:
        model = HttpModel(endpoint(server, retries=0), ledger=ledger, environment={"OPENAI_API_KEY": f" {KEY}\n"})
        shown = [str(outcome) for text in ("echo", *echoes) for outcome in ask(model, request(text))]
        assert server.headers["Authorization"] == f"Bearer {KEY}"
    assert all("[key]" in text and KEY not in text for text in shown)
    assert KEY not in repr(vars(model)) + repr([vars(one) for one in model.endpoints]) + caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_the_judge_key_goes_before_the_general_one() -> None:
    environment = {"HRLAIF_JUDGE_KEY": "one", "OPENAI_API_KEY": "two", "OWN": "three"}
    section = EndpointSection(url="http://127.0.0.1:1/v1", model="m")
    assert endpoint_key(section, environment) == (Secret("one"), "HRLAIF_JUDGE_KEY")
    assert endpoint_key(section.model_copy(update={"key_env": "OWN"}), environment) == (Secret("three"), "OWN")
    assert endpoint_key(section, {})[0] == Secret("")


@pytest.mark.parametrize("environment", [{}, {"OWN": "abc\ndef"}, {"OWN": "abcé"}])
def test_a_key_that_is_named_must_be_there_and_be_one_and_is_not_shown(environment: dict[str, str]) -> None:
    section = EndpointSection(url="http://127.0.0.1:1/v1", model="m", key_env="OWN")
    with pytest.raises(ConfigError, match="OWN") as caught:
        HttpModel(section, ledger=None, environment=environment)
    assert "abc" not in str(caught.value)


def test_an_endpoint_that_was_never_there_is_reported_soon() -> None:
    model = HttpModel(EndpointSection(url="http://127.0.0.1:9/v1", model="m"), ledger=None, first_contact_s=0.3)
    (outcome,) = ask(model, request("1"))
    assert isinstance(outcome, ModelError)
    assert not isinstance(outcome, CallError)
    assert "Is the server running" in str(outcome)


def test_an_endpoint_that_never_answers_usefully_stops_the_run() -> None:
    with ScriptedServer(lambda body: Fault(500, "boom")) as server:
        (outcome,) = ask(HttpModel(endpoint(server, retries=1), ledger=None), request("1"))
    assert not isinstance(outcome, CallError)
    assert "has not answered a single call" in str(outcome)


def test_an_endpoint_that_worked_is_waited_for() -> None:
    with ScriptedServer(lambda body: "A") as server:
        port = int(server.url.split(":")[2].removesuffix("/v1"))

    async def scenario(model: HttpModel) -> str:
        async with model:
            with ScriptedServer(lambda body: "A", port=port):
                await model.chat(request("1"))
            waiting = asyncio.ensure_future(model.chat(request("2")))
            await asyncio.sleep(0.7)
            assert not waiting.done()
            with ScriptedServer(lambda body: "B", port=port):
                return (await waiting).text

    assert asyncio.run(scenario(HttpModel(endpoint(server, retries=0), ledger=None, first_contact_s=0.1))) == "B"


def test_an_absurd_retry_after_stops_the_run_instead_of_sleeping() -> None:
    with ScriptedServer(lambda body: Fault(429, "daily limit", {"Retry-After": "86400"})) as server:
        (outcome,) = ask(HttpModel(endpoint(server), ledger=None), request("1"))
    assert "asks to wait 86400 s" in str(outcome)


def test_nothing_is_sent_once_the_run_is_over() -> None:
    async def scenario(model: HttpModel) -> None:
        async with model:
            for text in ("first", "later"):
                with pytest.raises(ModelError, match="401"):
                    await model.chat(request(text))

    with ScriptedServer(lambda body: Fault(401)) as server:
        asyncio.run(scenario(HttpModel(endpoint(server), ledger=None)))
        assert server.calls == 1


def test_nothing_is_sent_before_retry_after_has_passed() -> None:
    arrivals: list[float] = []

    def script(body: dict[str, Any]) -> str | Fault:
        arrivals.append(time.monotonic())
        return Fault(429, headers={"Retry-After": "0.5"}) if len(arrivals) == 1 else "A"

    async def scenario(model: HttpModel) -> None:
        async with model:
            first = asyncio.ensure_future(model.chat(request("1")))
            await asyncio.sleep(0.2)
            await asyncio.gather(first, model.chat(request("2")))

    with ScriptedServer(script) as server:
        asyncio.run(scenario(HttpModel(endpoint(server), ledger=None)))
    assert len(arrivals) == 3
    assert min(arrivals[1:]) - arrivals[0] >= 0.49


@pytest.mark.parametrize("field", ["response_format", "seed", "top_logprobs"])
def test_a_field_that_the_endpoint_rejects_is_left_out_from_then_on(field: str) -> None:
    def script(body: dict[str, Any]) -> str | Fault:
        return Fault(400, f"{field} is not supported") if field in body else "A"

    options = {"seed": 1, "top_logprobs": 3, "response_schema": {"type": "object"}}
    with ScriptedServer(script) as server:
        model = HttpModel(endpoint(server, in_flight=1), ledger=None)
        assert texts(ask(model, request("1", **options), request("2", **options))) == ["A", "A"]
        assert server.calls == 3


def test_a_rejection_that_only_mentions_a_field_teaches_nothing() -> None:
    def script(body: dict[str, Any]) -> str | Fault:
        return Fault(400, "too long: tell me about the seed") if text_of(body) == "bad" else str(body.get("seed"))

    with ScriptedServer(script) as server:
        model = HttpModel(endpoint(server, in_flight=1), ledger=None)
        outcomes = ask(model, request("bad", seed=7), request("good", seed=7))
    assert texts(outcomes) == ["CallError", "7"]


def test_the_same_request_twice_at_once_is_paid_once() -> None:
    with ScriptedServer(lambda body: "A", latency_s=0.05) as server:
        outcomes = ask(HttpModel(endpoint(server), ledger=None), *([request("1")] * 5))
    assert server.calls == 1
    assert [outcome.cached for outcome in outcomes if isinstance(outcome, ChatReply)] == [False] + [True] * 4


def test_a_call_is_finished_for_the_others_when_the_one_who_asked_first_leaves() -> None:
    async def scenario(model: HttpModel) -> str:
        async with model:
            first = asyncio.ensure_future(model.chat(request("1")))
            second = asyncio.ensure_future(model.chat(request("1")))
            await asyncio.sleep(0.05)
            first.cancel()
            return (await second).text

    with ScriptedServer(lambda body: "A", latency_s=0.2) as server:
        assert asyncio.run(scenario(HttpModel(endpoint(server), ledger=None))) == "A"
        assert server.calls == 1


def test_a_paid_call_is_found_again_by_another_model_object(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: completion("A", top_logprobs=[{"A": -0.1}])) as server:
        for expected in (False, True):
            with Ledger(tmp_path / "calls.sqlite") as ledger:
                section = endpoint(server, usd_per_million_prompt_tokens=100.0)
                (reply,) = ask(HttpModel(section, ledger=ledger), request("1"))
            assert isinstance(reply, ChatReply)
            assert (reply.text, reply.cached, reply.top_logprobs) == ("A", expected, ({"A": -0.1},))
            assert reply.cost == Cost(1, 10, 1, pytest.approx(0.001))
    assert server.calls == 1


def test_a_call_under_way_reaches_the_ledger_when_the_run_is_interrupted(tmp_path: Path) -> None:
    async def scenario(model: HttpModel) -> None:
        async with model:
            asking = asyncio.ensure_future(model.chat(request("1")))
            await asyncio.sleep(0.1)
            asking.cancel()

    with ScriptedServer(lambda body: "A", latency_s=0.3) as server, Ledger(tmp_path / "calls.sqlite") as ledger:
        asyncio.run(scenario(HttpModel(endpoint(server), ledger=ledger)))
        assert ledger.totals().calls == 1


def test_a_budget_stops_before_the_next_call_and_counts_earlier_runs(tmp_path: Path) -> None:
    # 10 prompt tokens at 10,000 USD a million: 0.1 USD a call
    prices = {"usd_per_million_prompt_tokens": 10_000.0}
    with ScriptedServer(lambda body: "A") as server:
        for budget, paid in ((0.35, 4), (0.65, 7)):
            with Ledger(tmp_path / "calls.sqlite") as ledger:
                model = HttpModel(endpoint(server, **prices), ledger=ledger, budget_usd=budget)
                outcomes = ask(model, *(request(f"{number:03}") for number in range(20)))
            answered = [outcome for outcome in outcomes if isinstance(outcome, ChatReply)]
            stopped = [outcome for outcome in outcomes if isinstance(outcome, BudgetError)]
            assert (len(answered), len(stopped)) == (paid, 20 - paid)
            assert server.calls == paid
            assert f"{paid / 10:.4f} USD" in str(stopped[0])


def test_an_endpoint_needs_a_url() -> None:
    with pytest.raises(ConfigError, match="url"):
        HttpModel(EndpointSection(), ledger=None)


def test_replicas_share_the_calls_by_weight_and_use_their_own_model_name() -> None:
    names: Counter[str] = Counter()
    lock = threading.Lock()

    def script(body: dict[str, Any]) -> str:
        with lock:
            names[body["model"]] += 1
        return "A"

    with ScriptedServer(script, latency_s=0.05) as one, ScriptedServer(script, latency_s=0.05) as two:
        replica = EndpointSection(url=two.url, model="replica", weight=3.0)
        judge = JudgeSection(url=one.url, model="judge", replicas=(replica,))
        model = HttpModel(judge, ledger=None)
        assert texts(ask(model, *(request(str(number)) for number in range(40)))) == ["A"] * 40
    assert model.name == "judge"
    assert names == {"judge": 10, "replica": 30}


def test_calls_go_to_the_endpoint_that_works_when_another_fails() -> None:
    with ScriptedServer(lambda body: "A") as works, ScriptedServer(lambda body: Fault(500)) as fails:
        model = HttpModel([endpoint(fails, in_flight=4), endpoint(works)], ledger=None)
        assert texts(ask(model, *(request(str(number)) for number in range(200)))) == ["A"] * 200
    assert fails.calls < 30


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    with ScriptedServer(lambda body: "A", latency_s=0.02) as server:
        ask(HttpModel(endpoint(server, in_flight=5), ledger=None), *(request(str(number)) for number in range(30)))
    assert server.most_in_flight == 5


def test_the_calls_in_flight_adapt_to_an_endpoint_that_limits_them() -> None:
    def script(body: dict[str, Any]) -> str | Fault:
        return Fault(429) if server.in_flight > 4 else "A"

    with ScriptedServer(script, latency_s=0.02) as server:
        model = HttpModel(endpoint(server, in_flight=32), ledger=None)
        assert texts(ask(model, *(request(str(number)) for number in range(150)))) == ["A"] * 150
    assert model.endpoints[0].window.size < 16


def test_a_model_can_be_entered_again_in_another_loop_and_inside_itself() -> None:
    async def nested(model: HttpModel) -> str:
        async with model:
            async with model:
                pass
            return (await model.chat(request("1"))).text

    with ScriptedServer(lambda body: "A") as server:
        model = HttpModel(endpoint(server), ledger=None)
        assert [asyncio.run(nested(model)) for _ in range(2)] == ["A", "A"]


def test_models_that_share_a_budget_spend_it_together(tmp_path: Path) -> None:
    # 0.1 USD a call, which holds more than the limit: one goes at a time, and the third passes 0.25. With a budget each
    # there would be two at a time, and four in all.
    prices = {"usd_per_million_prompt_tokens": 10_000.0}

    async def all_at_once(models: Sequence[HttpModel]) -> list[Outcome]:
        asked = [all_of(model, [request(f"{number:03}") for number in range(10)]) for model in models]
        return [outcome for outcomes in await asyncio.gather(*asked) for outcome in outcomes]

    with ScriptedServer(lambda body: "A", latency_s=0.01) as server, Ledger(tmp_path / "calls.sqlite") as ledger:
        budget = Budget(0.25, lambda: ledger.paid_usd)
        sections = [EndpointSection(url=server.url, model=name, **prices) for name in ("one", "two")]
        models = [HttpModel(section, ledger=ledger, budget=budget) for section in sections]
        outcomes = asyncio.run(all_at_once(models))
        assert texts(outcomes).count("A") == 3
        assert texts(outcomes).count("BudgetError") == 17
        # Entered again, they still have nothing left.
        assert texts(asyncio.run(all_at_once(models))).count("A") == 3
        assert server.calls == 3
