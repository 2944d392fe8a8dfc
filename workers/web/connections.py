"""Limits of HTTP connections: number, time for request headers, time for request bodies.

At the limit, a new connection replaces the oldest one without a complete request. A flood of half-sent requests
therefore cannot lock out clients that send their requests promptly.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HEADER_SECONDS = 10.0
"""Timeout for a complete request header, and for an idle connection between two requests."""
BODY_SECONDS = 10.0
"""Timeout for a request body."""
MAX_CONNECTIONS = 4_096
BACKLOG = 128
"""Connections that the event loop may accept before it closes dropped ones."""
RESERVED_FILES = 2 * BACKLOG
"""File descriptors reserved for databases, Redis, candles and the backlog."""
MIN_CONNECTIONS = 16
LOG_SECONDS = 60.0
"""Seconds between two log lines about the same problem."""
ACCEPT_FAILED = "socket.accept() out of system resource"
"""Message of asyncio for an accept without a free file descriptor; it is reported once per pending connection."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class ConnectionState(Enum):
    """State of a connection; the order of the members is the order in which connections are dropped."""

    WAITING = "waiting"
    """No complete request since the last response."""
    SERVING = "serving"
    STREAMING = "streaming"
    """Receives events; never dropped, because streams have a separate limit."""


class ConnectionTable:
    """Open connections of one server, oldest first in each state."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        """Maximum number of open connections."""
        self.dropped = 0
        """Number of connections closed at the limit."""
        self._by_state: dict[ConnectionState, dict[web.RequestHandler, None]] = {state: {} for state in ConnectionState}
        self._next_line = LogInterval(clock)

    def __len__(self) -> int:
        """Return the number of open connections."""
        return sum(map(len, self._by_state.values()))

    def add(self, connection: web.RequestHandler) -> None:
        """Add a connection; at the limit, drop the oldest droppable one."""
        if len(self) >= self.most:
            self._drop_one()
        self._by_state[ConnectionState.WAITING][connection] = None

    def remove(self, connection: web.RequestHandler) -> None:
        """Remove a closed connection."""
        for connections in self._by_state.values():
            connections.pop(connection, None)

    @contextmanager
    def marked(self, connection: web.RequestHandler, state: ConnectionState) -> Iterator[None]:
        """Set the state of a connection until the block ends; unknown connections are ignored."""
        before = next((each for each, held in self._by_state.items() if connection in held), None)
        self._move(connection, state)
        try:
            yield
        finally:
            self._move(connection, before)

    def _move(self, connection: web.RequestHandler, state: ConnectionState | None) -> None:
        is_open = any(connection in held for held in self._by_state.values())
        self.remove(connection)
        if is_open and state is not None:
            self._by_state[state][connection] = None

    def _drop_one(self) -> None:
        victims = self._by_state[ConnectionState.WAITING] or self._by_state[ConnectionState.SERVING]
        victim = next(iter(victims), None)
        if victim is None:
            return
        self.remove(victim)
        if victim.transport is not None:
            victim.transport.abort()
        self.dropped += 1
        if self._next_line.is_due():
            log.warning(
                "connection limit reached: closing connections without a request, oldest first",
                extra={"action": "connections_dropped", "most": self.most, "dropped": self.dropped},
            )


class LogInterval:
    """Rate limit of one log line per `LOG_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._next = clock, float("-inf")

    def is_due(self) -> bool:
        """Return whether a line may be written now, and start a new interval if so."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + LOG_SECONDS
        return True


class Connection(web.RequestHandler):
    """HTTP connection that is counted in a table and closed if its header is late."""

    __slots__ = ("_table",)

    def __init__(self, server: web.Server, table: ConnectionTable, loop: asyncio.AbstractEventLoop) -> None:
        # aiohttp's keep-alive timeout runs from the first byte until the header is complete.
        super().__init__(server, loop=loop, keepalive_timeout=HEADER_SECONDS)
        self._table = table

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Add the connection to the table."""
        self._table.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remove the connection from the table."""
        self._table.remove(self)
        super().connection_lost(exc)


class BoundedSite(web.BaseSite):
    """TCP site whose connections are counted in a table."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, table: ConnectionTable) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._host, self._port, self._table = host, port, table

    @property
    def name(self) -> str:
        """URL of the site, for aiohttp's messages."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Start listening.

        Raises:
            OSError: If the address is in use or belongs to another machine.
        """
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None, "the runner was set up"
        loop.set_exception_handler(AcceptErrors())
        self._server = await loop.create_server(
            lambda: Connection(server, self._table, loop), self._host, self._port, backlog=BACKLOG
        )


class AcceptErrors:
    """Exception handler of the event loop that logs a lack of file descriptors at most once per minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._next_line = LogInterval(clock)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log the error, or pass it to asyncio's default handler."""
        if context.get("message") != ACCEPT_FAILED:
            loop.default_exception_handler(context)
        elif self._next_line.is_due():
            log.warning(
                "cannot accept connections: too many open files; raise the limit (ulimit -n)",
                extra={"action": "accept_failed", "reason": str(context.get("exception"))},
            )


def counted(table: ConnectionTable) -> Middleware:
    """Return a middleware that marks a connection as serving while its request is handled."""

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        with table.marked(request.protocol, ConnectionState.SERVING):
            return await handler(request)

    return serve


async def body_in_time(body: Awaitable[T]) -> T:
    """Return the body of a request.

    Raises:
        HTTPRequestTimeout: If the body is not complete after `BODY_SECONDS`.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await body
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from None


def raise_file_limit() -> None:
    """Raise the soft limit of open files for `MAX_CONNECTIONS`, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_limit() -> int:
    """Return the number of connections that the open-file limit of this process allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, soft - RESERVED_FILES))
