"""Who may see and do what: the token, sessions, other sites' pages, and what a browser may load.

Without a token only loopback is served, and only under loopback's names: a page elsewhere whose name was made to
point here (DNS rebinding) is refused. With a token everything but the page that asks for it needs it, as a bearer
or in a session's cookie, never in a URL, which servers and browsers write down.
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
MOST_FAILURES, FAILURES_SECONDS = 10, 60.0
"""Wrong tokens in a minute, from anybody, after which nobody may try."""
OPEN_PATHS = frozenset({"/healthz", "/login", "/static/style.css", "/static/login.js", "/static/icon.svg"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: a browser would then keep the origin of a form to itself, too, and no token could be sent.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; sandbox"
"""Of a run's report, which holds its styles and pictures itself: no script runs in it, and it loads nothing."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach what is bound there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True, kw_only=True)
class Guard:
    """Holds requests against the token, where there is one."""

    token: str | None
    clock: Callable[[], float] = time.time
    _failures: deque[float] = field(default_factory=deque)

    def admits(self, request: web.Request) -> bool:
        """Whether the request bears the token or a session."""
        if self.token is None:
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(given.strip())
        return self._is_session(request.cookies.get(COOKIE, ""))

    def is_token(self, given: str) -> bool:
        """Whether it is the token; takes as long whatever is given."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def session(self) -> str:
        """A cookie's value: until when it holds, and a proof that nobody without the token can make."""
        until = str(int(self.clock()) + SESSION_SECONDS)
        return f"{until}.{self._proof(until)}"

    def may_try(self) -> bool:
        """Whether a token may be tried; not after too many wrong ones."""
        while self._failures and self.clock() - self._failures[0] > FAILURES_SECONDS:
            self._failures.popleft()
        return len(self._failures) < MOST_FAILURES

    def note_failure(self) -> None:
        """A wrong token was tried."""
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


def guarded(guard: Guard) -> Middleware:
    """The middleware that lets a request through, or says why not."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if guard.token is None and not _is_local_name(request.host):
            raise web.HTTPMisdirectedRequest(text="this page is served under loopback's names only")
        if request.method not in SAFE_METHODS and not _is_same_origin(request):
            raise web.HTTPForbidden(text="another site's page may not do this")
        if request.path not in OPEN_PATHS and not guard.admits(request):
            if request.path == "/" and request.method == "GET":
                raise web.HTTPSeeOther("/login")
            raise web.HTTPUnauthorized(text="token needed", headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return check


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, streams and errors included."""
    response.headers["Server"] = "tradeschool"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")


def _is_local_name(host: str) -> bool:
    """Of a Host header, port and brackets left out."""
    return (urlsplit(f"//{host}").hostname or "") in LOOPBACK_NAMES


def _is_same_origin(request: web.Request) -> bool:
    """Browsers say where a request comes from; what says nothing is a program, which carries no cookies by itself."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    return site in {"same-origin", "none"} and (origin is None or urlsplit(origin).netloc == request.host)
