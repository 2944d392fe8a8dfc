"""HTTP server of the simulated exchange: all protocols on one port, with rate limits, faults and a request log."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from gzip import compress
from pathlib import Path

from aiohttp import web

from fetcher.simulator.candles.source import CandleSource
from fetcher.simulator.faults import Fault, FaultDraw, FaultInjector, Faults, failure_status, html_page
from fetcher.simulator.protocols.binance import Binance
from fetcher.simulator.protocols.coinbase import Coinbase
from fetcher.simulator.protocols.coinbase_advanced import CoinbaseAdvanced
from fetcher.simulator.protocols.oanda import Oanda
from fetcher.simulator.rate_limit import ExchangeLimits, RequestLimiter
from fetcher.simulator.request_log import RecordedRequest, RequestLog
from fetcher.simulator.response import RequestHandler, SimulatedProtocol, SimulatedResponse
from tradeschool.errors import SettingsError

LOGGED_REQUESTS = 10_000
SMALLEST_COMPRESSED_BYTES = 256
LARGEST_INLINE_BYTES = 100_000
"""Largest body compressed in the event loop; larger ones are compressed in a thread."""
SLOW_SECONDS = 120.0
"""Duration of a slow response, sent one byte at a time."""
SHUTDOWN_SECONDS = 1.0
"""Time limit for responses in progress when the server stops."""

NO_FAULTS = Faults()
REAL_LIMITS = ExchangeLimits()
CANDLE_PATHS = ("/candles", "/klines")
"""Suffixes of the paths of candle requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeClock:
    """Clocks of an exchange; those of the machine by default."""

    now: Callable[[], float] = time.time
    """Unix seconds; later candles do not exist yet."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds for limits, outages and the request log."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    """Waits for the latency of a response."""


REAL_CLOCK = ExchangeClock()


class Exchange:
    """Simulated exchange: serves a source of candles over all protocols, with rate limits, faults and a request log."""

    def __init__(
        self,
        source: CandleSource,
        *,
        faults: Faults = NO_FAULTS,
        seed: int = 0,
        oanda_token: str | None = None,
        limits: ExchangeLimits = REAL_LIMITS,
        clock: ExchangeClock = REAL_CLOCK,
        logged_requests: int = LOGGED_REQUESTS,
    ) -> None:
        """Create an exchange for a source of candles; with `oanda_token` None, any non-empty token is accepted."""
        self.record = RequestLog(logged_requests)
        self._monotonic, self._sleep = clock.monotonic, clock.sleep
        self._injector = FaultInjector(faults, seed, clock.monotonic)
        self._protocols: dict[SimulatedProtocol, RequestLimiter] = {
            Oanda(source, clock.now, oanda_token): RequestLimiter(limits.oanda, clock.monotonic),
            CoinbaseAdvanced(source, clock.now): RequestLimiter(limits.coinbase_advanced, clock.monotonic),
            Binance(source, clock.now): RequestLimiter(limits.binance, clock.monotonic),
            Coinbase(source, clock.now): RequestLimiter(limits.coinbase, clock.monotonic),
        }

    def app(self) -> web.Application:
        """Return the aiohttp application with the routes of all protocols."""
        app = web.Application()
        for protocol in self._protocols:
            for path, handler in protocol.routes().items():
                app.router.add_get(path, partial(self._handle, protocol, handler))
        return app

    async def _handle(
        self, protocol: SimulatedProtocol, handler: RequestHandler, request: web.Request
    ) -> web.StreamResponse:
        arrived_seconds = self._monotonic()
        fault = FaultDraw()
        if self._protocols[protocol].admits(request.path, request.transport):
            fault = self._injector.draw(request.path_qs, is_for_candles=request.path.endswith(CANDLE_PATHS))
            await self._sleep(fault.delay_seconds)
            response = _response(protocol, handler, request, fault)
        else:
            response = protocol.too_many()
        body, headers = await _encoded(response, request)
        self.record.add(
            RecordedRequest(
                arrived_seconds=arrived_seconds,
                protocol=protocol.name,
                path=request.path,
                query=request.query_string,
                status=0 if fault.is_without_response else response.status,
                bytes=0 if fault.is_without_response else _sent_bytes(body, fault),
                fault=fault.fault.value,
            )
        )
        if fault.fault is Fault.CUT:
            return await _cut(request, fault, response.status, body, headers)
        if fault.fault is Fault.SLOW:
            return await _drip(request, response.status, body, headers)
        return web.Response(status=response.status, body=body, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningExchange:
    """A running exchange."""

    url: str
    """Base URL, such as `http://127.0.0.1:8700`."""
    exchange: Exchange

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The last requests, oldest first."""
        return tuple(self.exchange.record.requests)


@asynccontextmanager
async def serve(
    exchange: Exchange, *, host: str = "127.0.0.1", port: int = 0, log_path: Path | None = None
) -> AsyncIterator[RunningExchange]:
    """Serve during the block; port 0 selects a free port, `log_path` receives one line of JSON per request.

    Raises:
        SettingsError: if the address cannot be bound or the log cannot be written.
    """
    runner = web.AppRunner(exchange.app(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    with exchange.record.appended_to(log_path):
        await runner.setup()
        try:
            bound_port = await _listen(runner, host, port)
            yield RunningExchange(url=f"http://{host}:{bound_port}", exchange=exchange)
        finally:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsError(f"the exchange cannot listen on {host}:{port}: {error.strerror}") from error
    return int(runner.addresses[0][1])


def _response(
    protocol: SimulatedProtocol, handler: RequestHandler, request: web.Request, fault: FaultDraw
) -> SimulatedResponse:
    match fault.fault:
        case Fault.TOO_MANY:
            return protocol.too_many()
        case Fault.FAILURE:
            return protocol.failure(failure_status(fault.chance))
        case Fault.OUTAGE:
            return protocol.failure(503)
        case Fault.HTML:
            return html_page(fault.chance)
        case _:
            return handler(request, fault.corrupt)


async def _encoded(response: SimulatedResponse, request: web.Request) -> tuple[bytes, dict[str, str]]:
    """Return the body, compressed if accepted, and all headers."""
    headers = {"Content-Type": response.content_type, **response.headers}
    if len(response.body) < SMALLEST_COMPRESSED_BYTES or "gzip" not in request.headers.get("Accept-Encoding", ""):
        return response.body, headers
    squeeze = partial(compress, response.body, compresslevel=1, mtime=0)
    body = squeeze() if len(response.body) <= LARGEST_INLINE_BYTES else await asyncio.to_thread(squeeze)
    return body, headers | {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


def _sent_bytes(body: bytes, fault: FaultDraw) -> int:
    return len(body) // 2 if fault.fault is Fault.CUT else len(body)


async def _cut(
    request: web.Request, fault: FaultDraw, status: int, body: bytes, headers: dict[str, str]
) -> web.StreamResponse:
    """Announce the full body, send half of it and close the connection; or reset it before the response."""
    response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(body))})
    if fault.is_without_response:
        _reset(request.transport)
        return response
    await response.prepare(request)
    await response.write(body[: _sent_bytes(body, fault)])
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.Request, status: int, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Send the body so slowly that only a total time-out in the client ends the request."""
    response = web.StreamResponse(status=status, headers=headers | {"Content-Length": str(len(body))})
    await response.prepare(request)
    pause = SLOW_SECONDS / len(body)
    with suppress(ConnectionResetError):  # clients disconnect before the end
        for place in range(len(body)):
            await response.write(body[place : place + 1])
            await asyncio.sleep(pause)
    return response


def _reset(transport: asyncio.Transport | None) -> None:
    if transport is None:
        return
    # SO_LINGER with 0 seconds closes the socket with RST instead of FIN: "connection reset by peer".
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
