"""The known instruments, the default datasets and the holdout period.

A candle's time is always its *open*, in UTC. A range of time is always [start, end).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tradeschool.errors import SettingsError
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, Timeframe, find_timeframe
from tradeschool.markets.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRange:
    """A range of a dataset to download and seal as one unit."""

    dataset: Dataset
    window: Window


BTC_USD = Instrument(provider="coinbase", base="BTC", quote="USD", market=Market.CRYPTO, decimals=2)
ETH_USD = Instrument(provider="coinbase", base="ETH", quote="USD", market=Market.CRYPTO, decimals=2)
EUR_USD = Instrument(provider="oanda", base="EUR", quote="USD", market=Market.FX, decimals=5)
GBP_USD = Instrument(provider="oanda", base="GBP", quote="USD", market=Market.FX, decimals=5)
BTC_USDT = Instrument(provider="binance", base="BTC", quote="USDT", market=Market.CRYPTO, decimals=2)
ETH_USDT = Instrument(provider="binance", base="ETH", quote="USDT", market=Market.CRYPTO, decimals=2)
CURRICULUM_INSTRUMENTS = (BTC_USD, EUR_USD, ETH_USD, GBP_USD)
"""Instruments of the default curriculum in download order: those of the first level come first."""
INSTRUMENTS = (*CURRICULUM_INSTRUMENTS, BTC_USDT, ETH_USDT)
"""All known instruments; those outside the curriculum are downloaded only when named explicitly."""
CURRICULUM_WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
EUR_USD_BULL_WINDOW = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
HOLDOUT_WINDOW = Window(datetime(2024, 4, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))


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
    timeframes = tuple(timeframes)
    return tuple(
        DatasetRange(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=HOLDOUT_WINDOW)
        for instrument in instruments
        for timeframe in timeframes
    )


def find_instrument(text: str) -> Instrument:
    """Return the instrument named `BTC/USD`, `BTC-USD`, `BTC_USD` or `BTCUSD`; the case is ignored.

    Raises:
        SettingsError: if no such instrument exists.
    """
    wanted = _letters(text)
    for instrument in INSTRUMENTS:
        if wanted == _letters(instrument.name):
            return instrument
    known = ", ".join(instrument.pair for instrument in INSTRUMENTS)
    raise SettingsError(f"unknown pair {text!r}: expected one of {known}")


def find_dataset(name: str) -> Dataset:
    """Return the dataset of a name such as `coinbase/BTC-USD/M5`.

    Raises:
        SettingsError: if the name is malformed or has an unknown part.
    """
    parts = name.split("/")
    if len(parts) != 3:
        raise SettingsError(f"dataset {name!r}: expected provider/PAIR/timeframe, such as coinbase/BTC-USD/M5")
    instrument = find_instrument(parts[1])
    if parts[0] != instrument.provider:
        raise SettingsError(f"dataset {name!r}: {instrument.pair} comes from {instrument.provider!r}, not {parts[0]!r}")
    return Dataset(instrument=instrument, timeframe=find_timeframe(parts[2]))


def _letters(text: str) -> str:
    return "".join(letter for letter in text.upper() if letter.isalnum())
