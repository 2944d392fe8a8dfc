"""What the protocols share: an answer before it is sent, a refusal, and reading a moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web

from fetcher.exchange.source import CandleArrays

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=UTF-8"
LATEST_SECONDS = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

Spoil = Callable[[CandleArrays], CandleArrays]
"""What a fault does to a page of candles just before it is written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response before faults, compression and sending."""

    status: int = 200
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Answering = Callable[[web.Request, Spoil], Answer]


class ProviderSide(Protocol):
    """One provider's protocol as the exchange serves it."""

    name: str
    """As instruments name their provider."""

    def routes(self) -> dict[str, Answering]:
        """Path pattern to what answers a GET there; the last one takes every other path."""
        ...

    def too_many(self) -> Answer:
        """The answer to a request over the rate limit."""
        ...

    def failure(self, status: int) -> Answer:
        """The answer of a server in trouble, such as 503."""
        ...


class Refused(Exception):
    """The provider would refuse this request: an answer on its way out, caught where its protocol writes it down."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def parse_moment(text: str) -> float:
    """Unix seconds of an ISO 8601 or RFC 3339 time, or of Unix seconds as text; without a zone it is UTC.

    Raises:
        ValueError: if the text is neither, or lies before 1970 or after 9998.
    """
    try:
        seconds = float(text)
    except ValueError:
        time = datetime.fromisoformat(text)
        seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < LATEST_SECONDS:
        raise ValueError(f"time {text!r} is out of range")
    return seconds
