"""Made markets with a planted edge: four pairs in three timeframes, from one seed and one strength of the edge.

Every kind has the same noise: normal moves, one slowly varying volatility per market, and correlated pairs of a market.
Without an edge a price is a martingale: nobody earns anything by holding or trading it, except that costs are paid.

| kind | edge |
|---|---|
| none | none |
| drift | every pair rises at a constant rate |
| trend | a hidden sign, the same for all pairs and kept for about `TREND_DAYS`, sets the drift |
| reversion | a part of each move returns to a slow mean, half of it within `HALF_LIFE_DAYS` |
| phases | none but the phases |

Markets of the kinds trend, reversion and phases have bull and bear phases: in the days of level 1 the pairs of its
market drift up, in those of level 2 down, with a Sharpe ratio of `PHASE_SHARPE` for who holds or shorts them. The real
windows of both levels were chosen as bull and bear markets; without phases their gates would ask for something else
than they do on real candles.

The strength of a drift is the yearly mean return over the yearly volatility of a pair, that of a trend the daily drift
over the daily volatility, and that of a reversion the returning part as a share of the variance of a bar.

The reversion is an Ornstein-Uhlenbeck process (Uhlenbeck and Ornstein, On the Theory of the Brownian Motion, 1930,
Physical Review 36:823-841) added to a random walk, its mean.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from optimizer.bars.preparation import largest_ticks
from optimizer.curriculum.level_files import load_levels
from optimizer.level.spec import Direction
from optimizer.validation.analyses.surrogate_markets import joined_to
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

PAIRS = ("coinbase/BTC-USD", "coinbase/ETH-USD", "oanda/EUR-USD", "oanda/GBP-USD")
TIMEFRAMES = ("M15", "M30", "H1")
FINEST = TIMEFRAMES[0]
BARS_A_DAY = 96
YEARLY_VOLATILITY = {Market.CRYPTO: 0.65, Market.FX: 0.08}
TRADING_DAYS = {Market.CRYPTO: 365, Market.FX: 260}
START = {Market.CRYPTO: 10_000.0, Market.FX: 1.2}
HALF_SPREAD = 7e-5
"""Of FX, in units of the quote currency: 0.7 pips."""
CORRELATION = 0.6
"""Of the noise of two pairs of a market; pairs of different markets have independent noise."""
VOLATILITY_SPREAD, VOLATILITY_MEMORY = 0.3, 0.95
"""Standard deviation of the logarithm of the volatility, and its correlation from day to day."""
TREND_DAYS, TREND_SHAPE = 15.0, 8.0
"""Mean days of a trend and shape of its gamma distribution: nine of ten trends last 7 to 25 days.

With exponential durations, up and down trends would differ so much over six years that prices left the range of 32-bit
ticks.
"""
HALF_LIFE_DAYS = 1.0
PHASE_SHARPE = 1.5
"""Of holding a pair in its bull phase, and of shorting it in its bear phase: Bitcoin had about 1.6 in 2020 and 2021,
and 1.3 short in 2022.
"""

Floats = NDArray[np.float64]


class Kind(StrEnum):
    """Kind of planted edge."""

    NONE = "none"
    DRIFT = "drift"
    TREND = "trend"
    REVERSION = "reversion"
    PHASES = "phases"

    @property
    def has_phases(self) -> bool:
        """Whether its markets rise and fall in the days of levels 1 and 2."""
        return self not in (Kind.NONE, Kind.DRIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeMarket:
    """Candles of all twelve datasets over one window."""

    candles: dict[Dataset, CandleArrays]

    def read(self, dataset: Dataset, window: Window) -> CandleArrays:
        """Return the candles of a dataset whose open lies in a window."""
        made = self.candles[dataset]
        first, end = np.searchsorted(made.time, (window.start_seconds, window.end_seconds))
        return made[slice(int(first), int(end))]


def make(kind: Kind, strength: float, window: Window, seed: int, *, phases: bool = True) -> MadeMarket:
    """Make a market; markets of one seed and kind differ in the strength of the edge alone.

    `phases`: False leaves out the bull and bear phases of a kind that has them.
    """
    found = {}
    for pair in PAIRS:
        finest = find_dataset(f"{pair}/{FINEST}")
        made = _pair(finest, kind, strength, window, seed, with_phases=phases and kind.has_phases)
        for timeframe in TIMEFRAMES:
            dataset = find_dataset(f"{pair}/{timeframe}")
            found[dataset] = made if dataset == finest else joined_to(dataset, made)
    return MadeMarket(candles=found)


def _pair(
    dataset: Dataset, kind: Kind, strength: float, window: Window, seed: int, *, with_phases: bool
) -> CandleArrays:
    market, slots = dataset.instrument.market, _slots(dataset, window)
    places = (slots - window.start_seconds) // dataset.timeframe.seconds
    random = np.random.default_rng([seed, *dataset.name.encode()])
    volatility = bar_volatility(market) * _volatility_factor(market, window, seed)[places // BARS_A_DAY]
    shared = _shared_noise(market, window, seed)
    own = [
        CORRELATION**0.5 * each[places] + (1 - CORRELATION) ** 0.5 * random.standard_normal(len(slots))
        for each in shared
    ]
    moves = _moves(kind, strength, market, volatility, own, _sign(window, seed)[places])
    if with_phases:
        moves = moves + yearly(market, PHASE_SHARPE) * _phase(market, slots)
    return _candles(dataset, slots, np.log(START[market]) + np.cumsum(moves), volatility, random)


def bar_volatility(market: Market) -> float:
    """Return the standard deviation of a move of the finest timeframe."""
    return YEARLY_VOLATILITY[market] / (TRADING_DAYS[market] * BARS_A_DAY) ** 0.5


def yearly(market: Market, sharpe: float) -> float:
    """Return the drift of a move of the finest timeframe that gives buy-and-hold of a pair a Sharpe ratio."""
    return sharpe * YEARLY_VOLATILITY[market] / (TRADING_DAYS[market] * BARS_A_DAY)


def _phase(market: Market, slots: NDArray[np.int64]) -> Floats:
    """Return 1 in the days that a level trades long alone in a market, -1 in those that it trades short, else 0."""
    signs = np.zeros(len(slots))
    for level in load_levels():
        if level.direction is not Direction.BOTH:
            for dataset in level.datasets:
                if dataset.source.instrument.market is market:
                    inside = (slots >= dataset.window.start_seconds) & (slots < dataset.window.end_seconds)
                    signs[inside] = 1.0 if level.direction is Direction.LONG else -1.0
    return signs


def _moves(
    kind: Kind, strength: float, market: Market, volatility: Floats, noise: list[Floats], sign: Floats
) -> Floats:
    """Return the logarithmic moves; `noise`: two independent standard normal series of the pair."""
    fair = -(volatility**2) / 2  # of a martingale, whose logarithm falls because of convexity
    moves = volatility * noise[0] + fair
    if kind is Kind.DRIFT:
        return moves + yearly(market, strength)
    if kind is Kind.TREND:
        return moves + strength * sign * bar_volatility(market) * BARS_A_DAY**-0.5
    if kind is Kind.REVERSION:
        kept = 0.5 ** (1 / (HALF_LIFE_DAYS * BARS_A_DAY))
        away = lfilter([1.0], [1.0, -kept], strength**0.5 * volatility * noise[1])
        return (1 - strength) ** 0.5 * volatility * noise[0] + fair + np.diff(away, prepend=0.0)
    return moves


@cache
def _slots(dataset: Dataset, window: Window) -> NDArray[np.int64]:
    return expected_slots(dataset, window)


def _bars(window: Window) -> int:
    return (window.end - window.start).days * BARS_A_DAY


def _shared_noise(market: Market, window: Window, seed: int) -> Floats:
    """Return what the noise of all pairs of a market shares, shape (2, n_bars)."""
    return np.random.default_rng([seed, 1, *market.value.encode()]).standard_normal((2, _bars(window)))


def _volatility_factor(market: Market, window: Window, seed: int) -> Floats:
    """Return the volatility of each day over its root mean square."""
    random = np.random.default_rng([seed, 2, *market.value.encode()])
    days = _bars(window) // BARS_A_DAY
    steps = random.standard_normal(days) * VOLATILITY_SPREAD
    steps[1:] *= (1 - VOLATILITY_MEMORY**2) ** 0.5
    return np.exp(lfilter([1.0], [1.0, -VOLATILITY_MEMORY], steps) - VOLATILITY_SPREAD**2)


def _sign(window: Window, seed: int) -> Floats:
    """Return the hidden sign of each bar, shape (n_bars,): trends up and down in turn, with random durations."""
    random = np.random.default_rng([seed, 3])
    bars = _bars(window)
    mean = TREND_DAYS * BARS_A_DAY
    durations = random.gamma(TREND_SHAPE, mean / TREND_SHAPE, 2 * int(bars / mean) + 10)
    ends = np.cumsum(durations) - random.uniform(0, mean)
    turns = np.searchsorted(ends, np.arange(bars), side="right") + random.integers(2)
    return np.where(turns % 2, 1.0, -1.0)


def _candles(
    dataset: Dataset, slots: NDArray[np.int64], logs: Floats, volatility: Floats, random: np.random.Generator
) -> CandleArrays:
    tick = dataset.instrument.tick
    close = _ticks(np.exp(logs), dataset.instrument)
    opened = np.concatenate((_ticks(np.array([START[dataset.instrument.market]]), dataset.instrument), close[:-1]))
    reach = np.rint(np.abs(random.normal(0, 0.5, (2, len(slots)))) * volatility * close)
    return CandleArrays(
        dataset=dataset,
        time=slots,
        open=opened * tick,
        high=(np.maximum(opened, close) + reach[0]) * tick,
        low=np.maximum(np.minimum(opened, close) - reach[1], 1.0) * tick,
        close=close * tick,
        volume=np.ones(len(slots)),
        half_spread=np.full(len(slots), HALF_SPREAD) if dataset.instrument.has_spread else None,
    )


def _ticks(prices: Floats, instrument: Instrument) -> Floats:
    limit = largest_ticks(instrument) // 2  # room for the highest price of a bar
    ticks: Floats = np.clip(np.rint(prices / instrument.tick), 2.0, limit)
    return ticks
