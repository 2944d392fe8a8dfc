"""The contract that every page, file and backtest meets: what a frame of candles is.

Columns, in this order, sorted by `ts`, one row a candle, missing candles simply absent:

| column | type | meaning |
|---|---|---|
| ts | Datetime(us, UTC) | the candle's open |
| open, high, low, close | Float64 | quote per base, finite, positive, low <= open, close <= high |
| volume | Float64 | base units (Coinbase) or number of prices (OANDA), finite, not negative |
| half_spread | Float64 | FX only: half of ask - bid at the open, quote per base, finite, not negative |
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleArrays:
    """Candles as plain NumPy columns, each of shape (n_candles,): safe in a process that forks."""

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

    @classmethod
    def of(
        cls, dataset: Dataset, time: NDArray[np.int64], numbers: Mapping[str, NDArray[np.float64]]
    ) -> "CandleArrays":
        """Of the other columns by their names."""
        return cls(
            dataset=dataset,
            time=time,
            open=numbers["open"],
            high=numbers["high"],
            low=numbers["low"],
            close=numbers["close"],
            volume=numbers["volume"],
            half_spread=numbers.get("half_spread"),
        )

    @property
    def numbers(self) -> dict[str, NDArray[np.float64]]:
        """Every column but the time, in the order of `schema`."""
        prices = {"open": self.open, "high": self.high, "low": self.low, "close": self.close, "volume": self.volume}
        return prices if self.half_spread is None else prices | {"half_spread": self.half_spread}

    def __getitem__(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "CandleArrays":
        """The candles at an array of positions, in its order, or those where a mask is set."""
        chosen_numbers = {name: values[chosen] for name, values in self.numbers.items()}
        return CandleArrays.of(self.dataset, self.time[chosen], chosen_numbers)

    def __len__(self) -> int:
        return len(self.time)


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
        numbers = {name: frame[name].to_numpy() for name in schema(dataset) if name != "ts"}  # null becomes NaN
        _check(opened, numbers, dataset, window)
        return cls(dataset, frame)

    @classmethod
    def of_arrays(cls, arrays: CandleArrays, window: Window) -> "Candles":
        """The same for NumPy columns.

        Raises:
            InvalidCandles: as above.
        """
        opened = (arrays.time * MICROSECONDS).view("datetime64[us]")
        _check(opened, arrays.numbers, arrays.dataset, window)
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


def joined(dataset: Dataset, parts: Iterable[CandleArrays]) -> CandleArrays:
    """The candles of all parts in order of time; of several at the same time, the one of the latest part."""
    parts = [Candles.empty(dataset).arrays, *parts]
    numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers}
    time = np.concatenate([part.time for part in parts])
    everything = CandleArrays.of(dataset, time, numbers)
    if (time[1:] > time[:-1]).all():
        return everything
    order = np.argsort(time, kind="stable")
    is_latest = np.append(np.diff(time[order]) != 0, True)
    return everything[order[is_latest]]


def _frame_of(arrays: CandleArrays) -> pl.DataFrame:
    opened = pl.Series(arrays.time * MICROSECONDS, dtype=TIME)
    return pl.DataFrame({"ts": opened, **arrays.numbers})


def _arrays_of(dataset: Dataset, frame: pl.DataFrame) -> CandleArrays:
    numbers = {name: frame[name].to_numpy() for name in schema(dataset) if name != "ts"}
    return CandleArrays.of(dataset, frame["ts"].dt.epoch("s").to_numpy(), numbers)


def _check_columns(frame: pl.DataFrame, dataset: Dataset) -> None:
    for name, expected in schema(dataset).items():
        if name not in frame.columns:
            raise InvalidCandles(f"{dataset}: column {name!r} is missing; there are {', '.join(frame.columns)}")
        if frame.schema[name] != expected:
            raise InvalidCandles(f"{dataset}: column {name!r}: expected {expected}, was {frame.schema[name]}")


def _check(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], dataset: Dataset, window: Window
) -> None:
    for rule, broken in _rules(opened, numbers, dataset, window):
        if broken.any():
            rule = rule.format(timeframe=dataset.timeframe.name, window=window)
            raise InvalidCandles(f"{dataset}: {rule}: {_finding(opened, numbers, broken)}")


def _rules(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], dataset: Dataset, window: Window
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each rule with the rows that break it, shape (n_candles,); a rule may rely on those before it.

    In NumPy, because a provider's page is small: the same rules as polars expressions cost ten times its decoding.
    """
    yield "ts must not be null", np.isnat(opened)
    time = opened.view(np.int64)
    for name, values in numbers.items():
        yield f"{name} must be a finite number", ~np.isfinite(values)
    for name in PRICES:
        yield f"{name} must be positive", numbers[name] <= 0
    for name in [name for name in numbers if name not in PRICES]:
        yield f"{name} must not be negative", numbers[name] < 0
    open_, high, low, close = (numbers[name] for name in PRICES)
    yield "low must be the lowest price", (low > open_) | (low > close) | (low > high)
    yield "high must be the highest price", (high < open_) | (high < close)
    yield "ts must lie on the {timeframe} grid", time % (dataset.timeframe.seconds * MICROSECONDS) != 0
    start, end = window.start_seconds * MICROSECONDS, window.end_seconds * MICROSECONDS
    yield "ts must lie in {window}", (time < start) | (time >= end)
    yield "ts must be strictly increasing", time <= np.concatenate(([start - 1], time[:-1]))[: len(time)]


def _finding(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], broken: NDArray[np.bool_]
) -> str:
    row = int(broken.argmax())
    first = {"ts": _readable(opened[row])} | {name: column[row] for name, column in numbers.items()}
    values = ", ".join(f"{name}={value}" for name, value in first.items())
    return f"broken by {broken.sum()} of {len(opened)} rows, first: {values}"


def _readable(opened: np.datetime64) -> str:
    return "None" if np.isnat(opened) else f"{opened.astype(datetime).replace(tzinfo=UTC)}"
