"""One attempt at a call: the endpoint's answer, or what its failure means for the call and for the run."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping

import aiohttp

from hrlaif.models.endpoints import Endpoint
from hrlaif.models.wire import Fate


class FailedAttemptError(Exception):
    """One attempt failed."""

    def __init__(self, fate: Fate, reason: str, status: int = 0, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.fate, self.reason, self.status, self.retry_after_s = fate, reason, status, retry_after_s


async def send(endpoint: Endpoint, url: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of the answer to a POST, or to a GET where there is no body to send.

    Raises:
        FailedAttemptError: There was no answer.
    """
    try:
        method = "GET" if body is None else "POST"
        async with endpoint.session.request(
            method, url, data=body, allow_redirects=False, proxy=endpoint.proxy
        ) as response:
            raw = await response.read()
            return response.status, response.headers, endpoint.key.hide_in(raw)
    except aiohttp.ClientSSLError as error:
        raise FailedAttemptError(Fate.FATAL, f"no secure connection ({error})") from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            reason = "too many open connections; lower in_flight or raise `ulimit -n`"
            raise FailedAttemptError(Fate.FATAL, reason) from error
        raise FailedAttemptError(Fate.UNREACHABLE, f"no connection ({error})") from error
    except asyncio.TimeoutError as error:
        raise FailedAttemptError(Fate.OVERLOADED, f"no answer within {endpoint.section.timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise FailedAttemptError(Fate.FAULTY, f"the connection broke ({error or type(error).__name__})") from error
