"""The contract that every page, file and backtest meets: what a frame of candles is.

Columns, in this order, sorted by `ts`, one row a candle, missing candles simply absent:

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

from tradeschool.columns import MICROSECONDS, CandleArrays, check, number_names
from tradeschool.errors import InvalidCandles
from tradeschool.market import Dataset, Window

TIME = pl.Datetime("us", "UTC")


def schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """The columns of a dataset's candles and their types, in order."""
    return {"ts": TIME, **{name: pl.Float64() for name in number_names(dataset)}}


class Candles:
    """Candles of one dataset that meet the contract above.

    A page of them stays NumPy columns until somebody asks for the frame: making one costs more than decoding a page.
    """

    __slots__ = ("_arrays", "_frame", "dataset")

    def __init__(self, dataset: Dataset, frame: pl.DataFrame) -> None:
        """Of a frame that is known to meet the contract."""
        self.dataset = dataset
        self._frame: pl.DataFrame | None = frame
        self._arrays: CandleArrays | None = None

    @classmethod
    def parse(cls, frame: pl.DataFrame, dataset: Dataset, window: Window) -> "Candles":
        """The candles of `frame`, held against the contract; nothing is repaired or left out.

        Raises:
            InvalidCandles: which dataset, which rule, how many rows, and the first of them.
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
        """The same for NumPy columns.

        Raises:
            InvalidCandles: as above.
        """
        opened = (arrays.time * MICROSECONDS).view("datetime64[us]")
        check(opened, arrays.numbers, arrays.dataset, window)
        candles = cls.__new__(cls)
        candles.dataset, candles._frame, candles._arrays = arrays.dataset, None, arrays
        return candles

    @classmethod
    def empty(cls, dataset: Dataset) -> "Candles":
        """No candles at all, with the right columns."""
        return cls(dataset, pl.DataFrame(schema=schema(dataset)))

    @property
    def frame(self) -> pl.DataFrame:
        """Columns of `schema(dataset)`, sorted by ts. Not to be touched in a process that will fork."""
        if self._frame is None:
            self._frame = _frame_of(self.arrays)
            self._arrays = (
                None  # the frame's own columns are read in place, and years of candles need not be held twice
            )
        return self._frame

    @property
    def arrays(self) -> CandleArrays:
        """The same as NumPy columns."""
        if self._arrays is None:
            self._arrays = _arrays_of(self.dataset, self.frame)
        return self._arrays

    @property
    def times(self) -> NDArray[np.int64]:
        """Opens as Unix seconds, ascending, shape (n_candles,)."""
        return self.arrays.time

    def within(self, window: Window) -> "Candles":
        """The candles whose open lies in `window`."""
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
            raise InvalidCandles(f"{dataset}: column {name!r} is missing; there are {', '.join(frame.columns)}")
        if frame.schema[name] != expected:
            raise InvalidCandles(f"{dataset}: column {name!r}: expected {expected}, was {frame.schema[name]}")
