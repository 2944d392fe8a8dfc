"""The contract that every page, file and backtest meets: what a frame of candles is.

Columns, in this order, sorted by `ts`, one row a candle, missing candles simply absent:

| column | type | meaning |
|---|---|---|
| ts | Datetime(us, UTC) | the candle's open |
| open, high, low, close | Float64 | quote per base, finite, positive, low <= open, close <= high |
| volume | Float64 | base units (Coinbase) or number of prices (OANDA), finite, not negative |
| half_spread | Float64 | FX only: half of ask - bid at the open, quote per base, finite, not negative |
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradeschool.errors import InvalidCandles
from tradeschool.market import Dataset, Market, Window

TIME = pl.Datetime("us", "UTC")
PRICES = ("open", "high", "low", "close")
MICROSECONDS = 1_000_000  # in a second


def schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """The columns of a dataset's candles and their types, in order."""
    columns: dict[str, pl.DataType] = {"ts": TIME}
    columns |= {name: pl.Float64() for name in (*PRICES, "volume")}
    if dataset.instrument.market is Market.FX:
        columns["half_spread"] = pl.Float64()
    return columns


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of one dataset that meet the contract above."""

    dataset: Dataset
    frame: pl.DataFrame
    """Columns of `schema(dataset)`, sorted by ts. Not to be touched in a process that will fork."""

    @classmethod
    def parse(cls, frame: pl.DataFrame, dataset: Dataset, window: Window) -> "Candles":
        """The candles of `frame`, held against the contract; nothing is repaired or left out.

        Raises:
            InvalidCandles: which dataset, which rule, how many rows, and the first of them.
        """
        _check_columns(frame, dataset)
        if frame.columns != list(schema(dataset)):
            frame = frame.select(schema(dataset).keys())
        for rule, broken in _rules(frame, dataset, window):
            if broken.any():
                raise InvalidCandles(_finding(frame, dataset, rule, broken))
        return cls(dataset, frame)

    @classmethod
    def empty(cls, dataset: Dataset) -> "Candles":
        """No candles at all, with the right columns."""
        return cls(dataset, pl.DataFrame(schema=schema(dataset)))

    @property
    def times(self) -> NDArray[np.int64]:
        """Opens as Unix seconds, ascending, shape (n_candles,)."""
        return self.frame["ts"].dt.epoch("s").to_numpy()

    def within(self, window: Window) -> "Candles":
        """The candles whose open lies in `window`."""
        return Candles(
            self.dataset, self.frame.filter(pl.col("ts").is_between(window.start, window.end, closed="left"))
        )

    def __len__(self) -> int:
        return self.frame.height


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleArrays:
    """The same candles as plain NumPy columns, each of shape (n_candles,): safe in a process that forks."""

    dataset: Dataset
    time: NDArray[np.int64]
    """Opens as Unix seconds, ascending."""
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    half_spread: NDArray[np.float64] | None
    """None where the dataset has none."""

    def __len__(self) -> int:
        return len(self.time)


def _check_columns(frame: pl.DataFrame, dataset: Dataset) -> None:
    for name, expected in schema(dataset).items():
        if name not in frame.columns:
            raise InvalidCandles(f"{dataset}: column {name!r} is missing; there are {', '.join(frame.columns)}")
        if frame.schema[name] != expected:
            raise InvalidCandles(f"{dataset}: column {name!r}: expected {expected}, was {frame.schema[name]}")


def _rules(frame: pl.DataFrame, dataset: Dataset, window: Window) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each rule with the rows that break it, shape (n_candles,); a rule may rely on those before it.

    In NumPy, because a provider's page is small: the same rules as polars expressions cost ten times its decoding.
    """
    opened = frame["ts"].to_numpy()
    yield "ts must not be null", np.isnat(opened)
    time = opened.view(np.int64)
    numbers = {name: frame[name].to_numpy() for name in schema(dataset) if name != "ts"}  # null becomes NaN
    for name, values in numbers.items():
        yield f"{name} must be a finite number", ~np.isfinite(values)
    for name in PRICES:
        yield f"{name} must be positive", numbers[name] <= 0
    for name in [name for name in numbers if name not in PRICES]:
        yield f"{name} must not be negative", numbers[name] < 0
    open_, high, low, close = (numbers[name] for name in PRICES)
    yield "low must be the lowest price", (low > open_) | (low > close) | (low > high)
    yield "high must be the highest price", (high < open_) | (high < close)
    yield f"ts must lie on the {dataset.timeframe.name} grid", time % (dataset.timeframe.seconds * MICROSECONDS) != 0
    start, end = window.start_seconds * MICROSECONDS, window.end_seconds * MICROSECONDS
    yield f"ts must lie in {window}", (time < start) | (time >= end)
    yield "ts must be strictly increasing", np.diff(time, prepend=start - 1) <= 0


def _finding(frame: pl.DataFrame, dataset: Dataset, rule: str, broken: NDArray[np.bool_]) -> str:
    first = frame.row(int(broken.argmax()), named=True)
    values = ", ".join(f"{name}={value}" for name, value in first.items())
    return f"{dataset}: {rule}: broken by {broken.sum()} of {frame.height} rows, first: {values}"
