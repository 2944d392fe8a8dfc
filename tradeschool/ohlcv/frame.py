"""Candle contract: the columns, types and rules that every page, file and backtest relies on.

Columns in this order, sorted by `ts`, one row per candle; missing candles have no row:

| column | type | meaning |
|---|---|---|
| ts | Datetime(us, UTC) | the candle's open |
| open, high, low, close | Float64 | quote per base, finite, positive, low <= open, close <= high |
| volume | Float64 | base units (Coinbase) or number of prices (OANDA), finite, not negative |
| half_spread | Float64 | FX only: half of ask - bid at the open, quote per base, finite, not negative |
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradeschool.errors import InvalidCandles
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import MICROSECONDS, CandleArrays, check, number_names

TIME = pl.Datetime("us", "UTC")


def schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """Return the column names and types of a dataset's candles, in order."""
    return {"ts": TIME, **{name: pl.Float64() for name in number_names(dataset)}}


class Candles:
    """Candles of one dataset that meet the contract above.

    They are kept as NumPy columns until `frame` is read, because building a frame costs more than decoding a page.
    """

    __slots__ = ("_arrays", "_frame", "dataset")

    def __init__(self, dataset: Dataset, frame: pl.DataFrame) -> None:
        """Wrap a frame that is known to meet the contract; nothing is checked."""
        self.dataset = dataset
        self._frame: pl.DataFrame | None = frame
        self._arrays: CandleArrays | None = None

    @classmethod
    def parse(cls, frame: pl.DataFrame, dataset: Dataset, window: Window) -> "Candles":
        """Return the candles of `frame` after checking them; nothing is repaired or dropped.

        Raises:
            InvalidCandles: if a rule is broken; names the dataset, the rule, the number of rows and the first one.
        """
        _check_columns(frame, dataset)
        if frame.columns != list(schema(dataset)):
            frame = frame.select(schema(dataset).keys())
        opened = frame["ts"].to_numpy()
        numbers = {name: frame[name].to_numpy() for name in number_names(dataset)}  # null becomes NaN
        check(opened, numbers, dataset, window)
        return cls(dataset, frame)

    @classmethod
    def of_arrays(cls, arrays: CandleArrays, window: Window) -> "Candles":
        """Return the candles of NumPy columns after checking them.

        Raises:
            InvalidCandles: as `parse`.
        """
        opened = (arrays.time * MICROSECONDS).view("datetime64[us]")
        check(opened, arrays.numbers, arrays.dataset, window)
        candles = cls.__new__(cls)
        candles.dataset, candles._frame, candles._arrays = arrays.dataset, None, arrays
        return candles

    @classmethod
    def empty(cls, dataset: Dataset) -> "Candles":
        """Return zero candles with the columns of the dataset."""
        return cls(dataset, pl.DataFrame(schema=schema(dataset)))

    @property
    def frame(self) -> pl.DataFrame:
        """Polars frame with the columns of `schema(dataset)`, sorted by ts. Do not use in a process that forks."""
        if self._frame is None:
            self._frame = _frame_of(self.arrays)
            self._arrays = None  # the frame's columns are read in place, so candles are not held in memory twice
        return self._frame

    @property
    def arrays(self) -> CandleArrays:
        """The candles as NumPy columns."""
        if self._arrays is None:
            self._arrays = _arrays_of(self.dataset, self.frame)
        return self._arrays

    @property
    def times(self) -> NDArray[np.int64]:
        """Opens as Unix seconds, ascending, shape (n_candles,)."""
        return self.arrays.time

    def within(self, window: Window) -> "Candles":
        """Return the candles that open in `window`."""
        return Candles(
            self.dataset, self.frame.filter(pl.col("ts").is_between(window.start, window.end, closed="left"))
        )

    def __len__(self) -> int:
        return len(self._arrays) if self._arrays is not None else self.frame.height


def _frame_of(arrays: CandleArrays) -> pl.DataFrame:
    opened = pl.Series(arrays.time * MICROSECONDS, dtype=TIME)
    return pl.DataFrame({"ts": opened, **arrays.numbers})


def _arrays_of(dataset: Dataset, frame: pl.DataFrame) -> CandleArrays:
    numbers = {name: frame[name].to_numpy() for name in number_names(dataset)}
    return CandleArrays.of(dataset, frame["ts"].dt.epoch("s").to_numpy(), numbers)


def _check_columns(frame: pl.DataFrame, dataset: Dataset) -> None:
    for name, expected in schema(dataset).items():
        if name not in frame.columns:
            raise InvalidCandles(f"{dataset}: column {name!r} is missing; found {', '.join(frame.columns)}")
        if frame.schema[name] != expected:
            raise InvalidCandles(f"{dataset}: column {name!r}: expected {expected}, was {frame.schema[name]}")
