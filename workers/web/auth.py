"""Authentication and browser security: token, sessions, same-origin checks, response headers.

Without a token, only loopback is served, and only under loopback host names, which prevents DNS rebinding. With a
token, everything except the login page needs it, as a bearer token or a session cookie. The token is never part of
a URL, because servers and browsers record URLs.
"""

import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

COOKIE = "tradeschool"
SESSION_SECONDS = 12 * 3600
MAX_FAILURES, FAILURES_SECONDS = 10, 60.0
"""Limit of wrong tokens per interval, over all clients; further logins are refused."""
OPEN_PATHS = frozenset({"/healthz", "/login", "/static/style.css", "/static/login.js", "/static/icon.svg"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send no Origin header with the login form, and the login would be refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; sandbox"
"""Policy of run reports: inline styles and images only, no scripts, no external resources."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True, kw_only=True)
class Auth:
    """Checks requests against the token; without a token every request is admitted."""

    token: str | None
    clock: Callable[[], float] = time.time
    _failures: deque[float] = field(default_factory=deque)

    def admits(self, request: web.Request) -> bool:
        """Return whether the request contains the token or a valid session."""
        if self.token is None:
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        return self._is_session(request.cookies.get(COOKIE, ""))

    def is_token(self, given: str) -> bool:
        """Return whether a string is the token, in constant time."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def session(self) -> str:
        """Return a session cookie: expiry time and its HMAC with the token."""
        until = str(int(self.clock()) + SESSION_SECONDS)
        return f"{until}.{self._proof(until)}"

    def may_try(self) -> bool:
        """Return whether a login attempt is allowed; false after too many wrong tokens."""
        while self._failures and self.clock() - self._failures[0] > FAILURES_SECONDS:
            self._failures.popleft()
        return len(self._failures) < MAX_FAILURES

    def note_failure(self) -> None:
        """Record a wrong token."""
        self._failures.append(self.clock())

    def _is_session(self, value: str) -> bool:
        until, _, proof = value.partition(".")
        return (
            until.isdecimal()
            and len(until) <= 12
            and hmac.compare_digest(proof.encode(), self._proof(until).encode())
            and int(until) > self.clock()
        )

    def _proof(self, until: str) -> str:
        return hmac.digest((self.token or "").encode(), f"session until {until}".encode(), "sha256").hex()


def auth_middleware(auth: Auth) -> Middleware:
    """Return a middleware that admits or refuses requests."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if auth.token is None and not _is_local_name(request.host):
            raise web.HTTPMisdirectedRequest(text="without a token, only loopback host names are served")
        if request.method not in SAFE_METHODS and not _is_same_origin(request):
            raise web.HTTPForbidden(text="cross-site request refused")
        if request.path not in OPEN_PATHS and not auth.admits(request):
            if request.path == "/" and request.method == "GET":
                raise web.HTTPSeeOther("/login")
            raise web.HTTPUnauthorized(text="token required", headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return check


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the security headers of every response, including streams and errors."""
    response.headers["Server"] = "tradeschool"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")


def _is_local_name(host: str) -> bool:
    """Return whether a Host header names loopback; port and brackets are ignored."""
    return (urlsplit(f"//{host}").hostname or "") in LOOPBACK_NAMES


def _is_same_origin(request: web.Request) -> bool:
    """Return whether a request comes from the page itself.

    Browsers send Sec-Fetch-Site or Origin. A request without them comes from a program, which sends no cookies by
    itself.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    return site in {"same-origin", "none"} and (origin is None or urlsplit(origin).netloc == request.host)
