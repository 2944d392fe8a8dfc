"""The server's side of a rate limit: a token bucket that is filled when it is looked at."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many requests a provider answers."""

    rate_per_second: float
    burst: int
    """Requests that a rested bucket answers at once."""


COINBASE_LIMIT = Limit(rate_per_second=10, burst=15)
"""Public endpoints, an address. Source: Coinbase Exchange documentation, rate limits."""
OANDA_LIMIT = Limit(rate_per_second=120, burst=120)
"""An address. Source: OANDA v20 development guide."""


class TokenBucket:
    """Full at first; every answered request takes one token, every moment brings some back."""

    def __init__(self, limit: Limit, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst)
        self._filled_at = monotonic()

    def take(self) -> bool:
        """Take a token; False where there is none, which costs nothing."""
        self._fill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _fill(self) -> None:
        now = self._monotonic()
        self._tokens = min(
            float(self._limit.burst), self._tokens + (now - self._filled_at) * self._limit.rate_per_second
        )
        self._filled_at = now
