"""Replay of recorded candles from files, unchanged: gaps, zero volumes and anomalies included.

Outside the range of a file there are no candles, as at a provider before a product is listed.
"""

from pathlib import Path

import numpy as np
import polars as pl

from fetcher.simulator.candles.replay_mapping import DEFAULT_MAPPING, ReplayFile, read_mapping
from fetcher.simulator.candles.source import Prices, SimulatedCandles, aggregated, no_candles
from tradeschool.errors import DataError, SettingsError
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.ohlcv.arrays import PRICES
from tradeschool.ohlcv.frame import TIME

TRADED = (*PRICES, "volume")
BID = ("bid_o", "bid_h", "bid_l", "bid_c")
ASK = ("ask_o", "ask_h", "ask_l", "ask_c")


class ReplayedCandles:
    """Candles from the files of a mapping; all files are read and checked on creation."""

    def __init__(self, folder: Path, mapping: Path = DEFAULT_MAPPING) -> None:
        """Read the files.

        Raises:
            SettingsError: if the mapping is malformed or the folder does not exist.
            DataError: if a file is missing, unreadable, or has unexpected columns.
        """
        files = read_mapping(mapping)
        if not folder.is_dir():
            raise SettingsError(f"replay folder {folder} is not a folder; give the one that contains {files[0].file}")
        self._candles = {dataset: candles for file in files for dataset, candles in _served(folder, file).items()}

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Instruments of the mapping, in order."""
        return tuple(dict.fromkeys(dataset.instrument for dataset in self._candles))

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Datasets of the mapping, in order."""
        return tuple(self._candles)

    def candles(self, dataset: Dataset, start: int, end: int) -> SimulatedCandles:
        """Return the candles that open in [start, end), Unix seconds."""
        candles = self._candles.get(dataset)
        return no_candles(dataset.instrument) if candles is None else candles.within(start, end)


def _served(folder: Path, file: ReplayFile) -> dict[Dataset, SimulatedCandles]:
    candles = _read_candles(folder, file)
    longer = {
        file.dataset.at(timeframe): aggregated(candles, grid_of(file.dataset.at(timeframe)))
        for timeframe in file.aggregate
    }
    return {file.dataset: candles} | longer


def _read_candles(folder: Path, file: ReplayFile) -> SimulatedCandles:
    frame = _read(folder / file.file, TRADED)
    bid = ask = None
    prices = _columns(frame, PRICES)
    if file.bid_ask_file is not None:
        bid, ask = _read_quotes(folder, file, frame)
    if file.spread_ticks is not None:
        prices, bid, ask = _spread(prices, file.spread_ticks, file.dataset.instrument.decimals)
    times = frame["ts"].dt.epoch("s").to_numpy()
    return SimulatedCandles(times=times, prices=prices, volumes=frame["volume"].to_numpy(), bid=bid, ask=ask)


def _read_quotes(folder: Path, file: ReplayFile, frame: pl.DataFrame) -> tuple[Prices, Prices]:
    path = folder / (file.bid_ask_file or "")
    quotes = _read(path, (*BID, *ASK))
    if not quotes["ts"].equals(frame["ts"]):
        raise DataError(f"{path}: its {quotes.height} times differ from the {frame.height} times of {file.file}")
    return _columns(quotes, BID), _columns(quotes, ASK)


def _spread(bid: Prices, spread_ticks: int, decimals: int) -> tuple[Prices, Prices, Prices]:
    """Return mid, bid and ask prices of a bid price; a mid price between two ticks is rounded to the even one."""
    # Computed in whole ticks, where half of an odd spread is exact and rint rounds half to even.
    per_unit = 10.0**decimals
    ticks = np.rint(bid * per_unit)
    return np.rint(ticks + spread_ticks / 2) / per_unit, ticks / per_unit, (ticks + spread_ticks) / per_unit


def _columns(frame: pl.DataFrame, names: tuple[str, ...]) -> Prices:
    return np.column_stack([frame[name].to_numpy() for name in names])


def _read(path: Path, numbers: tuple[str, ...]) -> pl.DataFrame:
    """Read `ts` and the columns `numbers` of a file after checking types, nulls and strictly increasing times."""
    if not path.is_file():
        raise DataError(f"{path}: file does not exist, but the replay mapping lists it")
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}") from error
    _check_columns(path, frame, {"ts": TIME} | {name: pl.Float64() for name in numbers})
    frame = frame.select("ts", *numbers)
    _check_rows(path, frame)
    return frame


def _check_columns(path: Path, frame: pl.DataFrame, expected: dict[str, pl.DataType]) -> None:
    for name, type_ in expected.items():
        if name not in frame.columns:
            raise DataError(f"{path}: column {name!r} is missing; found {', '.join(frame.columns)}")
        if frame.schema[name] != type_:
            raise DataError(f"{path}: column {name!r}: expected {type_}, was {frame.schema[name]}")


def _check_rows(path: Path, frame: pl.DataFrame) -> None:
    for name in frame.columns:
        if frame[name].null_count():
            raise DataError(f"{path}: column {name!r}: {frame[name].null_count()} rows are null; remove them")
    if not (frame["ts"].diff().drop_nulls().dt.total_microseconds() > 0).all():
        raise DataError(f"{path}: ts must be strictly increasing; sort the file, one row per candle")
    for name in frame.columns[1:]:
        if not frame[name].is_finite().all():
            raise DataError(f"{path}: column {name!r}: every number must be finite")
