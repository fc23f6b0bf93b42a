"""What the rest of the package asks of a model, whatever serves it.

Two protocols: `ChatModel` (anything behind an OpenAI-compatible endpoint, one call at a time, asynchronous) and
`Sampler` (a policy that answers many prompts, batched as it likes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from hrlaif.config import EndpointSection
from hrlaif.types import Cost, Finish, Message, Prompt, Response

# The model that stands in where no endpoint is set: under which name it is served, and how many calls it takes at once.
# Few slots: each keeps the opening of the last question it read, and a judge's questions share theirs.
BUNDLED_NAME = "SmolLM2-135M-Instruct"
BUNDLED_SLOTS = 4


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion.

    `top_logprobs` > 0 asks for that many alternatives per token; `response_schema` (a JSON schema) asks for a
    structured reply where the endpoint supports it. `purpose` names the stage for the accounts, and is not part of
    what identifies the call.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int = 0
    response_schema: dict[str, Any] | None = None
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What came back. `top_logprobs[t]` maps candidate tokens at position t to log-probabilities (nats), empty where
    the endpoint returns none. `cost` is what was paid when the call was made, `cached` whether it was paid earlier.
    """

    text: str
    finish: Finish
    model: str
    top_logprobs: tuple[dict[str, float], ...] = ()
    cost: Cost = Cost()
    cached: bool = False


class ChatModel(Protocol):
    """A chat endpoint. Implementations bound their own concurrency, retry what can be retried, and are safe to call
    from many tasks of one event loop at once. Enter it (`async with model:`) inside the event loop that uses it; it
    may be entered again later in another loop.
    """

    async def __aenter__(self) -> ChatModel:
        """Open connections."""

    async def __aexit__(self, *error: object) -> None:
        """Close them."""

    @property
    def name(self) -> str:
        """The model's name as it appears in records."""

    async def chat(self, request: ChatRequest) -> ChatReply:
        """Answer one request.

        Raises:
            CallError: This call failed for good; others may still succeed.
            ModelError: No call can succeed (unreachable endpoint, wrong key, unknown model).
        """


class Calls(Protocol):
    """A ledger: paid replies by the key of their request, with what they cost. A call peeks, claims its key, waits for
    its turn at the endpoint, and puts its reply, which ends the claim, or releases it.

    Raises (from every method):
        DataError: The ledger cannot be read or written; the message says what to do.
    """

    @property
    def paid_usd(self) -> float:
        """All that was paid so far, as of this process's last commit."""

    def get(self, key: bytes) -> ChatReply | None:
        """The reply that was paid for earlier (`cached` is True), None where there is none."""

    def peek(self, key: bytes) -> ChatReply | None:
        """As `get`, or None where asking takes long: `claim` then tells."""

    async def claim(self, key: bytes, *, usd: float, limit_usd: float) -> ChatReply | None:
        """Wait until nobody else is asking this, and the budget has room for `usd` more (`limit_usd` 0: no limit).

        Returns the reply where another one has it by then; else the key is the caller's.

        Raises:
            BudgetError: The limit is reached.
        """

    def release(self, key: bytes) -> None:
        """Give a claim up: the call has failed."""

    async def turn(self, section: EndpointSection, tokens: int) -> None:
        """Wait until the endpoint's limits per minute, over all who share the ledger, allow a call of `tokens`."""

    def unused(self, section: EndpointSection, tokens: int) -> None:
        """Give back tokens that a call was expected to use and did not."""

    async def put(self, key: bytes, reply: ChatReply, *, purpose: str, seconds: float) -> None:
        """Record a paid reply; returns once it is committed."""

    def totals(self, purpose: str | None = None) -> Cost:
        """What was paid in total, or for one purpose."""

    def by_purpose(self) -> dict[str, Cost]:
        """What was paid for each purpose."""

    def seconds_by_purpose(self) -> dict[str, tuple[int, float]]:
        """How many calls there were for each purpose, and how many seconds they took together."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One response to draw: which prompt, under which response id, with which seed."""

    prompt: Prompt
    response_id: str
    seed: int


@dataclass(frozen=True, slots=True)
class Decoding:
    """How responses are drawn; temperature 0 is greedy. The same for every arm that is compared."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256


class Sampler(Protocol):
    """A policy that answers prompts."""

    @property
    def name(self) -> str:
        """The policy's name as it appears in `Response.model`."""

    def sample(self, requests: Sequence[SampleRequest], decoding: Decoding) -> Iterator[Response]:
        """Draw one response per request, yielded in the order of the requests, as they become available.

        A call that failed for good yields a response with an empty text and finish FAILED.
        """


@runtime_checkable
class LikelihoodModel(Protocol):
    """A policy that says how likely it finds given texts."""

    def logprobs(self, asked: Iterable[tuple[tuple[Message, ...], Sequence[str]]]) -> list[list[float]]:
        """Per conversation, how likely each text begins the next turn: log-probabilities (nats) summed over tokens."""


class RewardScorer(Protocol):
    """A reward model that scores whole responses."""

    def score(self, conversations: Iterable[tuple[tuple[Message, ...], str]]) -> list[float]:
        """One score (any real number) per (messages, response text)."""
