"""Tests of what is read from a vLLM server's replies; the conversation itself is tested with PPO (tests/policy)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hrlaif.config import EndpointSection
from hrlaif.errors import ModelError
from hrlaif.models.scripted import Fault, ScriptedServer
from hrlaif.models.vllm import Completion, Sampling, VllmServer

SAMPLING = Sampling(temperature=1.0, max_tokens=4, stop_ids=(7, 9), end_id=9)


def reply(tokens: list[int] | None, reason: str | None = "stop", **choice: Any) -> dict[str, Any]:
    return {"model": "a-1", "choices": [{"token_ids": tokens, "finish_reason": reason, **choice}]}


def drawn(*answers: dict[str, Any] | Fault, retries: int = 0) -> Completion:
    """What becomes of the first answer, or of the nth where those before it are faults."""
    left = list(answers)
    with ScriptedServer(lambda _: left.pop(0)) as server:
        section = EndpointSection(url=server.url, model="base", retries=retries)
        (found,) = VllmServer(section, key="policy.endpoint", environment={}).complete("a-1", [[1, 2]], [3], SAMPLING)
    return found


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply([1, 7], logprobs={"token_logprobs": [-1.0, -2.0]}), Completion((1, 7), True, (-1.0, -2.0))),
        # The stop token was left out: the one that the server names, or the usual one.
        (reply([1], stop_reason=7, logprobs={"token_logprobs": [-1.0]}), Completion((1, 7), True, (-1.0,))),
        (reply([1], stop_reason=None, logprobs=None), Completion((1, 9), True, ())),
        (reply([]), Completion((9,), True, ())),
        # Nothing counts after a stop token, whatever the reason; what was cut off has none.
        (reply([1, 9, 5], "length", logprobs={"token_logprobs": [-1, -2, -3]}), Completion((1, 9), True, (-1, -2))),
        (reply([1, 2, 3, 4], "length"), Completion((1, 2, 3, 4), False, ())),
        # Without a number for each token there is nothing to compare.
        (reply([1, 7], logprobs={"token_logprobs": [None, -2.0]}), Completion((1, 7), True, ())),
    ],
)
def test_a_response_ends_with_its_first_stop_token(answer: dict[str, Any], expected: Completion) -> None:
    assert drawn(answer) == expected


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(500, '{"error": {"message": "out of order"}}'), "500 out of order"),
        (Fault(200, '{"choices": []}'), "is not a completion"),
        (reply([1], "abort"), "ended for the reason 'abort'"),
        (reply([], "length"), "holds no token"),
        (Fault(disconnect=True), "the connection broke"),
    ],
)
def test_what_may_pass_is_tried_again_and_then_said(fault: dict[str, Any] | Fault, said: str) -> None:
    assert drawn(fault, fault, reply([7]), retries=2).tokens == (7,)
    with pytest.raises(ModelError, match=rf"does not answer a prompt: .*{said}.*Checkpoints are kept"):
        drawn(fault, fault, reply([7]), retries=1)


def test_a_refusal_is_final() -> None:
    with pytest.raises(ModelError, match="400 maximum context length"):
        drawn(Fault(400, json.dumps({"error": {"message": "maximum context length"}})), reply([7]), retries=5)
