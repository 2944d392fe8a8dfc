"""Web application: middlewares, routes, static files, and the lifetime of the poller."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib import resources

from aiohttp import web

from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.monitoring.overview import Overview
from workers.web import api, metrics
from workers.web.auth import COOKIE, SESSION_SECONDS, Auth, Handler, auth_middleware, is_loopback, set_headers
from workers.web.connections import BoundedSite, ConnectionTable, body_in_time, connection_limit, counted
from workers.web.poller import Poller
from workers.web.topics import TopicStore

MAX_BODY_BYTES = 1_000_000
HANGING_SECONDS = 60.0
"""Seconds without a completed read after which the poller counts as hanging."""
STOP_SECONDS = 2.0
"""Seconds that open streams have to end at shutdown."""
CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}

AUTH = web.AppKey("guard", Auth)

log = logging.getLogger(__name__)


def make_app(overview: Overview, auth: Auth) -> web.Application:
    """Create the application that serves what an overview reads."""
    topics, table = TopicStore(), ConnectionTable(connection_limit())
    middlewares = [counted(table), api.error_responses, auth_middleware(auth)]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    app[AUTH], app[api.TOPIC_STORE], app[api.CONNECTIONS] = auth, topics, table
    app[api.POLLER] = Poller(overview, topics)
    app.on_response_prepare.append(set_headers)
    app.cleanup_ctx.append(_polling)
    app.add_routes(
        [
            web.get("/", _file("index.html")),
            web.get("/login", _file("login.html")),
            web.post("/login", log_in),
            web.post("/logout", log_out),
            web.get("/healthz", health),
            web.get("/metrics", metrics.scrape),
            web.get("/api/openapi.json", _file("openapi.json")),
            *api.routes(),
            *(web.get(f"/static/{name}", _file(name)) for name in _names() if not name.endswith(".html")),
        ]
    )
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Start listening; the caller must clean up the returned runner.

    Raises:
        SettingsError: If other machines could reach the page without a token.
        ServiceUnreachable: If the address is in use or belongs to another machine.
    """
    if app[AUTH].token is None and not is_loopback(host):
        raise SettingsError(
            f"serve.host {host}: a page that other machines can reach needs a token; "
            "set TRADESCHOOL_SERVE__TOKEN or serve.token_file"
        )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS, handler_cancellation=True)
    await runner.setup()
    try:
        await BoundedSite(runner, host, port, app[api.CONNECTIONS]).start()
    except OSError as error:
        await runner.cleanup()
        raise ServiceUnreachable(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    return runner


def address(runner: web.AppRunner) -> str:
    """Return the URL of the page."""
    host, port = runner.addresses[0][:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def log_in(request: web.Request) -> web.Response:
    """Exchange the token for a session cookie."""
    guard = request.app[AUTH]
    if not guard.may_try():
        raise web.HTTPTooManyRequests(text="too many wrong tokens; wait a minute", headers={"Retry-After": "60"})
    form = await body_in_time(request.post())
    given = form.get("token", "")
    if not isinstance(given, str) or not guard.is_token(given.strip()):
        guard.note_failure()
        log.warning("wrong token", extra={"action": "login_refused", "peer": request.remote})
        raise web.HTTPSeeOther("/login?wrong")
    answer = web.HTTPSeeOther("/")
    answer.set_cookie(
        COOKIE,
        guard.session(),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=request.headers.get("X-Forwarded-Proto") == "https",
    )
    raise answer


async def log_out(request: web.Request) -> web.Response:
    """Delete the session cookie."""
    del request
    answer = web.HTTPSeeOther("/login")
    answer.del_cookie(COOKIE)
    raise answer


async def health(request: web.Request) -> web.Response:
    """Report whether this process works, and the state of Redis.

    Unreachable services do not make the process unhealthy.
    """
    idle = asyncio.get_running_loop().time() - request.app[api.POLLER].looked
    works = idle < HANGING_SECONDS
    said = {"status": "ok" if works else "hanging", "redis": _redis_state(request.app[api.TOPIC_STORE])}
    return web.json_response(said, status=200 if works else 503)


def _redis_state(topics: TopicStore) -> str:
    """Return whether Redis is reachable, unreachable, or not running because no run is active."""
    topic = json.loads(topics.text("queue") or b"{}")
    if topic.get("queue"):
        return "up"
    if topic.get("error"):
        return "unreachable"
    return "not running" if topic.get("note") else "unknown"


async def _polling(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[api.POLLER].run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _names() -> list[str]:
    """Return the paths of the static files, relative to their folder."""
    root = resources.files("workers.web") / "static"
    vendor = [f"vendor/{each.name}" for each in (root / "vendor").iterdir()]
    return [each.name for each in root.iterdir() if each.is_file()] + vendor


def _file(name: str) -> Handler:
    """Return a handler for a static file, which is read once."""
    content = (resources.files("workers.web") / "static" / name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    kind = CONTENT_TYPES[name.rpartition(".")[2]]

    async def answer(request: web.Request) -> web.Response:
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Type": kind}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        response = web.Response(body=content, headers=headers)
        response.enable_compression()
        return response

    return answer
