"""Simulated exchanges from flat options."""

from typing import Any

from fetcher.simulator.candles.source import CandleSource
from fetcher.simulator.rate_limit import ExchangeLimits, Limit
from fetcher.simulator.server import Exchange, ExchangeClock

PROVIDERS = ("coinbase", "coinbase_advanced", "oanda", "binance")
CLOCKS = ("now", "monotonic", "sleep")
UNLIMITED = Limit(rate_per_second=1e6, burst=1_000_000)


def exchange_of(source: CandleSource, **options: Any) -> Exchange:
    """An exchange without a rate limit where no `<provider>_limit` is given; `now`, `monotonic`, `sleep` set its clock."""
    limits = {name: options.pop(f"{name}_limit", UNLIMITED) for name in PROVIDERS}
    clock = {name: options.pop(name) for name in CLOCKS if name in options}
    return Exchange(source, limits=ExchangeLimits(**limits), clock=ExchangeClock(**clock), **options)
