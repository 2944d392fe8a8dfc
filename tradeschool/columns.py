"""Candles as plain NumPy columns, and the rules that they meet: safe in a process that forks.

`tradeschool.candles` says what the columns mean, and makes frames of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import InvalidCandles
from tradeschool.market import Dataset, Market, Window

PRICES = ("open", "high", "low", "close")
MICROSECONDS = 1_000_000  # in a second


def number_names(dataset: Dataset) -> tuple[str, ...]:
    """The columns of a dataset's candles but the time, in order."""
    spread = ("half_spread",) if dataset.instrument.market is Market.FX else ()
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


def joined(dataset: Dataset, parts: Iterable[CandleArrays]) -> CandleArrays:
    """The candles of all parts in order of time; of several at the same time, the one of the latest part."""
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
    """Which of some times stand among others, shape (n_times,); both ascend, so nothing has to be sorted."""
    places = np.searchsorted(others, times)
    found = places < len(others)
    found[found] = others[places[found]] == times[found]
    return found


def no_candles(dataset: Dataset) -> CandleArrays:
    """Empty columns, those that the dataset has."""
    numbers = {name: np.empty(0) for name in number_names(dataset)}
    return CandleArrays.of(dataset, np.empty(0, dtype=np.int64), numbers)


def check(
    opened: NDArray[np.datetime64], numbers: Mapping[str, NDArray[np.float64]], dataset: Dataset, window: Window
) -> None:
    """Hold columns against the contract; `opened` are microseconds since 1970, NaT where there is none.

    Raises:
        InvalidCandles: which dataset, which rule, how many rows, and the first of them.
    """
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
