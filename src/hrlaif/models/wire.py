"""The chat-completions protocol as pure functions: request to body, body to reply, status and headers to what to do.

A request is written once, without its model, and the model's name is put in front: the same bytes identify the call
in the ledger whichever replica answers it.
"""

from __future__ import annotations

import email.utils
import functools
import hashlib
import json
import math
import re
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from hrlaif.config import EndpointSection
from hrlaif.models.base import ChatReply, ChatRequest
from hrlaif.types import Cost, Finish

# Tokens per byte of each kind, fitted to the tokenizers of GPT-4, Qwen and DeepSeek on prose, code, LaTeX and Chinese
# (`bench/tokens.py` measures the error). Blanks go with the word that follows; a Chinese character has three bytes.
_TOKENS_PER_LETTER, _TOKENS_PER_DIGIT, _TOKENS_PER_SIGN, _TOKENS_PER_HIGH_BYTE = 0.213, 1.46, 0.82, 0.223
_LETTERS, _DIGITS, _BLANKS = string.ascii_letters.encode(), string.digits.encode(), b" \t\r\n"
_HIGH = bytes(range(128, 256))
MAX_ERROR_CHARS = 300
REDACTED = "[key]"
_LOOKS_LIKE_KEY = re.compile(r"\bsk-[^\s\"',}]+")
_MODERATED = re.compile("moderation|flagged|content[ _]policy|content_filter", re.IGNORECASE)
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_FINISH = {"stop": Finish.STOP, "length": Finish.LENGTH, "content_filter": Finish.FAILED}


class BrokenReplyError(Exception):
    """The endpoint answered 200 with something that is not a chat completion; worth another try."""


class Fate(Enum):
    """What becomes of a call that was not answered.

    UNREACHABLE and RATE_LIMITED are not the call's fault: it waits as long as it takes. OVERLOADED and FAULTY may be:
    it is retried a few times. REFUSED ends the call, FATAL the run.
    """

    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate limited"
    OVERLOADED = "overloaded"
    FAULTY = "faulty"
    REFUSED = "refused"
    FATAL = "fatal"


class Adaptation(Enum):
    """How a body is changed for an endpoint that rejects a field; the value says it to the user."""

    FEWER_LOGPROBS = "asks for 5 alternatives per token instead of more"
    NO_LOGPROBS = "does without log-probabilities"
    NO_SCHEMA = "does without response_format"
    NO_SEED = "does without seed"
    COMPLETION_TOKENS = "writes max_completion_tokens for max_tokens"
    NO_TEMPERATURE = "does without temperature and top_p"


@dataclass(frozen=True, slots=True)
class Secret:
    """A key that no message, log or traceback shows."""

    value: str

    def __repr__(self) -> str:
        return REDACTED

    def hide_in(self, raw: bytes) -> bytes:
        """The bytes with the key replaced, should the endpoint echo it."""
        key = self.value.encode()
        return raw.replace(key, REDACTED.encode()) if key and key in raw else raw


def fields(request: ChatRequest, adaptations: frozenset[Adaptation] = frozenset()) -> dict[str, Any]:
    """The body's fields except the model's name, changed for what an endpoint is known to reject."""
    tokens = "max_completion_tokens" if Adaptation.COMPLETION_TOKENS in adaptations else "max_tokens"
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        tokens: request.max_tokens,
    }
    if Adaptation.NO_TEMPERATURE not in adaptations:
        body["temperature"] = request.temperature
        if request.top_p != 1:
            body["top_p"] = request.top_p
    if request.seed is not None and Adaptation.NO_SEED not in adaptations:
        body["seed"] = request.seed
    if request.top_logprobs > 0 and Adaptation.NO_LOGPROBS not in adaptations:
        body["logprobs"] = True
        most = 5 if Adaptation.FEWER_LOGPROBS in adaptations else request.top_logprobs
        body["top_logprobs"] = min(request.top_logprobs, most)
    if request.response_schema is not None and Adaptation.NO_SCHEMA not in adaptations:
        # Strict needs a schema that forbids other fields; the rest is served as a hint by those who cannot enforce it.
        strict = request.response_schema.get("additionalProperties") is False
        schema = {"name": "reply", "schema": request.response_schema, "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def encode(body: object) -> bytes:
    """Compact JSON. Keys keep their order: the order of a schema's fields is the order in which a model fills them."""
    try:
        return to_json(body)
    except PydanticSerializationError:  # half a surrogate pair has no UTF-8 form and becomes a question mark
        return _COMPACT.encode(body).encode("utf-8", "replace")


def with_model(model: str, body: bytes) -> bytes:
    """The body as it is posted."""
    return _model_first(model) + body[1:]


@functools.cache
def _model_first(model: str) -> bytes:
    return b'{"model":' + json.dumps(model).encode() + b","


def decode(raw: bytes) -> Any:
    """The value that JSON bytes stand for.

    Raises:
        ValueError: Not JSON.
    """
    try:
        return from_json(raw)  # a third of the time
    except ValueError:
        return json.loads(raw)  # also reads half surrogate pairs


def call_key(model: str, body: bytes) -> bytes:
    """SHA-256 of the canonical request: the model's name and the unadapted body, not the address or the purpose."""
    return hashlib.sha256(with_model(model, body)).digest()


def estimated_tokens(body: bytes) -> int:
    """Tokens guessed from the bytes of a text (UTF-8), before an endpoint has counted them: for limits and estimates.

    A letter is a fifth of a token, a digit one and a half, any other sign 0.8, a Chinese character two thirds.
    """
    left = body.translate(None, _LETTERS)
    letters, signs = len(body) - len(left), left.translate(None, _HIGH + _DIGITS + _BLANKS)
    high, digits = (len(left) - len(left.translate(None, kind)) for kind in (_HIGH, _DIGITS))
    tokens = (
        letters * _TOKENS_PER_LETTER
        + digits * _TOKENS_PER_DIGIT
        + len(signs) * _TOKENS_PER_SIGN
        + high * _TOKENS_PER_HIGH_BYTE
    )
    return int(tokens) + 1


def parse_reply(raw: bytes, sent: bytes, endpoint: EndpointSection) -> ChatReply:
    """The reply in a response body. Tokens are the endpoint's count, or guessed from sizes where it gives none.

    Raises:
        BrokenReplyError: Not JSON, or no choice in it.
    """
    try:
        body = decode(raw)
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        if not isinstance(text, str):
            text = "".join(part.get("text") or "" for part in text)
        usage = body.get("usage") or {}
        prompt_tokens = int(usage.get("prompt_tokens") or estimated_tokens(sent))
        completion_tokens = usage.get("completion_tokens")
        if completion_tokens is None:
            completion_tokens = estimated_tokens(text.encode("utf-8", "replace"))
        return ChatReply(
            text=text,
            finish=_FINISH.get(choice.get("finish_reason") or "stop", Finish.STOP),
            model=str(body.get("model") or endpoint.model).encode("utf-8", "replace").decode(),
            top_logprobs=_top_logprobs(choice.get("logprobs")),
            cost=price(prompt_tokens, int(completion_tokens), endpoint),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        seen = raw[:MAX_ERROR_CHARS].decode("utf-8", "replace")
        raise BrokenReplyError(f"its reply is not a chat completion: {seen!r}") from error


def price(prompt_tokens: int, completion_tokens: int, endpoint: EndpointSection) -> Cost:
    """What one call costs at the prices configured for the endpoint."""
    usd = (
        prompt_tokens * endpoint.usd_per_million_prompt_tokens
        + completion_tokens * endpoint.usd_per_million_completion_tokens
    ) / 1e6
    return Cost(1, prompt_tokens, completion_tokens, usd)


def _top_logprobs(logprobs: Any) -> tuple[dict[str, float], ...]:
    if not logprobs:
        return ()
    positions = []
    for position in logprobs.get("content") or ():
        # The sampled token itself comes first: below the top alternatives it would otherwise be missing.
        candidates = (position, *(position.get("top_logprobs") or ()))
        positions.append(
            {
                candidate["token"]: float(logprob)
                for candidate in candidates
                if (logprob := candidate["logprob"]) is not None and logprob == logprob  # not NaN
            }
        )
    return tuple(positions)


def fate(status: int, text: str) -> Fate:
    """What a status (with the body it came with) means for the call and for the run."""
    if status == 429:
        # An account without credit answers 429 for ever.
        return Fate.FATAL if "insufficient_quota" in text else Fate.RATE_LIMITED
    if status in (408, 503, 504, 529):
        return Fate.OVERLOADED
    if status == 409 or status >= 500 or status < 300:
        return Fate.FAULTY
    if status == 403 and _MODERATED.search(text):
        return Fate.REFUSED
    if status in (401, 402, 403, 404, 405) or status < 400:
        return Fate.FATAL
    return Fate.REFUSED


def adaptation_for(text: str, body: Mapping[str, Any]) -> Adaptation | None:
    """The change that a rejection (400 or 422) asks for, None where it mentions no field that could be left out."""
    text = text.lower()
    if "logprobs" in text and "top_logprobs" in body:
        return Adaptation.FEWER_LOGPROBS if body["top_logprobs"] > 5 else Adaptation.NO_LOGPROBS
    if ("response_format" in text or "json_schema" in text) and "response_format" in body:
        return Adaptation.NO_SCHEMA
    if "max_completion_tokens" in text and "max_tokens" in body:
        return Adaptation.COMPLETION_TOKENS
    if re.search(r"\bseed\b", text) and "seed" in body:
        return Adaptation.NO_SEED
    if re.search("temperature|top_p", text) and "support" in text and "temperature" in body:
        return Adaptation.NO_TEMPERATURE
    return None


def error_text(raw: bytes) -> str:
    """What an error body says, short, on one line and without anything that looks like a key."""
    try:
        body = json.loads(raw)
        error = body.get("error", body)
        text = error if isinstance(error, str) else str(error.get("message") or json.dumps(error))
    except (ValueError, AttributeError):
        text = raw.decode("utf-8", "replace")
    return " ".join(_LOOKS_LIKE_KEY.sub(REDACTED, text).split())[:MAX_ERROR_CHARS]


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks to wait (a number or an HTTP date), 0 where there is none."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if 0 < seconds < math.inf else 0.0
