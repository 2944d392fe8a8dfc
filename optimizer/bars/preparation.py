"""Preparation: validates candle arrays once and converts prices to whole ticks for all trials.

This module does not import polars, because it runs in processes that fork.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.decimals import TICK_TOLERANCE, with_fitting_decimals
from optimizer.bars.indicators import atr_marks
from tradeschool.errors import DataIncomplete, InvalidCandles
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import PRICES, CandleArrays

DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
BLOCK = 16
"""Bars per block; the extremes of a block are precomputed."""
LOWEST, HIGHEST, LOWEST_CLOSE, HIGHEST_CLOSE = range(4)
"""Columns of `Prepared.blocks`."""
OPEN, HIGH, LOW, CLOSE = range(4)
"""Columns of `Prepared.prices`, in the order of `PRICES`."""
LARGEST_EXACT = 2**53
"""Largest bound up to which every whole number is exact in float64."""
LARGEST_TICKS = {32: 2**31 - 1, 64: 2**39}
"""Largest price in ticks by integer width; the engine's absent stops are 2^40 ticks away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Candles of one dataset in whole ticks, read-only; arrays of shape (n_bars,) unless stated.

    Bars before `first_evaluated` only warm up indicators; bars from it on are traded and judged.
    """

    dataset: Dataset
    window: Window
    """Days of the judged bars; bars of the lead-in lie before it (see `lead_in`)."""
    slots: NDArray[np.int32]
    """Slot numbers of the dataset's grid, ascending: for most timeframes, opens in timeframes since 1970-01-01 UTC."""
    prices: NDArray[np.signedinteger]
    """Open, high, low and close of each bar, shape (n_bars, 4); one row per bar for locality of access.

    32-bit integers, or 64-bit ones for fine ticks (`Instrument.integer_bits`) and large prices.
    """
    spreads: NDArray[np.float32]
    """Half-spreads in ticks; a single zero if the dataset stores none."""
    close_sums: NDArray[np.float64]
    """Exact sum of the first n closes at index n, shape (n_bars + 1,)."""
    first_evaluated: int
    first_day: int
    """Day of the first judged bar, in days since 1970-01-01 UTC."""
    day_starts: NDArray[np.int32]
    """Judged bars of judged day d are day_starts[d]..day_starts[d + 1] - 1; shape (n_days + 1,). Days run
    from `first_day` to the window's last day, those without a bar included."""
    hour_ends: NDArray[np.int32]
    """Last bar of each UTC hour that has a bar; shape (n_hours,)."""
    blocks: NDArray[np.signedinteger]
    """Lowest low, highest high, lowest and highest close of bars 16 n .. 16 n + 15 in row n; shape
    (n_bars // 16, 4).
    """
    first_atr_period: int
    """ATR period of the first row of `atr_marks`."""
    atr_marks: NDArray[np.float64]
    """Precomputed ATR values, one row per period; see `indicators.atr_marks`."""

    @property
    def time(self) -> NDArray[np.int64]:
        """Open times as Unix seconds; a new array at each call."""
        return grid_of(self.dataset).open(self.slots.astype(np.int64))

    def closes(self, bars: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the close times of bars as Unix seconds."""
        return grid_of(self.dataset).open(self.slots[bars].astype(np.int64) + 1)

    @property
    def open(self) -> NDArray[np.signedinteger]:
        """First price of each bar."""
        return self.prices[:, OPEN]

    @property
    def high(self) -> NDArray[np.signedinteger]:
        """Highest price of each bar."""
        return self.prices[:, HIGH]

    @property
    def low(self) -> NDArray[np.signedinteger]:
        """Lowest price of each bar."""
        return self.prices[:, LOW]

    @property
    def close(self) -> NDArray[np.signedinteger]:
        """Last price of each bar."""
        return self.prices[:, CLOSE]

    @property
    def half_spread(self) -> NDArray[np.float32]:
        """Half-spread of each bar in ticks; zero if the dataset stores none."""
        return np.broadcast_to(self.spreads, len(self))

    def __post_init__(self) -> None:
        # Thousands of trials share these arrays, so a strategy must not be able to change them. A writable array is
        # also another type to the compiler and would trigger another compilation.
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
                # Seen through a buffer that is read-only itself: nobody can make it writable again by the flag.
                object.__setattr__(self, field.name, np.asarray(value.data.toreadonly()))

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def day_count(self) -> int:
        """Number of judged calendar days."""
        return len(self.day_starts) - 1

    @property
    def evaluated_bars(self) -> int:
        """Number of bars that can hold a position or a signal."""
        return len(self) - self.first_evaluated


def prepare(
    candles: CandleArrays,
    window: Window,
    warm_up: int,
    atr_periods: tuple[int, int] | None = None,
    *,
    lead_in: int = 0,
) -> Prepared:
    """Prepare the candles of `window` for any number of backtests; the first `warm_up` bars are not judged.

    `atr_periods`: lowest and highest period whose ATR is precomputed, all in one pass.
    `lead_in`: number of first bars that lie before the window, at most `warm_up`.

    Raises:
        DataIncomplete: no bar remains after the warm-up.
        InvalidCandles: names dataset, bar and rule. Times must ascend and lie in the window, those of the lead-in
            before it. Prices must be positive whole ticks within the instrument's integers, low and high must be the
            extremes, sums of closes must be exact in float64, and markets with a spread need half-spreads.
    """
    candles = with_fitting_decimals(candles)
    _check_length(candles, warm_up)
    _check_times(candles, window, min(lead_in, warm_up))
    prices = _prices_in_ticks(candles)
    first_day = int(candles.time[warm_up]) // DAY_SECONDS
    first_period, last_period = atr_periods or (0, -1)
    return Prepared(
        dataset=candles.dataset,
        window=window,
        slots=grid_of(candles.dataset).number(candles.time).astype(np.int32),
        prices=prices,
        spreads=_half_spread_ticks(candles),
        close_sums=_exact_sums(candles.dataset, prices[:, CLOSE], warm_up),
        first_evaluated=warm_up,
        first_day=first_day,
        day_starts=day_starts_of(candles.time, window, warm_up, first_day),
        hour_ends=_hour_ends(candles.time),
        blocks=extremes_of_blocks(prices),
        first_atr_period=first_period,
        atr_marks=atr_marks(prices, range(first_period, last_period + 1)),
    )


def _prices_in_ticks(candles: CandleArrays) -> NDArray[np.signedinteger]:
    whole = np.column_stack([_whole_ticks(candles, name) for name in PRICES])
    prices = _narrowest(whole, candles.dataset.instrument)
    prices.flags.writeable = False  # one array type for marks and trials
    _check_extremes(candles, prices)
    return prices


def _check_length(candles: CandleArrays, warm_up: int) -> None:
    if len(candles) <= warm_up:
        raise DataIncomplete(
            f"{candles.dataset}: {len(candles)} bars, but the warm-up takes {warm_up}: "
            "choose a longer window or narrower ranges"
        )


def _check_times(candles: CandleArrays, window: Window, lead_in: int) -> None:
    time = candles.time
    _check(candles, np.diff(time, prepend=time[0] - 1) <= 0, "times must ascend")
    is_before = time < window.start_seconds
    is_before[:lead_in] ^= True
    _check(candles, is_before | (time >= window.end_seconds), f"times must lie in {window}")
    _check(
        candles, ~grid_of(candles.dataset).lies_on(time), f"times must lie on the {candles.dataset.timeframe.name} grid"
    )


def _whole_ticks(candles: CandleArrays, name: str) -> NDArray[np.int64]:
    values: NDArray[np.float64] = getattr(candles, name)
    scale = _ticks_per_unit(candles.dataset)
    _check(candles, ~np.isfinite(values), f"{name} must be a finite number")
    exact = values * scale
    ticks = np.rint(exact)
    _check(candles, np.abs(exact - ticks) > TICK_TOLERANCE, f"{name} must be whole ticks of {1 / scale:g}", values)
    _check(candles, ticks < 1, f"{name} must be at least one tick", values)
    largest = largest_ticks(candles.dataset.instrument)
    fits = "32 bits" if largest == LARGEST_TICKS[32] else f"the engine's largest price of {largest:,} ticks"
    _check(candles, ticks > largest, f"{name} in ticks must fit {fits}", values)
    return ticks.astype(np.int64)


def largest_ticks(instrument: Instrument) -> int:
    """Return the largest price in ticks that is accepted for an instrument."""
    is_narrow = instrument.integer_bits == 32 and not instrument.has_finer_history
    return LARGEST_TICKS[32 if is_narrow else 64]


def _narrowest(prices: NDArray[np.int64], instrument: Instrument) -> NDArray[np.signedinteger]:
    """Return prices in 32 bits if the instrument and all prices allow it, so that a trial reads fewer bytes."""
    fits = instrument.integer_bits == 32 and prices.max() <= LARGEST_TICKS[32]
    return prices.astype(np.int32) if fits else prices


def _check_extremes(candles: CandleArrays, prices: NDArray[np.signedinteger]) -> None:
    opened, high, low, close = prices.T
    lowest, highest = np.minimum(np.minimum(opened, close), high), np.maximum(opened, close)
    _check(candles, low > lowest, "low must be the lowest price", candles.low)
    _check(candles, high < highest, "high must be the highest price", candles.high)


def _half_spread_ticks(candles: CandleArrays) -> NDArray[np.float32]:
    if candles.half_spread is None:
        _check_needs_no_spread(candles.dataset)
        return np.zeros(1, dtype=np.float32)
    usable = np.isfinite(candles.half_spread) & (candles.half_spread >= 0)
    _check(candles, ~usable, "half_spread must be a finite number, not negative", candles.half_spread)
    return (candles.half_spread * _ticks_per_unit(candles.dataset)).astype(np.float32)


def _check_needs_no_spread(dataset: Dataset) -> None:
    if dataset.instrument.has_spread:
        raise InvalidCandles(f"{dataset}: half_spread is missing: these candles need it as trading cost")


def _ticks_per_unit(dataset: Dataset) -> float:
    return float(10**dataset.instrument.decimals)


def _exact_sums(dataset: Dataset, closes: NDArray[np.signedinteger], warm_up: int) -> NDArray[np.float64]:
    """Return prefix sums, exact in float64."""
    sums = np.concatenate(([0], np.cumsum(closes, dtype=np.int64)))
    check_sums(dataset, int(sums[-1]), int(closes.max()), warm_up)
    return sums.astype(np.float64)


def check_sums(dataset: Dataset, total: int, highest: int, warm_up: int) -> None:
    """Check that sums of closes are exact in float64, and the longest window's sum times its length.

    Raises:
        InvalidCandles: they are not.
    """
    largest = max(total, highest * warm_up**2)
    if largest >= LARGEST_EXACT:
        raise InvalidCandles(f"{dataset}: sums of closes reach {largest} ticks: expected less than 2^53 for exact sums")


def day_starts_of(time: NDArray[np.int64], window: Window, warm_up: int, first_day: int) -> NDArray[np.int32]:
    """Return `Prepared.day_starts`."""
    last_day = (window.end_seconds - 1) // DAY_SECONDS
    midnights = np.arange(first_day, last_day + 2, dtype=np.int64) * DAY_SECONDS
    return np.maximum(np.searchsorted(time, midnights), warm_up).astype(np.int32)


def _hour_ends(time: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.flatnonzero(np.diff(time // HOUR_SECONDS, append=-1)).astype(np.int32)


def extremes_of_blocks(prices: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """Return `Prepared.blocks` computed from `Prepared.prices`."""
    count = len(prices) // BLOCK
    whole = prices[: count * BLOCK].reshape(count, BLOCK, len(PRICES))
    extremes, highest = np.empty((count, 4), dtype=prices.dtype), np.iinfo(prices.dtype).max
    extremes[:, LOWEST] = whole[:, :, LOW].min(axis=1, initial=highest)
    extremes[:, HIGHEST] = whole[:, :, HIGH].max(axis=1, initial=0)
    extremes[:, LOWEST_CLOSE] = whole[:, :, CLOSE].min(axis=1, initial=highest)
    extremes[:, HIGHEST_CLOSE] = whole[:, :, CLOSE].max(axis=1, initial=0)
    return extremes


def _check(
    candles: CandleArrays, broken: NDArray[np.bool_], rule: str, values: NDArray[np.float64] | None = None
) -> None:
    if not broken.any():
        return
    bar = int(np.argmax(broken))
    opened = datetime.fromtimestamp(int(candles.time[bar]), UTC)
    was = "" if values is None else f", was {float(values[bar])!r}"
    raise InvalidCandles(f"{candles.dataset}: bar {bar} ({opened:%Y-%m-%d %H:%M} UTC): {rule}{was}")
