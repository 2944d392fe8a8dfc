"""Simulated exchanges from flat options."""

from typing import Any

from fetcher.simulator.candles.source import CandleSource
from fetcher.simulator.rate_limit import ExchangeLimits, Limit
from fetcher.simulator.server import Exchange, ExchangeClock

PROVIDERS = ("coinbase", "coinbase_advanced", "oanda", "binance")
CLOCKS = ("now", "monotonic", "sleep")
UNLIMITED = Limit(rate_per_second=1e6, burst=1_000_000)


def exchange_of(source: CandleSource, **options: Any) -> Exchange:
    """An exchange without rate limits by default; `coinbase_limit` and so on set one, `now` and so on a clock."""
    limits = {name: options.pop(f"{name}_limit", UNLIMITED) for name in PROVIDERS}
    clock = {name: options.pop(name) for name in CLOCKS if name in options}
    return Exchange(source, limits=ExchangeLimits(**limits), clock=ExchangeClock(**clock), **options)
