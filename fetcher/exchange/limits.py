"""The server's side of a rate limit: a token bucket that is filled when it is looked at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many requests a provider answers."""

    rate_per_second: float
    burst: int
    """Requests that a rested bucket answers at once."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """How many requests one of a path counts for, where it is not one."""
    connections_per_second: int | None = None
    """New connections of which the first request is answered, None for any number."""


COINBASE_LIMIT = Limit(rate_per_second=10, burst=15)
"""Public endpoints, an address. Source: Coinbase Exchange documentation, rate limits."""
OANDA_LIMIT = Limit(rate_per_second=120, burst=120, connections_per_second=2)
"""An address. Source: OANDA v20 development guide and its best practices; its v1 answered 429 to a third new connection
in a second."""
COINBASE_ADVANCED_LIMIT = Limit(rate_per_second=10, burst=15)
"""An address. None is published for the public endpoints: Exchange's."""
BINANCE_LIMIT = Limit(
    rate_per_second=100,
    burst=6000,
    weights={"/api/v3/klines": 2, "/api/v3/exchangeInfo": 20},
)
"""An address, in weight: 6000 a minute there, here brought back evenly. Source: rest-api.md, IP limits."""


class TokenBucket:
    """Full at first; every answered request takes one token, every moment brings some back."""

    def __init__(self, limit: Limit, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst)
        self._filled_at = monotonic()

    def take(self, path: str = "") -> bool:
        """Take what a request of a path weighs; False where it is not there, which costs nothing."""
        self._fill()
        weight = self._limit.weights.get(path, 1)
        if self._tokens < weight:
            return False
        self._tokens -= weight
        return True

    def _fill(self) -> None:
        now = self._monotonic()
        self._tokens = min(
            float(self._limit.burst), self._tokens + (now - self._filled_at) * self._limit.rate_per_second
        )
        self._filled_at = now


class Gate:
    """A provider's limits together: what passes is answered."""

    def __init__(self, limit: Limit, monotonic: Callable[[], float]) -> None:
        self._requests = TokenBucket(limit, monotonic)
        most = limit.connections_per_second
        self._newcomers = TokenBucket(Limit(rate_per_second=most, burst=most), monotonic) if most else None
        self._known: WeakSet[object] = WeakSet()

    def admits(self, path: str, connection: object) -> bool:
        """Whether a request passes; a connection stays new until one of its requests has passed."""
        if connection not in self._known and self._newcomers is not None and not self._newcomers.take():
            return False
        self._known.add(connection)
        return self._requests.take(path)
