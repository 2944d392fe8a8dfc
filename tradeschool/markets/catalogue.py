"""The default datasets, the holdout period and datasets by name.

A candle's time is always its *open*, in UTC. A range of time is always [start, end).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time

from tradeschool.errors import SettingsError
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.names import find_instrument
from tradeschool.markets.shipped import (
    BTC_USD,
    BTC_USDT,
    CURRICULUM_INSTRUMENTS,
    ETH_USD,
    ETH_USDT,
    EUR_USD,
    GBP_USD,
    INSTRUMENTS,
)
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe, find_timeframe
from tradeschool.markets.timerange import settled_day
from tradeschool.markets.windows import Window

__all__ = [
    "BTC_USD",
    "BTC_USDT",
    "CURRICULUM_INSTRUMENTS",
    "CURRICULUM_WINDOW",
    "ETH_USD",
    "ETH_USDT",
    "EUR_USD",
    "EUR_USD_BULL_WINDOW",
    "GBP_USD",
    "HOLDOUT_WINDOW",
    "INSTRUMENTS",
    "DatasetRange",
    "default_catalogue",
    "find_dataset",
    "find_instrument",
    "holdout_catalogue",
    "holdout_window",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRange:
    """A range of a dataset to download and seal as one unit."""

    dataset: Dataset
    window: Window


CURRICULUM_WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
EUR_USD_BULL_WINDOW = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
HOLDOUT_WINDOW = Window(datetime(2024, 4, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
"""The days that the candle store never returns to a search; the holdout period of a curriculum goes on from there."""


def holdout_window() -> Window:
    """Return the default holdout period: from 2024-04-01 to the last settled day."""
    return Window(HOLDOUT_WINDOW.start, datetime.combine(settled_day(), time(), UTC))


def default_catalogue(
    instruments: Iterable[Instrument] = CURRICULUM_INSTRUMENTS, timeframes: Iterable[Timeframe] = DEFAULT_TIMEFRAMES
) -> tuple[DatasetRange, ...]:
    """Return the dataset ranges of the curriculum for these instruments: 12 datasets by default.

    EUR/USD additionally has the first quarter of 2024.
    """
    timeframes = tuple(timeframes)
    windows = {EUR_USD: (EUR_USD_BULL_WINDOW, CURRICULUM_WINDOW)}
    return tuple(
        DatasetRange(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)
        for instrument in instruments
        for window in windows.get(instrument, (CURRICULUM_WINDOW,))
        for timeframe in timeframes
    )


def holdout_catalogue(
    instruments: Iterable[Instrument] = CURRICULUM_INSTRUMENTS, timeframes: Iterable[Timeframe] = DEFAULT_TIMEFRAMES
) -> tuple[DatasetRange, ...]:
    """Return the same datasets over the holdout period, which is stored below a separate root."""
    timeframes, window = tuple(timeframes), holdout_window()
    return tuple(
        DatasetRange(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)
        for instrument in instruments
        for timeframe in timeframes
    )


def find_dataset(name: str) -> Dataset:
    """Return the dataset of a name such as `coinbase/BTC-USD/M5` or `coinbase:BTC/USD/M5`.

    Raises:
        SettingsError: if the name is malformed or has an unknown part.
    """
    if ":" in name:
        pair, _, timeframe = name.rpartition("/")
        return Dataset(instrument=find_instrument(pair), timeframe=find_timeframe(timeframe))
    parts = name.split("/")
    if len(parts) != 3:
        raise SettingsError(f"dataset {name!r}: expected provider/PAIR/timeframe, such as coinbase/BTC-USD/M5")
    return Dataset(instrument=find_instrument(parts[1], parts[0].lower()), timeframe=find_timeframe(parts[2]))
