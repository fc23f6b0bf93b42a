"""The reward server on the loopback address, and the clients that trainers load."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hrlaif.config import LoraSection
from hrlaif.errors import ModelError
from hrlaif.handoff import ArmReward, RewardServer
from hrlaif.handoff.client import RewardUnavailableError, reward_func, trl_reward
from hrlaif.handoff.server import Limits
from hrlaif.handoff.verl_reward import compute_score
from hrlaif.types import Message, Prompt, Task

SUM = Prompt("sum", (Message("user", "What is 2 + 2?"),), "math", Task.MATH, "4")
TEA = Prompt("tea", (Message("system", "Be brief."), Message("user", "How do I make tea?")), "open", Task.OPEN)


DEFAULT = Limits()


class LengthReward:
    """Scores a response by its length; "poison" breaks it and "nan" is no number."""

    end_texts = ("<end>",)

    def __init__(self) -> None:
        self.batches: list[list[tuple[object, str]]] = []
        self.gate = threading.Event()
        self.gate.set()

    def is_rendered(self, prompt: str) -> bool:
        return "<user>" in prompt

    def respelled(self, prompt: str) -> str:
        return prompt.replace("  ", " ")

    def score(self, conversations: Iterable[tuple[tuple[Message, ...] | str, str]]) -> list[float]:
        self.gate.wait(timeout=30)
        rows = list(conversations)
        self.batches.append([(prompt, text) for prompt, text in rows])
        if any(text == "poison" for _, text in rows):
            raise RuntimeError("out of memory")
        return [float("nan") if text == "nan" else float(len(text)) for _, text in rows]


class Reply:
    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        self.status, self.body, self.headers = status, body, headers


async def post(url: str, body: object) -> Reply:
    async with aiohttp.ClientSession() as session:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with session.post(url, data=data) as reply:
            return Reply(reply.status, await reply.json(), dict(reply.headers))


def ask(url: str, body: object) -> Reply:
    return asyncio.run(post(url, body))


def rows(*responses: str, prompt: str = "Q: ", label: str = "") -> dict[str, list[str]]:
    queries = [prompt + text for text in responses]
    return {"query": queries, "prompts": [prompt] * len(queries), "labels": [label] * len(queries)}


@contextmanager
def serving(server: RewardServer) -> Iterator[str]:
    """The server in a thread of its own; yields its address."""
    found: list[str] = []
    started, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def work() -> None:
        runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()), daemon=True)
    thread.start()
    assert started.wait(timeout=30)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)
        loop.close()


def scripted(limits: Limits = DEFAULT, weight: float = 0.0) -> tuple[LengthReward, RewardServer]:
    model = LengthReward()
    reward = ArmReward(model, [SUM, TEA], verifier_weight=weight)
    return model, RewardServer(reward, name="test", limits=limits)


def test_rows_are_scored_in_order_and_the_end_token_is_taken_off_once() -> None:
    model, server = scripted()
    with serving(server) as url:
        reply = ask(url, rows("a", "abc<end>", "<end><end>", ""))
    assert (reply.status, reply.body["rewards"]) == (200, [1.0, 3.0, 5.0, 0.0])
    assert reply.body["scores"] == reply.body["rewards"]
    assert model.batches[0][1] == ((Message("user", "Q: "),), "abc")


def test_a_label_that_names_a_prompt_of_the_run_brings_its_messages_and_other_prompts_are_taken_as_they_are() -> None:
    model, server = scripted()
    with serving(server) as url:
        ask(url, rows("x", prompt="<user>How do I make tea?", label="tea"))
        ask(url, rows("x", prompt="<user>Else?", label="no such id"))
    assert model.batches == [[(TEA.messages, "x")], [("<user>Else?", "x")]]


def test_the_verifier_adds_and_takes_off_its_weight_and_what_it_cannot_read_changes_nothing() -> None:
    _, server = scripted(weight=2.0)
    with serving(server) as url:
        reply = ask(url, rows("4", "5", "Hm?", prompt="What is 2 + 2?", label="sum"))
        cut = ask(url, rows("4", prompt="<user>What is 2 + 2?", label="sum"))
        tea = ask(url, rows("4", prompt="How do I make tea?", label="tea"))
    # Lengths 1, 1, 3; correct, wrong, unreadable.
    assert reply.body["rewards"] == [3.0, -1.0, 3.0]
    assert reply.body["scores"] == [1.0, 1.0, 3.0]
    assert reply.body["extra_logs"] == {
        "correct": [1.0, 0.0, 0.0],
        "wrong": [0.0, 1.0, 0.0],
        "unreadable": [0.0, 0.0, 1.0],
    }
    # A rendered query without its end token was cut off: "4" may have become "42".
    assert (cut.body["rewards"], cut.body["extra_logs"]["unreadable"]) == ([1.0], [1.0])
    assert tea.body["rewards"] == [1.0]


def test_requests_that_come_together_are_scored_together_up_to_a_batch() -> None:
    model, server = scripted(Limits(batch_rows=4))

    async def many(url: str) -> list[Reply]:
        first = asyncio.create_task(post(url, rows("first")))
        while server._rows_waiting < 1:  # the thread is held, so that the others have to wait in the queue
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(post(url, rows("a" * n, "b"))) for n in range(1, 6)]
        while server._rows_waiting < 11:
            await asyncio.sleep(0.001)
        model.gate.set()
        return await asyncio.gather(first, *others)

    model.gate.clear()
    with serving(server) as url:
        replies = asyncio.run(many(url))
    assert [reply.body["rewards"] for reply in replies[1:]] == [[float(n), 1.0] for n in range(1, 6)]
    assert [len(batch) for batch in model.batches] == [1, 4, 4, 2]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "not JSON"),
        ([], "has to be an object"),
        ({"query": ["a"], "labels": [""]}, "'prompts' has to be a list"),
        ({"query": ["a", "b"], "prompts": ["a"], "labels": ["", ""]}, "of one length"),
        ({"query": ["ab", 3], "prompts": ["a", "a"], "labels": ["", ""]}, "row 1: 'query' has to be a text (seen: 3)"),
        ({"query": ["ab", "xy"], "prompts": ["a", "a"]}, "row 1: the query does not start with its prompt ('a')"),
        (rows("x", prompt="Other?", label="tea"), "row 0: the label 'tea' names a prompt of this run that asks"),
        ({"query": [], "prompts": [], "labels": []}, "'query' has to be a list"),
    ],
)
def test_rows_that_cannot_be_read_are_refused_by_name(body: object, expected: str) -> None:
    _, server = scripted()
    with serving(server) as url:
        reply = ask(url, body)
        assert ask(url, rows("ok")).status == 200
    assert reply.status == 400
    assert expected in reply.body["error"]


def test_a_failure_to_score_is_an_error_and_costs_no_other_request_its_scores() -> None:
    model, server = scripted()

    async def together(url: str) -> list[Reply]:
        first = asyncio.create_task(post(url, rows("first")))
        while server._rows_waiting < 1:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(post(url, rows(text))) for text in ("abc", "poison", "nan")]
        while server._rows_waiting < 4:
            await asyncio.sleep(0.001)
        model.gate.set()
        return await asyncio.gather(first, *others)

    model.gate.clear()
    with serving(server) as url:
        first, good, poison, nan = asyncio.run(together(url))
    assert (first.status, good.status, good.body["rewards"]) == (200, 200, [3.0])
    assert (poison.status, nan.status) == (500, 500)
    assert "could not score these rows: RuntimeError: out of memory" in poison.body["error"]
    assert "no finite number" in nan.body["error"]
    assert "rewards" not in poison.body


def test_a_full_queue_asks_for_patience_and_what_never_fits_is_refused() -> None:
    model, server = scripted(Limits(batch_rows=2, waiting_rows=2, body_bytes=400))

    async def fill(url: str) -> tuple[Reply, Reply]:
        first = asyncio.create_task(post(url, rows("a", "b")))
        while server._rows_waiting < 2:
            await asyncio.sleep(0.001)
        full = await post(url, rows("c"))
        model.gate.set()
        return full, await first

    model.gate.clear()
    with serving(server) as url:
        full, first = asyncio.run(fill(url))
        many, large = ask(url, rows("a", "b", "c")), ask(url, rows("a" * 500))
        again = ask(url, rows("c"))
    assert (full.status, full.headers["Retry-After"], first.status) == (503, "1", 200)
    assert (many.status, large.status, again.status) == (413, 413, 200)


def test_the_tiny_model_scores_as_it_does_without_a_server(tiny_model: Path, tmp_path: Path) -> None:
    from hrlaif.models.local import LocalReward
    from hrlaif.nn.adapters import save_trained, trainable
    from hrlaif.nn.backbone import placement

    folder = tmp_path / "reward"
    save_trained(trainable(str(tiny_model), LoraSection(rank=4), placement("cpu", "auto"), seed=0, scorer=True), folder)
    model = LocalReward(folder, device="cpu")
    expected = model.score([(TEA.messages, text) for text in ("Boil water.", "No.")])
    shown = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow do I make tea?<|im_end|>\n"
    shown += "<|im_start|>assistant\n"
    with serving(RewardServer(ArmReward(model, [TEA]), name="tiny")) as url:
        by_label = ask(url, rows("Boil water.<|im_end|>", "No.", prompt=shown, label="tea"))
        as_text = ask(url, rows("Boil water.<|im_end|>", "No.", prompt=shown))
    assert by_label.body["rewards"] == pytest.approx(expected, abs=1e-5)
    assert as_text.body["rewards"] == pytest.approx(expected, abs=1e-5)
    assert expected[0] != pytest.approx(expected[1], abs=1e-3)


# --- the clients that trainers load ---


def info(task: str, *, question: str = "What is 2 + 2?", **more: object) -> dict[str, Any]:
    return {"id": "sum", "task": task, "question": question, "choices": [], **more}


def test_verl_gets_the_verifier_first_and_the_reward_model_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    _, server = scripted()
    with serving(server) as url:
        monkeypatch.setenv("HRLAIF_REWARD_URL", url)
        assert compute_score("hrlaif/math", "The answer is 4.", "4", info("math")) == {"score": 1.0, "checked": 1.0}
        assert compute_score("hrlaif/math", "The answer is 5.", "4", info("math")) == {"score": -1.0, "checked": 1.0}
        choices = info("choice", choices=["sky", "blood"])
        assert compute_score("hrlaif/choice", "The answer is B.", "B", choices) == {"score": 1.0, "checked": 1.0}
        assert server.scored_rows == 0
        # No number to read: the reward model's score is the length, 3, and tanh(1.5) = 0.9051.
        unread = compute_score("hrlaif/math", "Hm?", "4", info("math"))
        assert unread == {"score": pytest.approx(0.9051, abs=1e-4), "checked": 0.0}
        # tanh(0.5) = 0.4621
        tea = info("open", question="How do I make tea?") | {"id": "tea"}
        assert compute_score("hrlaif/open", "x", "", tea) == {"score": pytest.approx(0.4621, abs=1e-4), "checked": 0.0}


def test_openrlhf_and_trl_get_one_reward_per_row_and_any_failure_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    model, server = scripted()
    with serving(server) as url:
        monkeypatch.setenv("HRLAIF_REWARD_URL", url)
        assert reward_func(["Q: abc"], ["Q: "], [""])["rewards"] == [3.0]
        prompts = [[{"role": "user", "content": "How do I make tea?"}]]
        assert trl_reward(prompts, [[{"role": "assistant", "content": "ab"}]], ["tea"], step=1) == [2.0]
        assert model.batches[-1] == [(TEA.messages, "ab")]
        with pytest.raises(RewardUnavailableError, match=r"status 400: .*row 0"):
            reward_func(["else"], ["Q: "], [""])
        with pytest.raises(RewardUnavailableError, match=r"status 500: .*out of memory"):
            reward_func(["Q: poison"], ["Q: "], [""])


def test_a_score_that_is_no_number_is_an_error() -> None:
    reward = ArmReward(LengthReward(), [])
    with pytest.raises(ModelError, match="no finite number"):
        reward.score([reward.read("Q: nan", "Q: ", "")])


def test_a_prompt_that_the_engine_spelled_anew_is_still_found() -> None:
    row = ArmReward(LengthReward(), []).read("a b: yes", "a  b: ", "")
    assert row.response == "yes"
