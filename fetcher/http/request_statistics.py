"""Traffic counters of one provider: requests, outcomes, durations and requests in progress."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram buckets; one more bucket has no upper bound."""


class RequestOutcome(StrEnum):
    """Outcome of one attempt."""

    OK = "ok"
    BUSY = "busy"
    """The provider requests a later retry: status 429 or a ban."""
    SERVER_ERROR = "server_error"
    """Status 500 or above."""
    NO_RESPONSE = "no_response"
    """No connection, a reset or a time-out."""
    UNREADABLE = "unreadable"
    """HTML, a truncated body, or candles that violate the contract."""
    REFUSED = "refused"
    """Any other status."""


@dataclass(slots=True)
class Histogram:
    """Histogram of durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    """Count per bucket of `BOUNDS_SECONDS`, not cumulative."""
    seconds: float = 0.0
    """Sum of all durations."""

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Traffic:
    """Traffic counters of one provider; updated by its client and read by displays."""

    requests: int = 0
    """Attempts sent; each used a token."""
    retries: int = 0
    """Attempts after the first one for the same page."""
    waiting_for_token: int = 0
    """Requests that currently wait for the rate limit or a pause."""
    waiting_for_network: int = 0
    """Requests that are currently sent and not answered."""
    paused_until: float = 0.0
    """End of the current pause after a failure or a provider's request, in monotonic seconds."""
    outcomes: Counter[RequestOutcome] = field(default_factory=Counter)
    token_seconds: Histogram = field(default_factory=Histogram)
    """Time that requests waited for a token."""
    response_seconds: Histogram = field(default_factory=Histogram)
    """Time from the token to the complete response or the failure."""

    @property
    def paused_seconds(self) -> float:
        """Remaining seconds of the current pause."""
        return max(0.0, self.paused_until - time.monotonic())

    @contextmanager
    def throttled(self) -> Iterator[None]:
        """Count a request as waiting for its token during the block."""
        begun = time.monotonic()
        self.waiting_for_token += 1
        try:
            yield
        finally:
            self.waiting_for_token -= 1
            self.token_seconds.add(time.monotonic() - begun)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as waiting for its response during the block."""
        begun = time.monotonic()
        self.waiting_for_network += 1
        try:
            yield
        finally:
            self.waiting_for_network -= 1
            self.response_seconds.add(time.monotonic() - begun)
