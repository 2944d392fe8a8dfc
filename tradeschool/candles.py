"""The contract that every page, file and backtest meets: what a frame of candles is.

Columns, in this order, sorted by `ts`, one row a candle, missing candles simply absent:

| column | type | meaning |
|---|---|---|
| ts | Datetime(us, UTC) | the candle's open |
| open, high, low, close | Float64 | quote per base, finite, positive, low <= open, close <= high |
| volume | Float64 | base units (Coinbase) or number of prices (OANDA), finite, not negative |
| half_spread | Float64 | FX only: half of ask - bid at the open, quote per base, finite, not negative |
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradeschool.errors import InvalidCandles
from tradeschool.market import Dataset, Market, Window

TIME = pl.Datetime("us", "UTC")
PRICES = ("open", "high", "low", "close")


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
        frame = frame.select(schema(dataset).keys())
        rules = _rules(dataset, window)
        counts = frame.select(broken.sum().alias(rule) for rule, broken in rules.items()).row(0, named=True)
        for rule, broken in rules.items():
            if counts[rule]:
                raise InvalidCandles(_finding(frame, dataset, rule, broken, counts[rule]))
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


def _rules(dataset: Dataset, window: Window) -> dict[str, pl.Expr]:
    """Each rule with the expression that is true where a row breaks it, in the order in which they are told.

    A null or NaN is looked for by itself: polars' horizontal minimum skips nulls, and NaN compares above
    every number, so neither would break the order of prices.
    """
    time, step = pl.col("ts"), dataset.timeframe.seconds
    open_, high, low, close = (pl.col(name) for name in PRICES)
    numbers = [name for name in schema(dataset) if name != "ts"]
    rules = {"ts must not be null": time.is_null()}
    rules |= {f"{name} must be a finite number": ~pl.col(name).is_finite().fill_null(value=False) for name in numbers}
    rules |= {f"{name} must be positive": pl.col(name) <= 0 for name in PRICES}
    rules |= {f"{name} must not be negative": pl.col(name) < 0 for name in numbers if name not in PRICES}
    rules["low must be the lowest price"] = (low > open_) | (low > close) | (low > high)
    rules["high must be the highest price"] = (high < open_) | (high < close)
    rules[f"ts must lie on the {dataset.timeframe.name} grid"] = time.dt.epoch("us") % (step * 1_000_000) != 0
    rules[f"ts must lie in {window}"] = (time < window.start) | (time >= window.end)
    rules["ts must be strictly increasing"] = time.diff().dt.total_microseconds() <= 0
    return rules


def _finding(frame: pl.DataFrame, dataset: Dataset, rule: str, broken: pl.Expr, rows: int) -> str:
    first = frame.filter(broken).row(0, named=True)
    values = ", ".join(f"{name}={value}" for name, value in first.items())
    return f"{dataset}: {rule}: broken by {rows} of {frame.height} rows, first: {values}"
