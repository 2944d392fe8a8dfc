"""Common parts of the simulated protocols: responses, rejections and time parsing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web

from fetcher.simulator.candles.source import SimulatedCandles

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=UTF-8"
LATEST_SECONDS = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

CorruptBody = Callable[[SimulatedCandles], SimulatedCandles]
"""Function that applies a fault to the candles of a page before they are encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedResponse:
    """A response before faults and compression are applied."""

    status: int = 200
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


RequestHandler = Callable[[web.Request, CorruptBody], SimulatedResponse]


class SimulatedProtocol(Protocol):
    """One simulated provider protocol."""

    name: str
    """Name of the protocol, as in `Instrument.provider`."""

    def routes(self) -> dict[str, RequestHandler]:
        """Return the GET handlers by path pattern; the last pattern matches all other paths."""
        ...

    def too_many(self) -> SimulatedResponse:
        """Return the response to a request over the rate limit."""
        ...

    def failure(self, status: int) -> SimulatedResponse:
        """Return the response of a server error, such as 503."""
        ...


class SimulatedRefusal(Exception):
    """The provider would reject this request; each protocol converts it to its own error response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def parse_moment(text: str) -> float:
    """Parse an ISO 8601 or RFC 3339 time, or Unix seconds as text, to Unix seconds; a time without a zone is UTC.

    Raises:
        ValueError: if the text is neither, or the time is before 1970 or after 9998.
    """
    try:
        seconds = float(text)
    except ValueError:
        time = datetime.fromisoformat(text)
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < LATEST_SECONDS:
        raise ValueError(f"time {text!r} is out of range")
    return seconds
