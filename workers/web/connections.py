"""Limits what a client can hold open: connections, unfinished request headers, slow request bodies.

At the limit a new connection takes the place of the oldest one that has sent no complete request, so that a flood of
half-sent requests cannot lock out a client that sends its request at once.
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
"""How long a connection may take to send a complete header, and may idle between two requests."""
BODY_SECONDS = 10.0
"""How long a request may take to send its body."""
MOST_CONNECTIONS = 4_096
BACKLOG = 128
"""Connections that the event loop accepts before it closes those that were dropped."""
RESERVED_FILES = 2 * BACKLOG
"""File descriptors that connections leave to databases, Redis, candles and the backlog."""
LEAST_CONNECTIONS = 16
LOG_SECONDS = 60.0
"""Between two log lines about the same trouble."""
ACCEPT_FAILED = "socket.accept() out of system resource"
"""How asyncio names an accept without a free file descriptor; it reports one for each connection in the backlog."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class State(Enum):
    """What a connection does now; also the order in which connections are dropped."""

    WAITING = "waiting"
    """It has sent no complete request since the last answer."""
    SERVING = "serving"
    STREAMING = "streaming"
    """It receives events; their number has a limit of its own, so these are never dropped."""


class ConnectionTable:
    """The open connections of one server, oldest first in each state."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        """Connections that may be open at once."""
        self.dropped = 0
        """Connections that were closed to make room."""
        self._by_state: dict[State, dict[web.RequestHandler, None]] = {state: {} for state in State}
        self._next_line = LogInterval(clock)

    def __len__(self) -> int:
        """How many connections are open."""
        return sum(map(len, self._by_state.values()))

    def add(self, connection: web.RequestHandler) -> None:
        """Count a new connection; at the limit, drop the oldest one that can be dropped."""
        if len(self) >= self.most:
            self._drop_one()
        self._by_state[State.WAITING][connection] = None

    def remove(self, connection: web.RequestHandler) -> None:
        """Forget a closed connection."""
        for connections in self._by_state.values():
            connections.pop(connection, None)

    @contextmanager
    def marked(self, connection: web.RequestHandler, state: State) -> Iterator[None]:
        """Give a connection that state until the block ends; one that is not counted stays uncounted."""
        before = next((each for each, held in self._by_state.items() if connection in held), None)
        self._move(connection, state)
        try:
            yield
        finally:
            self._move(connection, before)

    def _move(self, connection: web.RequestHandler, state: State | None) -> None:
        is_open = any(connection in held for held in self._by_state.values())
        self.remove(connection)
        if is_open and state is not None:
            self._by_state[state][connection] = None

    def _drop_one(self) -> None:
        victims = self._by_state[State.WAITING] or self._by_state[State.SERVING]
        victim = next(iter(victims), None)
        if victim is None:
            return
        self.remove(victim)
        if victim.transport is not None:
            victim.transport.abort()
        self.dropped += 1
        if self._next_line.is_due():
            log.warning(
                "connection limit reached: connections without a request are closed, the oldest first",
                extra={"action": "connections_dropped", "most": self.most, "dropped": self.dropped},
            )


class LogInterval:
    """Allows one log line in `LOG_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._next = clock, float("-inf")

    def is_due(self) -> bool:
        """Whether a line may be written now; the next one has to wait then."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + LOG_SECONDS
        return True


class Connection(web.RequestHandler):
    """One HTTP connection, counted in a table; it is closed where its header does not come in time."""

    __slots__ = ("_table",)

    def __init__(self, server: web.Server, table: ConnectionTable, loop: asyncio.AbstractEventLoop) -> None:
        # The keep-alive time-out of aiohttp runs from the first byte on, and until a header is complete.
        super().__init__(server, loop=loop, keepalive_timeout=HEADER_SECONDS)
        self._table = table

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self._table.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._table.remove(self)
        super().connection_lost(exc)


class BoundedSite(web.BaseSite):
    """A TCP address whose connections are counted in a table."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, table: ConnectionTable) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._host, self._port, self._table = host, port, table

    @property
    def name(self) -> str:
        """The address, for aiohttp's own messages."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: where the address is taken or belongs to another machine.
        """
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None, "the runner was set up"
        loop.set_exception_handler(AcceptErrors())
        self._server = await loop.create_server(
            lambda: Connection(server, self._table, loop), self._host, self._port, backlog=BACKLOG
        )


class AcceptErrors:
    """An event loop's exception handler that reports a lack of file descriptors once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._next_line = LogInterval(clock)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log the error, or pass it on to asyncio's own handler."""
        if context.get("message") != ACCEPT_FAILED:
            loop.default_exception_handler(context)
        elif self._next_line.is_due():
            log.warning(
                "no connection can be accepted: too many open files; raise the limit (ulimit -n)",
                extra={"action": "accept_failed", "reason": str(context.get("exception"))},
            )


def counted(table: ConnectionTable) -> Middleware:
    """The middleware that marks a connection as served while a handler works on its request."""

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        with table.marked(request.protocol, State.SERVING):
            return await handler(request)

    return serve


async def body_in_time(body: Awaitable[T]) -> T:
    """The body of a request.

    Raises:
        HTTPRequestTimeout: where it is not complete after `BODY_SECONDS`.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await body
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from None


def raise_file_limit() -> None:
    """Let this process open as many files as `MOST_CONNECTIONS` take, where the hard limit allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_limit() -> int:
    """How many connections the open-file limit of this process allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, soft - RESERVED_FILES))
