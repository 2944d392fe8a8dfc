"""Trend windows: the days of a market that a level for rising or falling markets uses, found by one rule.

The rule is for the choice of a level's days alone. It looks at days after the one that it labels, so it is no signal.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from optimizer.bars.preparation import DAY_SECONDS
from optimizer.validation.analyses.regimes import CELLS, TREND_DAYS, UNLABELLED, Trend, label
from tradeschool.ohlcv.arrays import CandleArrays

MIN_DAYS = 90
"""Shortest window of the rule."""
LABEL_DELAY = TREND_DAYS // 2 + 1
"""Days by which a regime label follows the middle of the days that it describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendWindow:
    """A window found by the rule."""

    trend: Trend
    start: date
    end: date
    """First day after the window."""
    change: float
    """Change of the price over the window, as a fraction: from the last close before it, or else its first."""

    @property
    def rule(self) -> str:
        """The rule and the change of the price in words."""
        return (
            f"{self.trend} days outnumber the others most, at least {MIN_DAYS} days; price {100 * self.change:+.1f} %"
        )


def find_trend_window(candles: CandleArrays, trend: Trend) -> TrendWindow | None:
    """Return the window in which days of this trend outnumber the others most; None if there is none.

    A day's trend is that of the regime analysis over the 50 days around it. Of equal windows, the earliest is taken.
    The price must have risen over a bull window and fallen over a bear window.
    """
    if not len(candles.time):
        return None
    days = candles.time // DAY_SECONDS
    first, last = int(days[0]), int(days[-1])
    closes = candles.close[np.searchsorted(days, np.arange(first, last + 1), side="right") - 1]
    found = _best_span(_scores(label(candles).cells, trend))
    if found is None:
        return None
    start, end = found
    change = float(closes[end - 1] / closes[max(0, start - 1)] - 1)
    if (change > 0) != (trend is Trend.BULL):
        return None
    return TrendWindow(trend=trend, start=_day(first + start), end=_day(first + end), change=change)


def _scores(cells: NDArray[np.int64], trend: Trend) -> NDArray[np.int64]:
    """Return 1 for each day of this trend and -1 for every other one."""
    wanted = [place for place, (each, _) in enumerate(CELLS) if each is trend]
    around = np.full(len(cells), UNLABELLED)
    around[: max(0, len(cells) - LABEL_DELAY)] = cells[LABEL_DELAY:]
    return np.where(np.isin(around, wanted), 1, -1)


def _best_span(scores: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the earliest span of at least `MIN_DAYS` with the highest sum; None if no sum is above zero."""
    sums = np.concatenate([[0], np.cumsum(scores)])
    best, found, lowest = 0, None, 0
    for end in range(MIN_DAYS, len(sums)):
        if sums[end - MIN_DAYS] < sums[lowest]:
            lowest = end - MIN_DAYS
        if (total := int(sums[end] - sums[lowest])) > best:
            best, found = total, (lowest, end)
    return found


def _day(days: int) -> date:
    return datetime.fromtimestamp(days * DAY_SECONDS, UTC).date()
