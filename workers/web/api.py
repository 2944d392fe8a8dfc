"""HTTP API of the page: current topics, event stream, run details, requeue of failed jobs."""

import asyncio
import json
import re
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from redis.exceptions import RedisError

from optimizer.level.spec import MAX_WINDOWS
from optimizer.report.files import EQUITY_NAME, REPORT_NAME, read_json
from tradeschool.errors import ServiceUnreachable, TradeschoolError
from workers.coordinator import event_log
from workers.monitoring.run_status_json import as_page
from workers.web import details
from workers.web.auth import REPORT_POLICY, Handler
from workers.web.connections import ConnectionState, ConnectionTable, body_in_time
from workers.web.poller import Poller
from workers.web.topics import TopicStore

KEEPALIVE_SECONDS = 15.0
"""Seconds between two keep-alive comments on an idle stream."""
WRITE_SECONDS = 30.0
"""Write timeout of a stream; a client that does not read is disconnected."""
MAX_STREAMS = 1_000
RUN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
LEVEL_NAME = re.compile(r"[A-Za-z0-9]{1,16}")
TOPICS = ("queue", "run", "candles", "download", "forward")

POLLER = web.AppKey("poller", Poller)
TOPIC_STORE = web.AppKey("topic_store", TopicStore)
CONNECTIONS = web.AppKey("connections", ConnectionTable)

T = TypeVar("T")


class RequeueRequest(BaseModel):
    """Request body: failed jobs to requeue; None means all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: list[str] | None = Field(default=None, max_length=10_000)


def routes() -> list[web.RouteDef]:
    """Return the routes of the API."""
    return [
        *(web.get(f"/api/{topic}", _topic(topic)) for topic in TOPICS),
        web.get("/api/stream", stream),
        web.get("/api/history", history),
        web.get("/api/failed", failed),
        web.post("/api/failed/requeue", requeue),
        web.get("/api/runs", list_runs),
        web.get("/api/runs/{run}", run_status),
        web.get("/api/runs/{run}/events", run_events),
        web.get("/api/runs/{run}/report", report),
        web.get("/api/runs/{run}/forward/{name}", forward_series),
        web.get("/api/runs/{run}/levels/{level}/equity", equity),
        web.get("/api/runs/{run}/levels/{level}/attempts/{attempt}/trials", trials),
        web.get("/api/runs/{run}/levels/{level}/attempts/{attempt}/importance", importance),
    ]


async def stream(request: web.Request) -> web.StreamResponse:
    """Stream all topics as server-sent events: all at once, then each one when it changes."""
    topics, table = request.app[TOPIC_STORE], request.app[CONNECTIONS]
    most = min(MAX_STREAMS, table.most // 2)
    if topics.listeners >= most:
        raise web.HTTPServiceUnavailable(
            text=f"too many open pages: the limit is {most}; close some", headers={"Retry-After": "30"}
        )
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    with topics.listening(), table.marked(request.protocol, ConnectionState.STREAMING):
        await _send_updates(topics, response)
    return response


async def _send_updates(topics: TopicStore, response: web.StreamResponse) -> None:
    seen, frames = 0, [b"retry: 2000\n\n"]
    while True:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(b"".join(frames))
        except (ConnectionError, TimeoutError):
            return  # the page is closed, or does not read
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                frames, seen = await topics.changes(seen)
        except TimeoutError:
            frames = [b": beat\n\n"]


async def history(request: web.Request) -> web.Response:
    """Return the queue history."""
    poller = request.app[POLLER]
    return _json(await poller.recent("history", poller.history))


async def failed(request: web.Request) -> web.Response:
    """Return failed jobs with their reasons, latest first."""
    poller = request.app[POLLER]
    return _json(await _from_redis(poller.recent("failed", lambda: details.failed(poller.overview))))


async def requeue(request: web.Request) -> web.Response:
    """Put failed jobs back into the queue."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="expected application/json")
    try:
        asked = RequeueRequest.model_validate_json(await body_in_time(request.read()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise web.HTTPBadRequest(text=f"{where}: {first['msg']}") from None
    poller = request.app[POLLER]
    return _json(await _from_redis(poller.ask(lambda: details.requeue_jobs(poller.overview, asked.jobs))))


async def list_runs(request: web.Request) -> web.Response:
    """Return the names of all runs, newest first."""
    poller = request.app[POLLER]
    view = await poller.recent("runs", poller.overview.runs)
    if view.error:
        raise web.HTTPServiceUnavailable(text=view.error)
    return _json({"runs": [*(view.value or ())]})


async def run_status(request: web.Request) -> web.Response:
    """Return the status of a run."""
    poller, run = request.app[POLLER], await _run(request)
    view = await poller.recent(("run", run), lambda: poller.overview.run(run))
    if view.error:
        raise web.HTTPServiceUnavailable(text=view.error)
    return _json(as_page(_found(view.value, "no such run")))


async def run_events(request: web.Request) -> web.Response:
    """Return the events of a run, latest last."""
    poller, run = request.app[POLLER], await _run(request)
    found = await poller.recent(("events", run), lambda: event_log.read(poller.folder(run)))
    return _json({"run": run, "events": [event.to_json() for event in found]})


async def report(request: web.Request) -> web.StreamResponse:
    """Return the HTML report of a finished run."""
    path = request.app[POLLER].folder(await _run(request)) / REPORT_NAME
    if not path.is_file():
        raise web.HTTPNotFound(text="no report yet; it is written at the end of the run")
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": REPORT_POLICY}
    return web.FileResponse(path, headers=headers)


async def equity(request: web.Request) -> web.Response:
    """Return the daily equity of a level's winner and of buy-and-hold."""
    poller, run, level = request.app[POLLER], await _run(request), _level(request)
    path = poller.folder(run) / level / EQUITY_NAME
    return _json(_found(await poller.recent(("equity", run, level), lambda: read_json(path)), "no winner yet"))


async def forward_series(request: web.Request) -> web.Response:
    """Return the daily series of a forward test."""
    poller, run, name = request.app[POLLER], await _run_folder(request), request.match_info["name"]
    if not RUN_NAME.fullmatch(name):
        raise web.HTTPNotFound(text="no such forward test")
    found = await poller.recent(("forward", run, name), lambda: details.forward_series(poller.folder(run), name))
    return _json(_found(found, "no such forward test"), is_large=True)


async def trials(request: web.Request) -> web.Response:
    """Return the finished trials of an attempt from an offset on, in order of commit."""
    poller, study = request.app[POLLER], await _study(request)
    after = _whole(request.query.get("after", "0"), "after", most=10**9)
    found = await poller.recent(("trials", study), lambda: poller.overview.studies.trials(study))
    return _json(details.trial_table(study, found, after), is_large=True)


async def importance(request: web.Request) -> web.Response:
    """Return the parameter importances of an attempt."""
    poller, study = request.app[POLLER], await _study(request)
    found = await poller.recent(("trials", study), lambda: poller.overview.studies.trials(study))
    facts = await poller.recent(("facts", study), lambda: poller.overview.studies.facts(study))
    return _json(await poller.recent(("importance", study), lambda: poller.importances.of(study, found, facts)))


@web.middleware
async def error_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Report every error of the API as a JSON object with a one-line message."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or not request.path.startswith("/api/"):
            raise
        return _json({"error": error.text or error.reason}, status=error.status, headers=_kept(error.headers))
    except ServiceUnreachable as error:
        return _json({"error": str(error)}, status=503)
    except TradeschoolError as error:
        return _json({"error": str(error)}, status=500)


def _topic(topic: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        topics = request.app[TOPIC_STORE]
        topics.note_request()
        text = topics.text(topic)
        if text is None:
            raise web.HTTPServiceUnavailable(text=f"{topic}: not read yet; retry", headers={"Retry-After": "1"})
        return web.Response(body=text, content_type="application/json")

    return answer


def _json(
    value: JsonValue, *, status: int = 200, headers: Mapping[str, str] | None = None, is_large: bool = False
) -> web.Response:
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    response = web.Response(text=text, status=status, content_type="application/json", headers=headers)
    if is_large:
        response.enable_compression()
    return response


async def _from_redis(answer: Awaitable[JsonValue]) -> JsonValue:
    try:
        return await answer
    except RedisError as error:
        raise ServiceUnreachable(f"Redis does not answer: {str(error).partition(chr(10))[0]}") from error


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("Allow", "Retry-After", "WWW-Authenticate") if name in headers}


async def _run(request: web.Request) -> str:
    """Return the run name of a request; any valid name is accepted while the study database is unreachable.

    Raises:
        HTTPNotFound: If the run does not exist.
    """
    name, poller = request.match_info["run"], request.app[POLLER]
    known = (await poller.recent("runs", poller.overview.runs)).value
    if not RUN_NAME.fullmatch(name) or (known is not None and name not in known):
        raise web.HTTPNotFound(text="no such run")
    return name


async def _run_folder(request: web.Request) -> str:
    """Return the run name of a request; a forward test's run need not be in the study database.

    Raises:
        HTTPNotFound: If the name is not valid.
    """
    name = request.match_info["run"]
    if not RUN_NAME.fullmatch(name):
        raise web.HTTPNotFound(text="no such run")
    return name


def _level(request: web.Request) -> str:
    level = request.match_info["level"]
    if not LEVEL_NAME.fullmatch(level):
        raise web.HTTPNotFound(text="no such level")
    return level


async def _study(request: web.Request) -> str:
    attempt = request.match_info["attempt"]
    if not re.fullmatch(r"[1-9][0-9]{0,3}", attempt):
        raise web.HTTPNotFound(text="no such attempt")
    window = request.query.get("window")
    number = "" if window is None else f"-w{_whole(window, 'window', least=1, most=MAX_WINDOWS)}"
    return f"{await _run(request)}-L{_level(request)}-a{attempt}{number}"


def _whole(text: str, name: str, *, least: int = 0, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise web.HTTPBadRequest(text=f"{name}: expected a whole number from {least} to {most}")
    return int(text)


def _found(value: T | None, otherwise: str) -> T:
    if value is None:
        raise web.HTTPNotFound(text=otherwise)
    return value
