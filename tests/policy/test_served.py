"""Tests of PPO whose responses come from a server: one that follows vLLM's protocol and really samples."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hrlaif.config import EndpointSection, LoraSection, PolicySection
from hrlaif.errors import ModelError
from hrlaif.models.base import Decoding, SampleRequest
from hrlaif.models.local import LocalSampler
from hrlaif.nn.generate import Sampled
from hrlaif.policy import train
from hrlaif.policy.served import Gap, check_gap, gap
from hrlaif.types import Message, Prompt, Task

PROMPTS = [Prompt(f"p{n}", (Message("user", f"say {n}"),), "chat", Task.OPEN) for n in range(40)]
FAST = PolicySection(
    lora=LoraSection(layers=1),
    steps=3,
    rollouts=6,
    minibatch=3,
    max_tokens=6,
    learning_rate=5e-3,
    checkpoint_every=2,
    measure_every=2,
)
Serving = Callable[..., Any]


class Letters:
    """Scores a text by how many of its characters are letters, and breaks off after so many calls."""

    def __init__(self, calls: int = 999) -> None:
        self.left = calls

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        """A score per text."""
        self.left -= 1
        if self.left < 0:
            raise InterruptedError
        return [sum(c.isalpha() for c in text) / 8 for _, text in conversations]


@pytest.fixture(scope="module")
def stopping_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with more end tokens, so that some responses end and some are cut off."""
    folder = tmp_path_factory.mktemp("stopping") / "model"
    shutil.copytree(tiny_model, folder)
    settings = folder / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "eos_token_id": [2, *range(40, 80)]}))
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def through(server: Any, section: PolicySection = FAST, **options: Any) -> PolicySection:
    endpoint = EndpointSection(url=server.url, model="tiny", **{"retries": 0, **options})
    return section.model_copy(update={"endpoint": endpoint})


def run(section: PolicySection, model: Path, out: Path, reward: Letters | None = None) -> list[dict[str, float]]:
    train(PROMPTS, base=str(model), reward=reward or Letters(), section=section, out=out, seed=0, device="cpu")
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


NOT_ALIKE = {"seconds", "tokens_per_s", "ratio_error", "server_kl"}


@pytest.mark.parametrize(
    ("changes", "quirks"),
    [
        ({}, ()),
        ({"critic": "adapter", "temperature": 0.7}, ("plain logprobs", "no stop token")),
        ({"advantages": "rloo", "samples_per_prompt": 3}, ("silent",)),
    ],
    ids=["critic on the policy", "critic apart", "no critic"],
)
def test_responses_of_a_server_teach_what_those_drawn_here_teach(
    stopping_model: Path, tmp_path: Path, vllm_like: Serving, changes: dict[str, Any], quirks: tuple[str, ...]
) -> None:
    section = FAST.model_copy(update=changes)
    here = run(section, stopping_model, tmp_path / "here")
    with vllm_like(stopping_model, *quirks) as server:
        there = run(through(server, section), stopping_model, tmp_path / "there")
    # The server draws with the same random numbers, so that the same policies draw the same tokens.
    for row, other in zip(here, there, strict=True):
        for key in row.keys() - NOT_ALIKE:
            assert other[key] == pytest.approx(row[key], rel=1e-3, abs=1e-3), (row["step"], key)
        if quirks != ("silent",):
            assert other["ratio_error"] < 1e-3
            assert abs(other["server_kl"]) < 1e-6
    assert here[-1]["kl"] > 1e-3
    assert 0 < sum(row["eos_share"] for row in there) < 3
    # Three steps, and the end for the held-out prompts: one name for each policy, none twice, and nothing left behind.
    assert [name[-6:] for name in server.loaded] == ["000000", "000001", "000002", "000003"]
    assert not server.adapters
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == sorted(
        path.name for path in (tmp_path / "here").iterdir()
    )
    # 3 steps of 6, and 4 held-out prompts at the start, after 2 and after 3.
    assert len(server.bodies) == 30
    assert len({body["seed"] for body in server.bodies}) == 22
    body = server.bodies[0]
    assert (body["max_tokens"], body["temperature"]) == (6, section.temperature)
    assert (body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1.0, -1, 0.0, 1.0)
    assert (body["stop_token_ids"], body["ignore_eos"]) == ([2, *range(40, 80)], True)


def test_half_precision_is_read_again_and_the_servers_numbers_are_only_compared(
    stopping_model: Path, tmp_path: Path, vllm_like: Serving
) -> None:
    with vllm_like(stopping_model) as server:
        section = through(server, FAST.model_copy(update={"steps": 2}))
        train(
            PROMPTS, base=str(stopping_model), reward=Letters(), section=section, out=tmp_path, seed=0, device="cpu",
            dtype="bfloat16",
        )  # fmt: skip
    curve = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    # The server runs in float32: not the policy's numbers, but its responses all the same.
    assert all(1e-6 < row["server_kl"] < 0.02 for row in curve)
    assert curve[0]["kl"] == pytest.approx(0.0, abs=1e-6)


def test_a_server_with_stale_weights_is_noticed(stopping_model: Path, tmp_path: Path, vllm_like: Serving) -> None:
    section = FAST.model_copy(update={"learning_rate": 0.03, "stop_kl": 0.0, "steps": 8})
    with vllm_like(stopping_model, "stale") as server:
        message = r"PPO, .*step \d.*nats per token away from the policy, more than 0.02.*policy.adapter_dir"
        with pytest.raises(ModelError, match=message):
            run(through(server, section), stopping_model, tmp_path)


def test_the_gap_is_that_of_the_log_probabilities_that_fit() -> None:
    # k3 of d = ln 2 - 0: 2 - 1 - ln 2 = 0.307 for one token, 0 for the other; at temperature 1 both fit.
    read = [torch.tensor([[0.6931472, 0.0, 9.0], [-1.0, -1.0, 9.0]])]
    found = gap([Sampled((5, 6), False, (0.0, -1.0))], [read[0][:, [0, 0]]])
    assert (found.tokens, found.kl, found.ratio_error) == (2, pytest.approx(0.15343, abs=1e-5), pytest.approx(1.0))
    assert gap([Sampled((5, 6), False, (0.0, -1.0))], read) == Gap(2, 0.0, 0.0)
    # A stop token that was put back has no number of the server's.
    assert gap([Sampled((5, 6), True, (0.0,))], read).tokens == 1
    assert check_gap(gap([Sampled((5, 6), True, ())], read), FAST, where="here") == {}
    check_gap(Gap(9, 0.05, 1.0), FAST.model_copy(update={"stop_kl": 0.1}), where="here")
    for kl in (0.021, float("nan")):
        with pytest.raises(ModelError, match="here: the responses of"):
            check_gap(Gap(9, kl, 1.0), FAST, where="here")


@pytest.mark.parametrize(
    ("quirk", "options", "message"),
    [
        ("no runtime", {}, "cannot load adapters while it runs: 404.*--enable-lora.*ALLOW_RUNTIME_LORA_UPDATING=True"),
        ("blind", {}, r"cannot load the adapter in .*: 404 .*No adapter found.*policy.adapter_dir.*--max-lora-rank"),
        ("", {"model": "huge"}, "serves tiny, but no 'huge'. Set policy.endpoint.model"),
        ("short", {}, r"takes 20 tokens, and a prompt with its response may have \d\d. Start it with --max-model-len"),
        ("old", {}, "no token ids.*vLLM 0.10.2"),
        ("renames", {}, "answered as 'tiny' when asked for the adapter 'hrlaif-"),
        ("forgets", {"in_flight": 1}, "404 The model .* does not exist.*restarted.*same command"),
        ("stalls", {"timeout_s": 0.3}, "no answer within 0.3 s.*Raise policy.endpoint.timeout_s or lower"),
        ("locked", {}, "401 Unauthorized. Put a valid key into the environment variable HRLAIF_JUDGE_KEY"),
    ],
)
def test_each_failure_of_a_server_says_what_to_do(
    stopping_model: Path, tmp_path: Path, vllm_like: Serving, quirk: str, options: Any, message: str
) -> None:
    with vllm_like(stopping_model, quirk) as server:
        endpoint = EndpointSection(url=server.url, **{"model": "tiny", "retries": 0, **options})
        with pytest.raises(ModelError, match=rf"^policy.endpoint: {re.escape(server.url)}:? .*{message}") as error:
            run(FAST.model_copy(update={"endpoint": endpoint}), stopping_model, tmp_path)
    assert error.value.exit_code == 2


def test_a_server_that_is_not_there_is_an_error_and_one_that_is_busy_is_asked_again(
    stopping_model: Path, tmp_path: Path, vllm_like: Serving
) -> None:
    with vllm_like(stopping_model, failures=2) as server:
        run(through(server, FAST.model_copy(update={"steps": 1}), retries=2), stopping_model, tmp_path / "busy")
    with pytest.raises(ModelError, match=r"no connection .* Is the server running"):
        run(through(server), stopping_model, tmp_path / "gone")


def test_what_lost_its_server_goes_on_from_the_checkpoint_without_one(
    stopping_model: Path, tmp_path: Path, vllm_like: Serving
) -> None:
    with (
        vllm_like(stopping_model, "ends") as server,
        pytest.raises(ModelError, match=r"500 gone.*Checkpoints are kept"),
    ):
        run(through(server), stopping_model, tmp_path / "out")
    checkpoint = tmp_path / "out" / "checkpoints" / "step-000002"
    request = [SampleRequest(PROMPTS[0], "r", 1)]
    assert next(LocalSampler(str(checkpoint), device="cpu").sample(request, Decoding(max_tokens=4))).text
    resumed = run(FAST, stopping_model, tmp_path / "out")
    assert ["server_kl" in row for row in resumed] == [True, True, False]
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_what_a_broken_off_training_left_is_cleared_away_and_it_ends_as_if_it_had_not_been(
    stopping_model: Path, tmp_path: Path, vllm_like: Serving
) -> None:
    section = FAST.model_copy(update={"steps": 4, "adapter_dir": str(tmp_path / "adapters")})
    (tmp_path / "adapters" / "of others").mkdir(parents=True)
    with vllm_like(stopping_model) as server:
        expected = run(through(server, section), stopping_model, tmp_path / "whole")
        # Nothing is cleared away on the way out, so this is what a killed process leaves.
        with pytest.raises(InterruptedError):
            run(through(server, section), stopping_model, tmp_path / "broken", Letters(calls=5))
        assert len(server.adapters) == 1
        assert len(list((tmp_path / "adapters").iterdir())) == 2
        resumed = run(through(server, section), stopping_model, tmp_path / "broken")
        assert not server.adapters
    assert len(set(server.loaded)) == 5 + 4 + 3
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == ["of others"]
    times = {"seconds": 0, "tokens_per_s": 0}
    assert [{**row, **times} for row in resumed] == [{**row, **times} for row in expected]
