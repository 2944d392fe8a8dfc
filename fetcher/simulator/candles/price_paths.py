"""Price model of synthetic candles: trend regimes, volatility regimes and an intraday pattern."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fetcher.simulator.candles.universe import plausible_price
from tradeschool.markets.instruments import Instrument, Market

Floats = NDArray[np.float64]
DAY_SECONDS = 86_400
YEAR_SECONDS = 365.25 * DAY_SECONDS
TREND_DAYS = (8.0, 60.0)
"""Minimum and maximum length of a trend."""
MEAN_VOLATILITY_DAYS = 4.0
VOLATILITY_FACTORS = (0.6, 1.0, 2.2)
VOLATILITY_CHANCES = (0.35, 0.5, 0.15)
BUSIEST_HOUR_UTC = 14
"""Hour at which the trading hours of London and New York overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketProfile:
    """Price model parameters of one instrument."""

    price: float
    """Initial and long-term mean price, quote per base."""
    volatility: float
    """Annual standard deviation of the log price."""
    trend: float
    """Annual change of the log price in a bull market; negative in a bear market."""
    daily_swing: float
    """Activity of the busiest hour above the mean, as a fraction."""
    volume: float
    """Mean volume of a five-minute candle, in base units or number of prices."""
    half_spread_ticks: float = 0.0
    """Half of ask - bid in a quiet hour, in ticks; markets with a spread only."""
    traded: float = 1.0
    """Mean share of five-minute slots with a trade; a slot without one has no candle."""


BITCOIN = MarketProfile(price=24_000, volatility=0.6, trend=1.2, daily_swing=0.3, volume=40)
ETHER = MarketProfile(price=1_600, volatility=0.75, trend=1.4, daily_swing=0.3, volume=500)
MARKET_PROFILES = {
    "BTC-USD": BITCOIN,
    "BTC-USDT": BITCOIN,
    "ETH-USD": ETHER,
    "ETH-USDT": ETHER,
    "EUR-USD": MarketProfile(
        price=1.12, volatility=0.075, trend=0.13, daily_swing=0.6, volume=320, half_spread_ticks=7
    ),
    "GBP-USD": MarketProfile(price=1.29, volatility=0.09, trend=0.15, daily_swing=0.6, volume=380, half_spread_ticks=9),
}
THIN = {"coinbase:SOL/USD": 0.33}
"""Share of five-minute slots with a trade of the thin pairs that are always listed."""
KINDS = {
    Market.FX: MarketProfile(price=1, volatility=0.08, trend=0.13, daily_swing=0.6, volume=300),
    Market.METAL: MarketProfile(price=1, volatility=0.16, trend=0.2, daily_swing=0.5, volume=400),
    Market.INDEX: MarketProfile(price=1, volatility=0.18, trend=0.25, daily_swing=0.7, volume=350),
    Market.COMMODITY: MarketProfile(price=1, volatility=0.35, trend=0.5, daily_swing=0.5, volume=200),
    Market.BOND: MarketProfile(price=1, volatility=0.06, trend=0.08, daily_swing=0.5, volume=150),
    Market.CRYPTO: MarketProfile(price=1, volatility=0.8, trend=1.4, daily_swing=0.3, volume=1),
    Market.STOCK: MarketProfile(price=1, volatility=0.3, trend=0.4, daily_swing=0.6, volume=1),
}
"""Parameters by kind of market; the price and what depends on it are those of the instrument."""
HALF_SPREAD = 6e-5
"""Half of ask - bid as a fraction of the price, for markets with a spread."""
TURNOVER = 200_000.0
"""Mean turnover of a five-minute candle in the quote currency, for markets whose volume is in base units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePath:
    """Simulated price path; both arrays have shape (n_slots,)."""

    logs: Floats
    """Log price at the end of each slot."""
    deviations: Floats
    """Standard deviation of the log price change in each slot."""


def market_profile_of(instrument: Instrument) -> MarketProfile:
    """Return the parameters of an instrument; of one without its own, those of its kind at a plausible price."""
    if instrument.name in MARKET_PROFILES:
        return MARKET_PROFILES[instrument.name]
    price, kind = plausible_price(instrument), KINDS[instrument.market]
    return replace(
        kind,
        price=price,
        volume=kind.volume if instrument.has_spread else TURNOVER / price,
        half_spread_ticks=max(1.0, price * HALF_SPREAD / instrument.tick) if instrument.has_spread else 0.0,
        traded=THIN.get(instrument.full_name, 1.0),
    )


def draw_path(
    rng: np.random.Generator, profile: MarketProfile, times: NDArray[np.int64], start_log: float
) -> PricePath:
    """Simulate the log price from `start_log` through five-minute slots that open at `times`."""
    deviations = _deviations(rng, profile, times)
    noise = rng.standard_normal(len(times)) * deviations
    logs = np.empty(len(times))
    log, first = start_log, 0
    while first < len(times):
        stretch_end = times[first] + rng.uniform(*TREND_DAYS) * DAY_SECONDS
        last = int(np.searchsorted(times, stretch_end))
        drift = _drift_a_year(rng, profile, log) / _slots_a_year(times)
        logs[first:last] = log + np.cumsum(noise[first:last] + drift)
        log, first = logs[last - 1], last
    return PricePath(logs=logs, deviations=deviations)


def day_factors(times: NDArray[np.int64], swing: float) -> Floats:
    """Return the activity of each slot's time of day relative to the daily mean of 1.0, shape (n_slots,)."""
    minutes = np.arange(24 * 60)
    a_day = 1.0 + swing * np.cos((minutes / 60 - BUSIEST_HOUR_UTC) * 2 * np.pi / 24)
    return np.asarray(a_day[times % DAY_SECONDS // 60])


def _deviations(rng: np.random.Generator, profile: MarketProfile, times: NDArray[np.int64]) -> Floats:
    slot = profile.volatility / np.sqrt(_slots_a_year(times))
    restless = np.exp(0.35 * rng.standard_normal(len(times)))
    busy = _volatility_factors(rng, times) * day_factors(times, profile.daily_swing)
    return np.asarray(slot * busy * restless)


def _volatility_factors(rng: np.random.Generator, times: NDArray[np.int64]) -> Floats:
    days = (times[-1] - times[0]) / DAY_SECONDS
    changes = np.sort(rng.uniform(times[0], times[-1], int(days / MEAN_VOLATILITY_DAYS)))
    factors = rng.choice(VOLATILITY_FACTORS, len(changes) + 1, p=VOLATILITY_CHANCES)
    return np.asarray(factors[np.searchsorted(changes, times)], dtype=np.float64)


def _drift_a_year(rng: np.random.Generator, profile: MarketProfile, log: float) -> float:
    # Mean reversion: without it the price could drift to an implausible level over the years.
    distance = log - np.log(profile.price)
    return float(rng.choice((1.0, 0.0, -1.0)) * profile.trend - distance)


def _slots_a_year(times: NDArray[np.int64]) -> float:
    return float(len(times) * YEAR_SECONDS / (times[-1] - times[0] + 1))
