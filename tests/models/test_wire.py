import email.utils
import json
import math
import time

import pytest

from hrlaif.config import EndpointSection
from hrlaif.models import wire
from hrlaif.models.base import ChatRequest
from hrlaif.models.scripted import completion
from hrlaif.models.wire import Adaptation, Fate
from hrlaif.types import Cost, Finish, Message

QUESTION = (Message("user", "A or B?"),)
PRICED = EndpointSection(
    url="http://127.0.0.1:1/v1",
    model="m",
    usd_per_million_prompt_tokens=2.0,
    usd_per_million_completion_tokens=10.0,
)


def parsed(body: dict[str, object]):
    return wire.parse_reply(json.dumps(body).encode(), b"x" * 40, PRICED)


def test_a_plain_request_asks_for_nothing_it_does_not_need() -> None:
    body = wire.fields(ChatRequest(QUESTION, max_tokens=4))
    assert body == {"messages": [{"role": "user", "content": "A or B?"}], "max_tokens": 4, "temperature": 0.0}


def test_every_option_reaches_the_body() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    request = ChatRequest(QUESTION, 4, temperature=0.5, top_p=0.9, seed=0, top_logprobs=20, response_schema=schema)
    body = wire.fields(request)
    assert (body["temperature"], body["top_p"], body["seed"], body["logprobs"], body["top_logprobs"]) == (
        0.5,
        0.9,
        0,
        True,
        20,
    )
    assert body["response_format"]["type"] == "json_schema"
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == ["b", "a"]


def test_a_request_is_always_the_same_bytes() -> None:
    # The ledger knows a paid call by them: were they written otherwise, every call would be paid again.
    request = ChatRequest((Message("user", 'Ä "\t/é\x7f\u2028'),), 4, temperature=0.7, top_p=0.95, seed=2**40)
    assert wire.call_key("m", wire.encode(wire.fields(request))).hex() == (
        "9fe2292ec51f1807dd56f8af73ce631b9674d8171d5d119dc0be88f8bef26e75"
    )


def test_the_key_of_a_call_ignores_its_purpose_and_nothing_else() -> None:
    def key(model: str = "m", **changes: object) -> bytes:
        options: dict[str, object] = {"messages": QUESTION, "max_tokens": 4, **changes}
        return wire.call_key(model, wire.encode(wire.fields(ChatRequest(**options))))  # type: ignore[arg-type]

    assert key(purpose="labels") == key(purpose="evaluation")
    different = [
        key(),
        key(model="n"),
        key(messages=(Message("system", "A or B?"),)),
        key(max_tokens=5),
        key(temperature=1.0),
        key(top_p=0.5),
        key(seed=0),
        key(top_logprobs=1),
        key(response_schema={}),
    ]
    assert len(set(different)) == len(different)


def test_a_reply_is_priced_with_the_tokens_that_the_endpoint_counted() -> None:
    reply = parsed(completion("A", prompt_tokens=1000, completion_tokens=100))
    # 1000 x 2e-6 + 100 x 10e-6
    assert reply.cost == Cost(1, 1000, 100, pytest.approx(0.003))


def test_a_model_name_that_no_utf8_can_hold_is_made_writable() -> None:
    assert parsed({**completion("A"), "model": "m\ud800"}).model == "m?"


def test_tokens_are_guessed_from_sizes_where_the_endpoint_does_not_count() -> None:
    body = completion("12345678")
    del body["usage"]
    # 40 letters sent: 40 * 0.213 + 1; 8 digits received: 8 * 1.46 + 1
    assert parsed(body).cost == Cost(1, 9, 12, pytest.approx(9 * 2e-6 + 12 * 10e-6))


def test_alternatives_keep_the_sampled_token_and_drop_what_is_no_number() -> None:
    body = completion("B", top_logprobs=[{"A": -0.1, "C": -3.0}])
    position = body["choices"][0]["logprobs"]["content"][0]
    position.update(token="B", logprob=-5)
    position["top_logprobs"].append({"token": "D", "logprob": math.nan})
    assert parsed(body).top_logprobs == ({"B": -5.0, "A": -0.1, "C": -3.0},)


@pytest.mark.parametrize(
    ("reason", "finish"), [("stop", Finish.STOP), ("length", Finish.LENGTH), ("content_filter", Finish.FAILED)]
)
def test_the_finish_reason_is_kept(reason: str, finish: Finish) -> None:
    assert parsed(completion("A", finish_reason=reason)).finish is finish


def test_a_reasoning_model_that_only_reasoned_replies_with_an_empty_text() -> None:
    body = completion(None, finish_reason="length")
    body["choices"][0]["message"]["reasoning_content"] = "Let me think."
    assert (parsed(body).text, parsed(body).finish) == ("", Finish.LENGTH)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"mess', b"[1]", b"null"])
def test_what_is_no_completion_is_a_broken_reply(raw: bytes) -> None:
    with pytest.raises(wire.BrokenReplyError):
        wire.parse_reply(raw, b"", PRICED)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (429, "slow down", Fate.RATE_LIMITED),
        (429, "insufficient_quota", Fate.FATAL),
        (408, "", Fate.OVERLOADED),
        (503, "", Fate.OVERLOADED),
        (409, "", Fate.FAULTY),
        (500, "", Fate.FAULTY),
        (502, "", Fate.FAULTY),
        (400, "", Fate.REFUSED),
        (413, "", Fate.REFUSED),
        (422, "", Fate.REFUSED),
        (403, "input was flagged by moderation", Fate.REFUSED),
        (403, "no access", Fate.FATAL),
        (401, "", Fate.FATAL),
        (402, "", Fate.FATAL),
        (404, "", Fate.FATAL),
        (302, "", Fate.FATAL),
    ],
)
def test_a_status_decides_between_another_try_the_call_and_the_run(status: int, text: str, expected: Fate) -> None:
    assert wire.fate(status, text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top_logprobs must be at most 5", Adaptation.FEWER_LOGPROBS),
        ("Unknown parameter: 'response_format'", Adaptation.NO_SCHEMA),
        ("Use 'max_completion_tokens' instead", Adaptation.COMPLETION_TOKENS),
        ("extra fields not permitted: seed", Adaptation.NO_SEED),
        ("temperature does not support 0", Adaptation.NO_TEMPERATURE),
        ("max_tokens is too large", None),
        ("the seeds of doubt", None),
    ],
)
def test_a_rejection_names_the_field_to_change(text: str, expected: Adaptation | None) -> None:
    request = ChatRequest(QUESTION, 4, seed=1, top_logprobs=20, response_schema={})
    assert wire.adaptation_for(text, wire.fields(request)) is expected


def test_each_adaptation_takes_away_its_own_cause() -> None:
    request = ChatRequest(QUESTION, 4, seed=1, top_logprobs=20, response_schema={})
    text = "logprobs response_format max_completion_tokens seed temperature are not supported"
    adaptations: frozenset[Adaptation] = frozenset()
    while change := wire.adaptation_for(text, wire.fields(request, adaptations)):
        assert change not in adaptations
        adaptations |= {change}
    assert adaptations == frozenset(Adaptation)
    assert set(wire.fields(request, adaptations)) == {"messages", "max_completion_tokens"}


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert wire.retry_after_s({"Retry-After": "2.5"}) == 2.5
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < wire.retry_after_s({"Retry-After": date}) <= 100
    past = email.utils.formatdate(time.time() - 100, usegmt=True)
    assert [wire.retry_after_s({"Retry-After": value}) for value in ("soon", "-3", "inf", "", past)] == [0.0] * 5


def test_a_key_is_hidden_in_bodies_and_anything_like_a_key_in_messages() -> None:
    secret = wire.Secret("abc123")
    assert secret.hide_in(b'{"error": "bad key abc123"}') == b'{"error": "bad key [key]"}'
    assert "abc123" not in repr(secret)
    assert wire.Secret("").hide_in(b"text") == b"text"
    assert wire.error_text(b'{"error": {"message": "no: sk-abc*****xyz."}}') == "no: [key]"


def test_an_error_text_is_short_and_on_one_line() -> None:
    assert wire.error_text(b'{"message": "a\\n b"}') == "a b"
    assert wire.error_text(b'{"error": "plain"}') == "plain"
    assert len(wire.error_text(b"x" * 10_000)) == wire.MAX_ERROR_CHARS


def test_text_that_no_utf8_can_hold_is_still_sent() -> None:
    body = wire.encode(wire.fields(ChatRequest((Message("user", "a\ud800b"),), 4)))
    assert json.loads(body)["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Letters of 0.213, digits of 1.46, signs of 0.82, characters of 3 bytes of 0.223 each, blanks of 0.
        ("Hello", 1 + 1),
        ("1234", 5 + 1),
        ("{}.", 2 + 1),
        ("今天下雨", 2 + 1),
        ("a b", 0 + 1),
    ],
)
def test_tokens_are_guessed_by_the_kind_of_character(text: str, tokens: int) -> None:
    assert wire.estimated_tokens(text.encode()) == tokens
