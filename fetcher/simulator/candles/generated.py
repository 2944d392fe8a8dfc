"""Synthetic candles from a seed: reproducible in every process and for any order of requests.

M5 is generated one calendar year at a time; longer timeframes are aggregated from it, and M1 is drawn inside it, so all
timeframes agree. Each year has a few missing candles and one outage of some hours; a thin market has no candle in most
slots. Slots follow the instrument's trading calendar.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fetcher.simulator.candles.minutes import split_into_minutes
from fetcher.simulator.candles.price_paths import (
    Floats,
    MarketProfile,
    PricePath,
    day_factors,
    draw_path,
    market_profile_of,
)
from fetcher.simulator.candles.source import (
    Prices,
    SimulatedCandles,
    Times,
    aggregated,
    aggregated_within,
    joined,
    no_candles,
)
from tradeschool.markets.calendars import NEW_YORK, ROLLOVER, expected_slots
from tradeschool.markets.catalogue import INSTRUMENTS
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

FIRST_YEAR = 2020
MINUTE_YEARS = 4
"""Years of M1 candles kept in memory, about 60 MB each."""
MISSING_SLOTS_A_YEAR = 12
OUTAGE_SLOTS = (24, 72)
"""Minimum and maximum length of the outage, in five-minute slots."""
UNTRADED_SHARE = 0.0025
"""Share of a candle's price variance between the previous close and its open, without a missing slot."""
ROLLOVER_SECONDS = 1800
ROLLOVER_SPREAD_FACTOR = 4.0
"""Factor by which the spread widens after the daily rollover."""

Ticks = NDArray[np.float64]
"""Whole numbers stored as floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Year:
    candles: SimulatedCandles
    last_log: float


class GeneratedCandles:
    """Synthetic candles of every instrument from 2020 on, generated on first use."""

    def __init__(
        self,
        *,
        seed: int = 0,
        instruments: tuple[Instrument, ...] = INSTRUMENTS,
        traded: Mapping[Instrument, float] | None = None,
    ) -> None:
        """Create a source; `traded` is the share of five-minute slots with a trade, by instrument."""
        self._traded = dict(traded or {})
        self._instruments = instruments
        self._seed = seed
        self._drawn: dict[Instrument, list[_Year]] = {instrument: [] for instrument in instruments}
        self._aggregated: dict[tuple[Dataset, int], SimulatedCandles] = {}
        self._minutes: OrderedDict[tuple[Instrument, int], SimulatedCandles] = OrderedDict()

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments with synthetic candles."""
        return self._instruments

    def candles(self, dataset: Dataset, start: int, end: int) -> SimulatedCandles:
        """Return the candles that open in [start, end), Unix seconds."""
        if dataset.timeframe.is_day_aligned:  # a candle may span two years
            return aggregated_within(self, dataset.at(Timeframe.H1), grid_of(dataset), start, end)
        years = range(max(FIRST_YEAR, _year_of(start)), _year_of(end - 1) + 1)
        parts = [self._year(dataset, year).within(start, end) for year in years]
        return joined(parts or [no_candles(dataset.instrument)])

    def _year(self, dataset: Dataset, year: int) -> SimulatedCandles:
        if dataset.timeframe is Timeframe.M5:
            return self._drawn_year(dataset.instrument, year).candles
        if dataset.timeframe is Timeframe.M1:
            return self._minutes_of(dataset.instrument, year)
        # The begin of a year is a full hour, so no candle up to an hour spans two years.
        if (dataset, year) not in self._aggregated:
            finest = self._year(dataset.at(Timeframe.M5), year)
            self._aggregated[dataset, year] = aggregated(finest, grid_of(dataset))
        return self._aggregated[dataset, year]

    def _minutes_of(self, instrument: Instrument, year: int) -> SimulatedCandles:
        if (instrument, year) not in self._minutes:
            rng = np.random.default_rng([self._seed, crc32(instrument.name.encode()), year, Timeframe.M1.seconds])
            whole = self._drawn_year(instrument, year).candles
            self._minutes[instrument, year] = split_into_minutes(rng, whole, instrument.decimals)
            while len(self._minutes) > MINUTE_YEARS:
                self._minutes.popitem(last=False)
        return self._minutes[instrument, year]

    def _drawn_year(self, instrument: Instrument, year: int) -> _Year:
        # Always in order, because a year continues from the last price of the previous year.
        drawn = self._drawn[instrument]
        while len(drawn) <= year - FIRST_YEAR:
            start_log = drawn[-1].last_log if drawn else float(np.log(market_profile_of(instrument).price))
            share = self._traded.get(instrument, market_profile_of(instrument).traded)
            drawn.append(_draw_year(self._seed, instrument, FIRST_YEAR + len(drawn), start_log, share))
        return drawn[year - FIRST_YEAR]


def _year_of(seconds: int) -> int:
    return datetime.fromtimestamp(seconds, UTC).year


def _draw_year(seed: int, instrument: Instrument, year: int, start_log: float, traded: float) -> _Year:
    rng = np.random.default_rng([seed, crc32(instrument.name.encode()), year])
    window = Window(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
    slots = expected_slots(Dataset(instrument=instrument, timeframe=Timeframe.M5), window)
    times = np.delete(slots, _missing(rng, len(slots)))
    if traded < 1:
        times = times[_have_trades(seed, instrument, times, traded)]
    path = draw_path(rng, market_profile_of(instrument), times, start_log)
    return _Year(candles=_candles(rng, instrument, times, path, start_log), last_log=float(path.logs[-1]))


def _have_trades(seed: int, instrument: Instrument, times: Times, traded: float) -> NDArray[np.bool_]:
    """Return which slots of a thin market have a trade: more in busy hours, shape (n_slots,)."""
    rng = np.random.default_rng([seed, crc32(instrument.full_name.encode()), int(times[0])])
    swing = market_profile_of(instrument).daily_swing
    return np.asarray(rng.random(len(times)) < traded * day_factors(times, swing))


def _candles(
    rng: np.random.Generator, instrument: Instrument, times: Times, path: PricePath, start_log: float
) -> SimulatedCandles:
    profile = market_profile_of(instrument)
    ticks = _ticks(rng, 10.0**instrument.decimals, times, path, start_log)
    volumes = _volumes(rng, profile, times, path)
    if not instrument.has_spread:
        return SimulatedCandles(
            times=times, prices=_prices(ticks, instrument), volumes=np.maximum(volumes.round(8), 1e-8)
        )
    half_spread = _half_spread_ticks(rng, profile, times)[:, np.newaxis]
    return SimulatedCandles(
        times=times,
        prices=_prices(ticks, instrument),
        volumes=np.maximum(np.rint(volumes), 1.0),
        bid=_prices(ticks - half_spread, instrument),
        ask=_prices(ticks + half_spread, instrument),
    )


def _ticks(rng: np.random.Generator, per_unit: float, times: Times, path: PricePath, start_log: float) -> Ticks:
    """Return open, high, low and close in whole ticks, shape (n_slots, 4).

    All four are points of one random walk, so that no order inside a candle has an expected profit before costs. High
    and low are drawn from the distributions of the maximum and minimum of a Brownian bridge from open to close.
    """
    extremes = rng.standard_exponential((2, len(times)))
    opens, deviations = _opens(rng, times, path, start_log)
    middle, range_ = (opens + path.logs) / 2, path.logs - opens
    above, below = np.sqrt(range_**2 + 2 * deviations**2 * extremes) / 2
    # Rounding preserves the order of high and low; prices are at least one tick.
    prices = np.exp(np.stack([opens, middle + above, middle - below, path.logs], axis=1)) * per_unit
    return np.asarray(np.maximum(np.rint(prices), 1.0))


def _opens(rng: np.random.Generator, times: Times, path: PricePath, start_log: float) -> tuple[Floats, Floats]:
    """Return open log prices, and the standard deviations of the price changes from open to close.

    The change from the previous close is divided between the time without a candle and the candle.
    """
    previous = np.concatenate([[start_log], path.logs[:-1]])
    missing = np.diff(times, prepend=times[0] - Timeframe.M5.seconds) // Timeframe.M5.seconds - 1
    before = np.where(missing > 0, missing / (missing + 1), UNTRADED_SHARE)
    bridge = rng.standard_normal(len(times)) * path.deviations * np.sqrt(before * (1 - before))
    return previous + before * (path.logs - previous) + bridge, path.deviations * np.sqrt(1 - before)


def _prices(ticks: Ticks, instrument: Instrument) -> Prices:
    # Division by a power of ten gives the float nearest to the decimal price; multiplication by the tick may not.
    return ticks / 10.0**instrument.decimals


def _volumes(rng: np.random.Generator, profile: MarketProfile, times: Times, path: PricePath) -> NDArray[np.float64]:
    typical = profile.volatility / np.sqrt(len(times))
    lively = np.sqrt(path.deviations / typical) * np.exp(0.5 * rng.standard_normal(len(times)))
    return np.asarray(profile.volume * day_factors(times, profile.daily_swing) * lively)


def _half_spread_ticks(rng: np.random.Generator, profile: MarketProfile, times: Times) -> Ticks:
    varied = profile.half_spread_ticks * np.exp(0.15 * rng.standard_normal(len(times)))
    widened = np.where(_after_rollover(times), ROLLOVER_SPREAD_FACTOR, 1.0)
    return np.maximum(np.rint(varied * widened), 1.0)


def _after_rollover(times: Times) -> NDArray[np.bool_]:
    """Return a mask of the slots in the half hour after 17:00 New York time, shape (n_slots,)."""
    first = datetime.fromtimestamp(int(times[0]), NEW_YORK).date() - timedelta(days=1)
    n_days = int(times[-1] - times[0]) // 86_400 + 3
    rollovers = np.array([_rollover_seconds(first + timedelta(days=day)) for day in range(n_days)])
    latest = rollovers[np.searchsorted(rollovers, times, side="right") - 1]
    return np.asarray(times - latest < ROLLOVER_SECONDS)


def _rollover_seconds(day: date) -> int:
    return int(datetime.combine(day, ROLLOVER, NEW_YORK).timestamp())


def _missing(rng: np.random.Generator, n_slots: int) -> NDArray[np.intp]:
    """Return the positions of slots without a candle; positions may repeat."""
    outage = rng.integers(n_slots - OUTAGE_SLOTS[1]) + np.arange(rng.integers(*OUTAGE_SLOTS, endpoint=True))
    return np.concatenate([outage, rng.integers(n_slots, size=MISSING_SLOTS_A_YEAR)])
