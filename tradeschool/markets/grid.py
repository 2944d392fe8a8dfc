"""Candle grid: the opens and closes of all candles of a dataset, whether or not the market is open.

Timeframes up to H1 lie on the full hour of UTC. H4 and D1 are counted from the start of the trading day: midnight UTC
for crypto and stocks, 17:00 New York time for all other markets, as OANDA does with `dailyAlignment=17` and
`alignmentTimezone=America/New_York`. A D1 candle of FX is a trading day: that of Friday opens on Thursday evening, so
no candle carries the date of a Friday and none is missing. With days from midnight UTC, Sunday would have a candle of
two or three hours, and every other candle would join the end of one trading day to the most of the next.

H4 candles of such a day open at 17:00, 21:00, 1:00, 5:00, 9:00 and 13:00 New York time. On the day on which the clock
changes (Saturday 17:00 to Sunday 17:00) the candle of 1:00 lasts three hours in spring and five in autumn, and the
day 23 or 25 hours. FX, metals and indices are closed then, so no stored candle has another length than its timeframe.

A range holds the candles that lie wholly inside it. A candle that only begins or ends inside belongs to no part of a
level's data, is never derived from a part of its trades, and is never requested before it is finished.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.windows import Window

Times = NDArray[np.int64]
"""Unix seconds."""
Numbers = NDArray[np.int64]
"""Numbers of candle slots: consecutive slots have consecutive numbers."""

DAY, MINUTE = 86_400, 60
FIRST_YEAR, LAST_YEAR = 1970, 2100
"""Years of a grid in local time."""
PROBE_DAYS = 7
"""Distance of the times at which the clock of a zone is read; changes of the clock are further apart."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Start of the trading day from which day-aligned candles are counted."""

    zone: str
    """Name of the time zone, such as `America/New_York`."""
    hour: int
    """Hour of the day in that zone."""


UTC_MIDNIGHT = Alignment("UTC", 0)
NEW_YORK_CLOSE = Alignment("America/New_York", 17)


class Grid(Protocol):
    """Candle grid; slots are numbered consecutively."""

    def number(self, times: Times) -> Numbers:
        """Return the slot that covers each time."""
        ...

    def open(self, numbers: Numbers) -> Times:
        """Return the open of each slot."""
        ...


def alignment_of(instrument: Instrument) -> Alignment:
    """Return the start of the trading day of an instrument."""
    return UTC_MIDNIGHT if instrument.market in (Market.CRYPTO, Market.STOCK) else NEW_YORK_CLOSE


def grid_of(dataset: Dataset) -> "CandleGrid":
    """Return the grid of a dataset's candles."""
    return aligned_grid(dataset.timeframe.seconds, alignment_of(dataset.instrument))


def aligned_grid(seconds: int, alignment: Alignment) -> "CandleGrid":
    """Return the grid of candles of a length, counted from the start of the day if they are longer than an hour."""
    if seconds <= 3600 or alignment == UTC_MIDNIGHT:
        return CandleGrid(_UniformGrid(seconds))
    return CandleGrid(_zoned_grid(seconds, alignment))


@dataclass(frozen=True, slots=True)
class CandleGrid:
    """Opens, closes and numbers of the candles of a grid."""

    slots: Grid

    def number(self, times: Times) -> Numbers:
        """Return the slot that covers each time."""
        return self.slots.number(times)

    def open(self, numbers: Numbers) -> Times:
        """Return the open of each slot."""
        return self.slots.open(numbers)

    def floor(self, times: Times) -> Times:
        """Return the open of the candle that covers each time."""
        return self.slots.open(self.slots.number(times))

    def close(self, times: Times) -> Times:
        """Return the close of the candle that covers each time: the open of the next one."""
        return self.slots.open(self.slots.number(times) + 1)

    def lies_on(self, times: Times) -> NDArray[np.bool_]:
        """Return a mask of the times at which a candle opens."""
        return np.asarray(self.floor(times) == times)

    def close_of(self, time: int) -> int:
        """Return the close of the candle that covers a time."""
        return int(self.close(np.array([time], dtype=np.int64))[0])

    def span(self, window: Window) -> tuple[int, int]:
        """Return the first slot that lies in a window, and the first one after it that no longer does."""
        first, last = self.number(np.array([window.start_seconds - 1, window.end_seconds], dtype=np.int64))
        return int(first) + 1, max(int(first) + 1, int(last))

    def covering(self, window: Window) -> tuple[int, int]:
        """Return the first slot that touches a window, and the first one after it that no longer does."""
        first, last = self.number(np.array([window.start_seconds, window.end_seconds - 1], dtype=np.int64))
        return int(first), int(last) + 1

    def count(self, window: Window) -> int:
        """Return the number of slots that lie in a window."""
        first, last = self.span(window)
        return last - first

    def opens(self, window: Window) -> Times:
        """Return the opens of the slots that lie in a window, ascending."""
        return self.slots.open(np.arange(*self.span(window), dtype=np.int64))

    def between(self, first: int, last: int) -> Window:
        """Return the window from the open of one slot to the open of a later one."""
        start, end = self.slots.open(np.array([first, last], dtype=np.int64))
        return Window.of_seconds(int(start), int(end))

    def whole(self, window: Window) -> Window | None:
        """Return the part of a window that consists of whole slots; None if there is none."""
        first, last = self.span(window)
        return self.between(first, last) if first < last else None


@dataclass(frozen=True, slots=True)
class _UniformGrid:
    """Slots of one length, counted from 1970 on."""

    step: int

    def number(self, times: Times) -> Numbers:
        return times // self.step

    def open(self, numbers: Numbers) -> Times:
        return numbers * self.step


@dataclass(frozen=True, slots=True, eq=False)
class _ZonedGrid:
    """Slots counted from an hour of the day in a time zone."""

    opens: Times

    def number(self, times: Times) -> Numbers:
        return np.searchsorted(self.opens, times, side="right").astype(np.int64) - 1

    def open(self, numbers: Numbers) -> Times:
        return np.take(self.opens, numbers, mode="clip")


@lru_cache(maxsize=16)
def _zoned_grid(step: int, alignment: Alignment) -> _ZonedGrid:
    first, last = (_epoch(datetime(year, 1, 1, tzinfo=UTC)) for year in (FIRST_YEAR, LAST_YEAR))
    days = np.arange(first, last, DAY, dtype=np.int64) + alignment.hour * 3600
    local = (days[:, np.newaxis] + np.arange(0, DAY, step, dtype=np.int64)).ravel()
    opens = _utc_of(local, alignment.zone)
    opens.flags.writeable = False
    return _ZonedGrid(opens)


def _utc_of(local: Times, zone: str) -> Times:
    """Convert times of day in a zone to UTC; of an hour that occurs twice the first is meant."""
    changes, offsets = _offsets(zone)
    found = np.full(len(local), np.iinfo(np.int64).max)
    for offset in np.unique(offsets):
        candidate = local - offset
        is_valid = offsets[np.searchsorted(changes, candidate, side="right") - 1] == offset
        found = np.where(is_valid, np.minimum(found, candidate), found)
    skipped = found == np.iinfo(np.int64).max  # a time of day that the clock jumps over
    found[skipped] = local[skipped] - offsets[np.searchsorted(changes, local[skipped] - offsets.max(), "right") - 1]
    return found


@lru_cache(maxsize=8)
def _offsets(zone: str) -> tuple[Times, Times]:
    """Return the times at which the clock of a zone changes, and its offset from UTC from each of them on."""
    clock = ZoneInfo(zone)

    def offset(time: int) -> int:
        distance = datetime.fromtimestamp(time, UTC).astimezone(clock).utcoffset()
        assert distance is not None, "a time zone always has an offset"
        return int(distance.total_seconds())

    first, last = _epoch(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)), _epoch(datetime(LAST_YEAR, 1, 2, tzinfo=UTC))
    changes, offsets = [-(2**60)], [offset(first)]
    for probe in range(first, last, PROBE_DAYS * DAY):
        if offset(probe + PROBE_DAYS * DAY) == offsets[-1]:
            continue
        low, high = probe, probe + PROBE_DAYS * DAY
        while high - low > MINUTE:
            middle = (low + high) // (2 * MINUTE) * MINUTE
            low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
        changes.append(high)
        offsets.append(offset(high))
    return np.array(changes, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _epoch(time: datetime) -> int:
    return int(time.timestamp())
