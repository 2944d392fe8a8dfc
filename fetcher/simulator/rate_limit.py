"""Server-side rate limits of the simulated providers: token buckets for requests and new connections."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Rate limit of a provider."""

    rate_per_second: float
    burst: int
    """Capacity of the bucket."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Weight of a request by path; 1 for all other paths."""
    connections_per_second: int | None = None
    """Maximum number of new connections per second, None for no limit."""


COINBASE_LIMIT = Limit(rate_per_second=10, burst=15)
"""Public endpoints, per address. Source: Coinbase Exchange documentation, rate limits."""
OANDA_LIMIT = Limit(rate_per_second=120, burst=120, connections_per_second=2)
"""Per address. Source: OANDA v20 development guide and best practices; v1 returned 429 for a third new connection in
a second."""
COINBASE_ADVANCED_LIMIT = Limit(rate_per_second=10, burst=15)
"""Per address. No limit is published for the public endpoints; the limit of Coinbase Exchange is used."""
BINANCE_LIMIT = Limit(
    rate_per_second=100,
    burst=6000,
    weights={"/api/v3/klines": 2, "/api/v3/exchangeInfo": 20},
)
"""Per address, in weight: 6000 per minute, refilled evenly here. Source: rest-api.md, IP limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeLimits:
    """Rate limits of all simulated providers; those of the real ones by default."""

    coinbase: Limit = COINBASE_LIMIT
    coinbase_advanced: Limit = COINBASE_ADVANCED_LIMIT
    oanda: Limit = OANDA_LIMIT
    binance: Limit = BINANCE_LIMIT


class ServerTokenBucket:
    """Token bucket, initially full and refilled continuously."""

    def __init__(self, limit: Limit, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst)
        self._filled_at = monotonic()

    def take(self, path: str = "") -> bool:
        """Take the weight of a request; return False and take nothing if there are not enough tokens."""
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


class RequestLimiter:
    """All rate limits of a provider."""

    def __init__(self, limit: Limit, monotonic: Callable[[], float]) -> None:
        self._requests = ServerTokenBucket(limit, monotonic)
        most = limit.connections_per_second
        self._newcomers = ServerTokenBucket(Limit(rate_per_second=most, burst=most), monotonic) if most else None
        self._known: WeakSet[object] = WeakSet()

    def admits(self, path: str, connection: object) -> bool:
        """Return whether a request is admitted; a connection counts as new until one of its requests is admitted."""
        if connection not in self._known and self._newcomers is not None and not self._newcomers.take():
            return False
        self._known.add(connection)
        return self._requests.take(path)
