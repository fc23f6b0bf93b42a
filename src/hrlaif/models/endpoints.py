"""Which endpoint takes the next call, and when: health, limits and weights of each, one queue for all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import random
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from hrlaif.config import EndpointSection
from hrlaif.errors import ConfigError
from hrlaif.models.flow import PLACE
from hrlaif.models.limits import Pace, Window
from hrlaif.models.wire import Adaptation, Secret

log = logging.getLogger("hrlaif.models")
KEY_VARIABLES = ("HRLAIF_JUDGE_KEY", "OPENAI_API_KEY")
CONNECT_S = 5.0
FAILURES_TO_BACK_OFF = 3
_FIRST_BACKOFF_S = 0.5
_MOST_BACKOFF_S = 10.0
_MOST_BACKOFF_UNREACHED_S = 2.0


def endpoint_key(section: EndpointSection, environment: Mapping[str, str]) -> tuple[Secret, str]:
    """The endpoint's key (empty where none is set) and the name of the variable that holds it.

    Raises:
        ConfigError: `key_env` names a variable that is not set, or the key cannot stand in a header.
    """
    names = (section.key_env,) if section.key_env else KEY_VARIABLES
    name = next((name for name in names if environment.get(name, "").strip()), names[0])
    key = environment.get(name, "").strip()
    if section.key_env and not key:
        raise ConfigError(f"key_env: the environment variable {section.key_env} is not set. Put the key into it.")
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"The key in {name} holds characters that no key has. Set it again (it is not shown here).")
    return Secret(key), name


class Endpoint:
    """One endpoint's limits, health and connections.

    After three failures in a row it is backed off, and then probed with one call at a time until one succeeds.
    """

    def __init__(self, section: EndpointSection, key: Secret) -> None:
        self.section = section
        self.key = key
        self.url = f"{section.url}/chat/completions"
        self.proxy = proxy_for(section.url)
        self.adaptations: frozenset[Adaptation] = frozenset()
        self.window = Window(section.in_flight, timeout_s=section.timeout_s)
        self.in_flight = 0
        self.unreachable = False
        self._served = 0
        self._requests = Pace(section.requests_per_minute)
        self._tokens = Pace(section.tokens_per_minute)
        self._not_before = -math.inf
        self._failures = 0
        self._backoffs = 0
        self._worked = False
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open connections."""
        if self._session is None:
            raise RuntimeError("enter the model first: `async with model:`")
        return self._session

    @property
    def load(self) -> tuple[float, float]:
        """Orders endpoints: fewest in flight for their weight, then fewest served."""
        return (self.in_flight + 1) / self.section.weight, self._served / self.section.weight

    def wait_s(self, now: float) -> float:
        """Seconds until it takes another call; infinite while it is full and a call must end first."""
        allowed = 1 if self._backoffs else int(self.window.size)
        if self.in_flight >= allowed:
            return math.inf
        return max(self._not_before - now, self._requests.wait_s(now), self._tokens.wait_s(now), 0.0)

    def take(self, tokens: int, now: float) -> None:
        """Count a call of about so many tokens as in flight."""
        self.in_flight += 1
        self._served += 1
        self._requests.take(1, now)
        self._tokens.take(tokens, now)

    def unused(self, tokens: int) -> None:
        """Give back tokens that a call was expected to use and did not."""
        self._tokens.give_back(tokens)

    def works(self) -> None:
        """Note a good answer."""
        if self._backoffs:
            log.warning("%s answers again", self.section.url)
        self._failures = self._backoffs = 0
        self._worked, self.unreachable = True, False

    def fails(self, reason: str, now: float) -> None:
        """Note a failure that may be the endpoint's; failures in a row back it off."""
        self._failures += 1
        if self._failures < FAILURES_TO_BACK_OFF or now < self._not_before:
            return
        if not self._backoffs:
            log.warning("%s fails and is left alone for a while: %s", self.section.url, reason)
        self._backoffs += 1
        most = _MOST_BACKOFF_S if self._worked else _MOST_BACKOFF_UNREACHED_S
        self.not_before(now + jitter(self._backoffs, _FIRST_BACKOFF_S, most))

    def not_before(self, moment: float) -> None:
        """Send it nothing before that moment."""
        self._not_before = max(self._not_before, moment)

    async def open(self) -> None:
        """Open a session with the key in its headers."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key.value:
            headers["Authorization"] = f"Bearer {self.key.value}"
        timeout = aiohttp.ClientTimeout(
            total=self.section.timeout_s, sock_connect=min(CONNECT_S, self.section.timeout_s)
        )
        self.in_flight = 0
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address; never one for this machine.

    Looked up once: aiohttp's own way (trust_env) asks the environment and .netrc again for every call.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1" or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def jitter(attempt: int, first_s: float, most_s: float) -> float:
    """Full jitter: uniform between 0 and `first_s * 2**(attempt - 1)`, at most `most_s`."""
    return random.uniform(0.0, min(most_s, first_s * 2.0 ** min(attempt - 1, 30)))


class CallQueue:
    """Hands waiting calls to endpoints: those of the earliest item first, and of one item first come first served."""

    def __init__(self, endpoints: Sequence[Endpoint], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoints = endpoints
        self._clock = clock
        # A heap: the place of the call's item, when it came, who waits, its tokens, and where it failed before.
        self._waiting: list[tuple[tuple[int, ...], int, asyncio.Future[Endpoint], int, Endpoint | None]] = []
        self._came = itertools.count()
        self._resting: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, tokens: int, *, last: Endpoint | None = None) -> Endpoint:
        """Wait for an endpoint that takes a call of about so many tokens; `release` it when the call is over.

        `last` is where the call failed before: another one that is ready goes first.
        """
        if not self._waiting:
            endpoint, wait_s = self._next(last)
            if endpoint is not None:
                endpoint.take(tokens, self._clock())
                return endpoint
            self._wake_in(wait_s)
        future: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (PLACE.get(), next(self._came), future, tokens, last))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            raise

    def release(self, endpoint: Endpoint) -> None:
        """The call is over."""
        endpoint.in_flight -= 1
        self._dispatch()

    async def rest(self, seconds: float) -> None:
        """Sleep between two tries."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._resting.add(future)
        timer = loop.call_later(seconds, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            self._resting.discard(future)

    def fail_all(self, error: Exception) -> None:
        """End every call that waits or rests with the error."""
        for resting in self._resting:
            if not resting.done():
                resting.set_exception(error)
        for _, _, future, _, _ in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def close(self) -> None:
        """Forget the timer; the loop is about to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self, last: Endpoint | None) -> tuple[Endpoint | None, float]:
        now, best, shortest_s = self._clock(), None, math.inf
        for endpoint in self._endpoints:
            wait_s = endpoint.wait_s(now)
            if wait_s > 0:
                shortest_s = min(shortest_s, wait_s)
            elif best is None or best is last or (endpoint is not last and endpoint.load < best.load):
                best = endpoint
        return best, shortest_s

    def _dispatch(self) -> None:
        while self._waiting:
            _, _, future, tokens, last = self._waiting[0]
            if future.done():  # cancelled while it waited
                heapq.heappop(self._waiting)
                continue
            endpoint, wait_s = self._next(last)
            if endpoint is None:
                self._wake_in(wait_s)
                return
            heapq.heappop(self._waiting)
            endpoint.take(tokens, self._clock())
            future.set_result(endpoint)

    def _wake_in(self, seconds: float) -> None:
        self.close()
        if seconds < math.inf:  # otherwise a call has to end first, and `release` wakes the next
            self._timer = asyncio.get_running_loop().call_later(seconds, self._dispatch)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
