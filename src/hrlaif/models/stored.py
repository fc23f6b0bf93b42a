"""A paid reply as the bytes that a ledger keeps."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from hrlaif.models.base import ChatReply
from hrlaif.types import Cost, Finish


def pack(reply: ChatReply) -> bytes:
    """Text, finish and log-probabilities of a reply, compressed."""
    content = (reply.text, reply.finish.value, [list(position.items()) for position in reply.top_logprobs])
    try:
        encoded = to_json(content)
    except PydanticSerializationError:  # half a surrogate pair, which has no UTF-8 form
        encoded = json.dumps(content).encode()
    return zlib.compress(encoded, 1)


def unpack(row: Sequence[Any]) -> ChatReply:
    """The reply of a row `packed, model, prompt tokens, completion tokens, USD`; `cached` is True.

    Raises:
        ValueError: The bytes are none that `pack` has made.
    """
    try:
        text, finish, top_logprobs = json.loads(zlib.decompress(row[0]))
        logprobs = tuple(dict(position) for position in top_logprobs)
        return ChatReply(text, Finish(finish), row[1], logprobs, Cost(1, *row[2:]), cached=True)
    except (zlib.error, TypeError) as error:
        raise ValueError(str(error)) from error
