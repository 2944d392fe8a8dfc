"""What one provider has been asked so far, how it answered, and what is under way at this moment."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of a histogram's buckets; one more takes what is longer."""


class Outcome(StrEnum):
    """What became of one attempt."""

    OK = "ok"
    BUSY = "busy"
    """The provider asks to be asked later: 429, or a ban."""
    SERVER_ERROR = "server_error"
    """A status from 500 on."""
    NO_ANSWER = "no_answer"
    """No connection, a reset or a time-out."""
    UNREADABLE = "unreadable"
    """HTML, a cut body, or candles that break the contract."""
    REFUSED = "refused"
    """Any other status."""


@dataclass(slots=True)
class Histogram:
    """How often something took how long."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_SECONDS) + 1))
    """By bucket of `BOUNDS_SECONDS`, each alone."""
    seconds: float = 0.0
    """All of it together."""

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Traffic:
    """Written by a provider's client, read by whoever shows it."""

    requests: int = 0
    """Attempts that were sent, each of which took a token."""
    retries: int = 0
    """Attempts after the first for the same page."""
    waiting_for_token: int = 0
    """Requests that the rate limit, or a pause, holds back now."""
    waiting_for_network: int = 0
    """Requests that are sent and not answered yet."""
    paused_until: float = 0.0
    """Until when nothing is asked because the provider failed or said so; monotonic seconds."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    token_seconds: Histogram = field(default_factory=Histogram)
    """From wanting to send until the rate limit let it."""
    answer_seconds: Histogram = field(default_factory=Histogram)
    """From the token to the whole answer, or to its failure."""

    @property
    def paused_seconds(self) -> float:
        """How much of a pause is left."""
        return max(0.0, self.paused_until - time.monotonic())

    @contextmanager
    def holding_back(self) -> Iterator[None]:
        """While a request waits for its token."""
        begun = time.monotonic()
        self.waiting_for_token += 1
        try:
            yield
        finally:
            self.waiting_for_token -= 1
            self.token_seconds.add(time.monotonic() - begun)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While a request is on its way and back."""
        begun = time.monotonic()
        self.waiting_for_network += 1
        try:
            yield
        finally:
            self.waiting_for_network -= 1
            self.answer_seconds.add(time.monotonic() - begun)
