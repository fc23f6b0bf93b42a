"""What stands between the network and the page: hosts, origins, tokens, limits, cookies, and the headers of replies."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

COOKIE = "hrlaif_session"
TOKEN_HEADER = "X-CSRF-Token"
MOST_BODY_BYTES = 64 << 10
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


@dataclass(slots=True)
class Limiter:
    """Requests that somebody may make: `burst` at once, `per_s` in the long run."""

    per_s: float
    burst: float
    most_callers: int = 4096
    _left: OrderedDict[object, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, caller: object, *, now: float | None = None) -> bool:
        """Whether the caller may make one more; it is counted if so."""
        now = time.monotonic() if now is None else now
        left, since = self._left.pop(caller, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.per_s)
        allowed = left >= 1
        self._left[caller] = (left - allowed, now)
        if len(self._left) > self.most_callers:
            self._left.popitem(last=False)
        return allowed


def csrf_token(secret: str) -> str:
    """The token that a page of this session sends along; it says nothing about the session's secret."""
    return hmac.new(secret.encode("utf-8", "replace"), b"hrlaif csrf", hashlib.sha256).hexdigest()


def is_token(secret: str, given: str) -> bool:
    """Whether the token belongs to the session."""
    return hmac.compare_digest(csrf_token(secret).encode(), given.encode("utf-8", "replace"))


def check_host(request: web.Request, origins: frozenset[str]) -> None:
    """Refuse a request for another host: its name resolves to us on somebody else's wish (DNS rebinding).

    Raises:
        web.HTTPMisdirectedRequest: The host is none of ours.
    """
    if request.headers.get("Host", "") not in {urlsplit(origin).netloc for origin in origins}:
        raise web.HTTPMisdirectedRequest(text="this address is not served here")


def check_origin(request: web.Request, origins: frozenset[str]) -> None:
    """Refuse a change that another site's page asks for.

    Raises:
        web.HTTPForbidden: The browser names another origin, or none.
        web.HTTPUnsupportedMediaType: The body is not said to be JSON, as a form's never is.
    """
    if request.headers.get("Origin", "") not in origins or request.headers.get("Sec-Fetch-Site", "same-origin") not in (
        "same-origin",
        "none",
    ):
        raise web.HTTPForbidden(text="the request comes from another page")
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="the body has to be application/json")


def set_cookie(response: web.StreamResponse, secret: str, *, lasts_s: float, is_secure: bool) -> None:
    """Keep the session in the browser, out of reach of scripts and of other sites."""
    response.set_cookie(
        COOKIE, secret, max_age=int(lasts_s), httponly=True, samesite="Strict", secure=is_secure, path="/"
    )
