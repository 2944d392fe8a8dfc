"""Connection limits, and service for other clients at the limit."""

import asyncio
import logging
import resource
import socket
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from workers.web import api, app, connections
from workers.web.connections import ACCEPT_FAILED, AcceptErrors, ConnectionState, ConnectionTable, LogInterval

HALF_SENT = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LIMIT = 20


class Transport:
    """A transport that records only whether it was aborted."""

    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


def connection() -> SimpleNamespace:
    return Hashable(transport=Transport())


class Hashable(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ConnectionTable:
    """The connection table of the next served page."""
    made = ConnectionTable(LIMIT)
    monkeypatch.setattr(connections, "HEADER_SECONDS", 3600.0)  # only the limit closes connections here
    monkeypatch.setattr(app, "ConnectionTable", lambda most: made)
    return made


@pytest.fixture
def half_open():
    """Open connections that send half a request header."""
    opened: list[socket.socket] = []

    def one(url: str, sent: bytes = HALF_SENT) -> socket.socket:
        parts = urlsplit(url)
        made = socket.create_connection((parts.hostname, parts.port), timeout=60)
        opened.append(made)
        made.sendall(sent)
        return made

    yield one
    for each in opened:
        each.close()


def test_a_complete_request_is_served_beside_many_incomplete_ones(table, page, half_open) -> None:
    for _ in range(15 * LIMIT):
        half_open(page.url)
    answer = page.get("/healthz")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert len(table) <= LIMIT
    assert table.dropped >= 14 * LIMIT


def test_the_oldest_connection_without_a_request_is_closed() -> None:
    table, first, second, third = ConnectionTable(2), connection(), connection(), connection()
    table.add(first)
    table.add(second)
    with table.marked(first, ConnectionState.SERVING):
        table.add(third)

    assert (first.transport.is_aborted, second.transport.is_aborted, third.transport.is_aborted) == (False, True, False)
    assert (len(table), table.dropped) == (2, 1)


def test_an_active_request_is_dropped_last_and_a_stream_never() -> None:
    table, stream, slow, new = ConnectionTable(2), connection(), connection(), connection()
    table.add(stream)
    table.add(slow)
    with table.marked(stream, ConnectionState.STREAMING), table.marked(slow, ConnectionState.SERVING):
        table.add(new)

    assert (stream.transport.is_aborted, slow.transport.is_aborted) == (False, True)
    assert len(table) == 2


def test_a_closed_connection_is_counted_once() -> None:
    table, gone = ConnectionTable(2), connection()
    table.add(gone)
    with table.marked(gone, ConnectionState.SERVING):
        table.remove(gone)

    assert len(table) == 0


def test_a_late_header_closes_the_connection(page, half_open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.05)

    assert half_open(page.url).recv(1) == b""


def test_a_late_body_is_refused(page, half_open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.05)
    header = "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
    form = "Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken="
    waiting = half_open(page.url, (header + form).encode())

    assert waiting.recv(1024).startswith(b"HTTP/1.1 408 ")


def test_streams_take_at_most_half_of_the_connections(table, page) -> None:
    opened = [page.get("/api/stream", stream=True) for _ in range(LIMIT // 2)]
    refused = page.get("/api/stream")
    for each in opened:
        each.close()

    assert {each.status_code for each in opened} == {200}
    assert (refused.status_code, refused.json()["error"]) == (
        503,
        f"too many open pages: the limit is {LIMIT // 2}; close some",
    )
    assert api.MAX_STREAMS > LIMIT


def test_a_lack_of_file_descriptors_logs_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    handler, loop = AcceptErrors(lambda: now[0]), asyncio.new_event_loop()
    for now[0] in (0.0, 1.0, 59.0, 60.0, 61.0):
        handler(loop, {"message": ACCEPT_FAILED, "exception": OSError(24, "Too many open files")})
    with caplog.at_level(logging.ERROR, "asyncio"):
        handler(loop, {"message": "something else"})
    loop.close()

    assert [record.name for record in caplog.records] == ["workers.web.connections"] * 2 + ["asyncio"]


def test_asyncio_reports_a_failed_accept_with_the_known_text() -> None:
    """The filter depends on a text of asyncio; if it changed, errors would fill the log."""
    source = asyncio.selector_events.__loader__.get_source(asyncio.selector_events.__name__)

    assert ACCEPT_FAILED in source


def test_a_line_is_logged_once_per_interval() -> None:
    now = [0.0]
    interval = LogInterval(lambda: now[0])

    assert [interval.is_due() for now[0] in (0.0, 59.9, 60.0, 119.9, 120.0)] == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ((1_024, 4_096), 768),
        ((200, 200), connections.MIN_CONNECTIONS),
        ((1_000_000, 1_000_000), connections.MAX_CONNECTIONS),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), connections.MAX_CONNECTIONS),
    ],
)
def test_connections_leave_spare_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)

    assert connections.connection_limit() == most


@pytest.mark.parametrize(
    ("limits", "raised"),
    [((1_024, 2_048), (2_048, 2_048)), ((1_024, 1_000_000), (4_352, 1_000_000)), ((8_192, 8_192), None)],
)
def test_the_open_file_limit_is_raised_to_the_hard_limit(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: tuple[int, int] | None
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, wanted: given.append(wanted))
    connections.raise_file_limit()

    assert given == ([raised] if raised else [])
