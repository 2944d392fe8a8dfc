"""The rule that finds bull and bear windows."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from optimizer.validation.analyses.regimes import Trend
from optimizer.validation.analyses.trend_windows import MIN_DAYS, find_trend_window
from tests.factories.candles import BTC
from tradeschool.ohlcv.arrays import CandleArrays

FIRST = 18_000  # days since 1970
START = datetime.fromtimestamp(FIRST * 86_400, UTC).date()


def market(*phases: tuple[int, float]) -> CandleArrays:
    """Daily candles over phases of (days, daily log return), with a little noise."""
    moves = np.concatenate([np.full(days, drift) for days, drift in phases])
    moves += np.random.default_rng(1).normal(0, 0.002, len(moves))
    closes = 100 * np.exp(np.cumsum(moves))
    time = (FIRST + np.arange(len(closes), dtype=np.int64)) * 86_400
    return CandleArrays(
        dataset=BTC, time=time, open=closes, high=closes, low=closes, close=closes, volume=closes, half_spread=None
    )


def days_off(found: date, wanted: int) -> int:
    return abs((found - START).days - wanted)


def test_the_longest_rise_and_fall_are_found() -> None:
    candles = market((100, -0.01), (100, 0.01), (150, -0.01), (250, 0.01), (200, -0.01))

    bull, bear = find_trend_window(candles, Trend.BULL), find_trend_window(candles, Trend.BEAR)

    assert bull is not None
    assert bear is not None
    assert days_off(bull.start, 350) <= 25
    assert days_off(bull.end, 600) <= 25
    assert days_off(bear.start, 600) <= 25
    assert bull.change > 5
    assert bear.change < -0.5
    assert bull.end <= bear.start + timedelta(days=25)


def test_the_rule_and_the_change_are_told() -> None:
    candles = market((300, 0.001))
    bull = find_trend_window(candles, Trend.BULL)

    assert bull is not None
    first, last = (bull.start - START).days, (bull.end - START).days - 1
    change = candles.close[last] / candles.close[first - 1] - 1
    assert bull.rule == f"bull days outnumber the others most, at least 90 days; price {100 * change:+.1f} %"


@pytest.mark.parametrize("days", [0, 40, MIN_DAYS - 1])
def test_few_days_have_no_window(days: int) -> None:
    assert find_trend_window(market((days, 0.01)), Trend.BULL) is None


def test_a_falling_market_has_no_bull_window() -> None:
    candles = market((400, -0.01))

    assert find_trend_window(candles, Trend.BULL) is None
    assert find_trend_window(candles, Trend.BEAR) is not None


def test_a_short_rise_is_padded_to_the_shortest_window() -> None:
    found = find_trend_window(market((200, -0.0005), (70, 0.02), (200, -0.0005)), Trend.BULL)

    assert found is not None
    assert (found.end - found.start).days >= MIN_DAYS


def test_later_days_do_not_change_a_window_that_they_do_not_reach() -> None:
    """The window depends on nothing but the candles given: a holdout period is cut off before."""
    phases = ((100, -0.01), (250, 0.01), (200, -0.01))
    short, long = market(*phases), market(*phases, (50, -0.01))

    assert find_trend_window(short, Trend.BULL) == find_trend_window(long, Trend.BULL)
