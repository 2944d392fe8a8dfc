"""Candles as plain NumPy columns and the validation of the candle contract; safe in a process that forks.

`tradeschool.ohlcv.frame` documents the columns and converts them to polars frames.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import InvalidCandles
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window

PRICES = ("open", "high", "low", "close")
MICROSECONDS = 1_000_000  # per second


def number_names(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of a dataset's candle columns except the time, in order."""
    spread = ("half_spread",) if dataset.instrument.has_spread else ()
    return (*PRICES, "volume", *spread)


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
    """None for datasets without a spread, such as those of crypto."""

    @classmethod
    def of(
        cls, dataset: Dataset, time: NDArray[np.int64], numbers: Mapping[str, NDArray[np.float64]]
    ) -> "CandleArrays":
        """Build the arrays from the time and a mapping of the other columns by name."""
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
        """All columns except the time, in the order of `schema`."""
        prices = {"open": self.open, "high": self.high, "low": self.low, "close": self.close, "volume": self.volume}
        return prices if self.half_spread is None else prices | {"half_spread": self.half_spread}

    def __getitem__(self, chosen: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "CandleArrays":
        """Return the candles at an array of positions, in that order, or those selected by a mask or a slice."""
        chosen_numbers = {name: values[chosen] for name, values in self.numbers.items()}
        return CandleArrays.of(self.dataset, self.time[chosen], chosen_numbers)

    def __len__(self) -> int:
        return len(self.time)


def joined(dataset: Dataset, parts: Iterable[CandleArrays]) -> CandleArrays:
    """Concatenate parts in time order; of several candles with the same time, the one of the last part is kept."""
    parts = [no_candles(dataset), *parts]
    numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers}
    time = np.concatenate([part.time for part in parts])
    everything = CandleArrays.of(dataset, time, numbers)
    if (time[1:] > time[:-1]).all():
        return everything
    order = np.argsort(time, kind="stable")
    is_latest = np.append(np.diff(time[order]) != 0, True)
    return everything[order[is_latest]]


def are_among(times: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask, shape (n_times,), of the times that occur in `others`; both inputs must be ascending."""
    places = np.searchsorted(others, times)
    found = places < len(others)
    found[found] = others[places[found]] == times[found]
    return found


def no_candles(dataset: Dataset) -> CandleArrays:
    """Return empty columns for a dataset."""
    numbers = {name: np.empty(0) for name in number_names(dataset)}
    return CandleArrays.of(dataset, np.empty(0, dtype=np.int64), numbers)


def check(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], dataset: Dataset, window: Window
) -> None:
    """Check columns against the candle contract; `opened` holds microseconds since 1970, NaT for a missing time.

    Raises:
        InvalidCandles: if a rule is broken; names the dataset, the rule, the number of rows and the first one.
    """
    for rule, broken in _rules(opened, numbers, dataset, window):
        if broken.any():
            rule = rule.format(timeframe=dataset.timeframe.name, window=window)
            raise InvalidCandles(f"{dataset}: {rule}: {_finding(opened, numbers, broken)}")


def _rules(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], dataset: Dataset, window: Window
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each rule with a mask of the rows that break it, shape (n_candles,); a rule may rely on earlier ones.

    The rules use NumPy because a page is small: as polars expressions they cost ten times as much as decoding it.
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
    yield "ts must lie on the {timeframe} grid", _is_off_grid(time, dataset)
    start, end = window.start_seconds * MICROSECONDS, window.end_seconds * MICROSECONDS
    yield "ts must lie in {window}", (time < start) | (time >= end)
    yield "ts must be strictly increasing", time <= np.concatenate(([start - 1], time[:-1]))[: len(time)]


def _is_off_grid(time: NDArray[np.int64], dataset: Dataset) -> NDArray[np.bool_]:
    """Return a mask of the times, in microseconds, at which no candle of the dataset opens."""
    seconds = time // MICROSECONDS
    off_grid: NDArray[np.bool_] = (seconds * MICROSECONDS != time) | ~grid_of(dataset).lies_on(seconds)
    return off_grid


def _finding(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], broken: NDArray[np.bool_]
) -> str:
    row = int(broken.argmax())
    first = {"ts": _readable(opened[row])} | {name: column[row] for name, column in numbers.items()}
    values = ", ".join(f"{name}={value}" for name, value in first.items())
    return f"broken by {broken.sum()} of {len(opened)} rows, first: {values}"


def _readable(opened: np.datetime64) -> str:
    return "None" if np.isnat(opened) else f"{opened.astype(datetime).replace(tzinfo=UTC)}"
