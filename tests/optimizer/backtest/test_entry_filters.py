"""Entries: the compiled filters decide as their definitions, and both forms of a strategy's signals are the same."""

from datetime import UTC, datetime

import numpy as np
import pytest

from optimizer.backtest.entries import check_judged, judged_signals_of
from optimizer.backtest.entry_filters import MARKS, in_band, with_trend
from optimizer.bars.hourly import hour_trend
from optimizer.bars.indicators import ATR_SPACING, marks_of, wilder_atr
from optimizer.bars.preparation import Prepared, prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.spec import Direction
from optimizer.strategies.built_in.sma_cross import STRATEGY, SmaCross
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import Window

WINDOW = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 5, 1, tzinfo=UTC))


def prepared_of(name: str, warm_up: int = 60) -> Prepared:
    """Random candles with gaps."""
    return prepare(random_walk(find_dataset(name), WINDOW, seed=3), WINDOW, warm_up)


@pytest.mark.parametrize("name", ["coinbase/BTC-USD/M15", "oanda/EUR-USD/H1", "oanda/EUR-USD/H4"])
@pytest.mark.parametrize("period", [2, 40])
def test_the_trend_filter_keeps_signals_with_the_hour_trend(name: str, period: int) -> None:
    prepared, random = prepared_of(name), np.random.default_rng(1)
    bars = np.flatnonzero(random.random(len(prepared)) < 0.3).astype(np.int32)
    signals = random.choice([-1, 1], len(bars)).astype(np.int8)
    kept = with_trend(prepared, TradeManagement(trend=1, trend_period=period), bars, signals)
    assert kept.tolist() == (hour_trend(prepared, period)[bars] == signals).tolist()
    assert 0 < kept.sum() < len(kept)


def test_the_band_filter_ranks_the_atr_among_the_marks_before() -> None:
    prepared = prepared_of("coinbase/BTC-USD/M15")
    average = wilder_atr(prepared.prices, 14)
    marks, bars = marks_of(average), np.arange(14, len(prepared), 7, dtype=np.int32)
    kept = in_band(TradeManagement(vol_low=0.2, vol_high=0.7), bars, average[bars], marks)
    for bar, is_kept in zip(bars.tolist(), kept.tolist(), strict=True):
        newest = bar // ATR_SPACING
        rank = np.mean(marks[max(newest - MARKS, 0) : newest] < average[bar]) if newest else 0.0
        assert is_kept == (newest >= MARKS and 0.2 <= rank <= 0.7)


@pytest.mark.parametrize(("fast", "slow"), [(2, 7), (5, 20), (20, 100)])
@pytest.mark.parametrize("warm_up", [5, 250])
def test_judged_signals_are_the_signals_without_zeros(fast: int, slow: int, warm_up: int) -> None:
    prepared, parameters = prepared_of("coinbase/BTC-USD/M15", warm_up), {"fast": fast, "slow": slow}
    bars, found = STRATEGY.judged_signals(prepared, parameters)
    signals = STRATEGY.signals(prepared, parameters, Direction.BOTH)
    assert bars.tolist() == [bar for bar in np.flatnonzero(signals).tolist() if bar >= warm_up]
    assert found.tolist() == signals[bars].tolist()
    averages = [np.convolve(prepared.close, np.ones(length), "valid") / length for length in (fast, slow)]
    signs = np.sign(np.round(averages[0][slow - fast :] - averages[1], 6))
    crossed = np.flatnonzero((signs[1:] != signs[:-1]) & (signs[1:] != 0)) + slow
    assert np.flatnonzero(signals).tolist() == crossed.tolist()


def test_a_class_that_overrides_signals_alone_trades_its_own() -> None:
    class Inverted(SmaCross):
        def signals(self, candles, parameters, direction):  # type: ignore[no-untyped-def]
            return -SmaCross.signals(self, candles, parameters, direction)

    assert judged_signals_of(STRATEGY) is not None
    assert judged_signals_of(Inverted()) is None


@pytest.mark.parametrize(
    ("bars", "signals"),
    [([59], [1]), ([80, 80], [1, -1]), ([90, 80], [1, -1]), ([90], [0]), ([90], [3]), ([10**6], [1])],
)
def test_judged_signals_outside_the_judged_bars_are_refused(bars: list[int], signals: list[int]) -> None:
    given = np.array(bars, dtype=np.int32), np.array(signals, dtype=np.int8)
    with pytest.raises(SettingsError, match="judged_signals must be ascending judged bars"):
        check_judged("mine", *given, prepared_of("coinbase/BTC-USD/M15"))
