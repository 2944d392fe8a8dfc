"""H4 and D1 bars over both clock changes: times, hour trend, sessions, warm-up, engines and surrogate markets."""

import numpy as np
import pytest

from optimizer.backtest import reference
from optimizer.backtest.costs import CostRates
from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.entries import find_entries
from optimizer.backtest.entry_filters import in_session
from optimizer.backtest.kernel import trade
from optimizer.backtest.result import TradingRules
from optimizer.bars.hourly import closed_hours, hour_closes, hour_trend
from optimizer.bars.preparation import Prepared, prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.analyses.surrogate_markets import day_order, draw_signs, joined_to, reordered, sign_flipped
from tradeschool.errors import InvalidCandles
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import BTC_USD, EUR_USD
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.timerange import parse_timerange
from tradeschool.ohlcv.arrays import CandleArrays, are_among

YEARS = parse_timerange("2021..2023")
DATASETS = [
    Dataset(instrument=instrument, timeframe=timeframe)
    for instrument in (BTC_USD, EUR_USD)
    for timeframe in (Timeframe.H4, Timeframe.D1)
]
over_datasets = pytest.mark.parametrize("dataset", DATASETS, ids=str)


def candles(dataset: Dataset) -> CandleArrays:
    """A random walk in the hours in which the market is open."""
    walk = random_walk(dataset, YEARS, seed=3)
    return walk[are_among(walk.time, expected_slots(dataset, YEARS))]


def prepared_of(dataset: Dataset, warm_up: int = 30) -> Prepared:
    return prepare(candles(dataset), YEARS, warm_up)


@over_datasets
def test_times_and_closes_are_those_of_the_grid(dataset: Dataset) -> None:
    given = candles(dataset)
    prepared = prepare(given, YEARS, 30)

    assert prepared.time.tolist() == given.time.tolist()
    closes = prepared.closes(np.arange(len(prepared), dtype=np.int32))
    assert closes.tolist() == grid_of(dataset).close(given.time).tolist()
    assert set((closes - given.time).tolist()) == {dataset.timeframe.seconds}  # no open market is affected by a change


def test_a_day_of_fx_that_begins_at_midnight_is_refused() -> None:
    dataset = Dataset(instrument=EUR_USD, timeframe=Timeframe.D1)
    given = candles(dataset)
    shifted = CandleArrays.of(dataset, given.time // 86_400 * 86_400 + 86_400, given.numbers)

    with pytest.raises(InvalidCandles, match="times must lie on the D1 grid"):
        prepare(shifted[:-1], YEARS, 30)


@over_datasets
def test_a_bar_longer_than_an_hour_is_its_own_hour(dataset: Dataset) -> None:
    prepared = prepared_of(dataset)

    assert closed_hours(prepared).tolist() == list(range(1, len(prepared) + 1))
    assert hour_closes(prepared).tolist() == prepared.close.tolist()
    trend = hour_trend(prepared, 5)
    assert trend[10] == np.sign(int(prepared.close[10]) - int(prepared.close[5]))


@pytest.mark.parametrize("instrument", [BTC_USD, EUR_USD], ids=lambda instrument: instrument.name)
def test_minutes_make_the_hours_of_their_own_hours(instrument: Instrument) -> None:
    month = parse_timerange("2021-03")
    prepared = prepare(random_walk(Dataset(instrument=instrument, timeframe=Timeframe.M1), month, seed=3), month, 30)

    hours = closed_hours(prepared)

    assert (np.diff(hours) >= 0).all()
    assert hours[-1] == len(np.unique(prepared.time // 3600))


def test_a_session_is_that_of_the_close() -> None:
    """A trading day of FX closes at 21:00 or 22:00 UTC, by the season."""
    dataset = Dataset(instrument=EUR_USD, timeframe=Timeframe.D1)
    prepared = prepared_of(dataset)
    bars = np.arange(len(prepared), dtype=np.int32)
    hours = prepared.closes(bars) // 3600 % 24

    summer = in_session(prepared, TradeManagement.of({"hour_start": 21, "hour_length": 1}), bars)

    assert set(hours.tolist()) == {21, 22}
    assert summer.tolist() == (hours == 21).tolist()


@over_datasets
@pytest.mark.parametrize("name", ["sma_cross", "hour_pullback", "rsi_reversion", "donchian_breakout"])
def test_both_engines_give_the_same_trades(dataset: Dataset, name: str) -> None:
    strategy = load(name)
    parameters = repaired(strategy, {each.name: each.default for each in strategy.parameters} | {"trend": 1})
    warm_up = warm_up_bars(strategy, {key: (value, value) for key, value in parameters.items()}, dataset.timeframe)
    assert 0 < warm_up < 300
    prepared = prepare(candles(dataset), YEARS, warm_up)
    rules = TradingRules(direction=Direction.BOTH, rates=CostRates(fee=5e-4, slippage=2e-4, financing=1e-4))
    entries = find_entries(strategy, prepared, parameters, rules.direction)

    fast, slow = trade(prepared, entries, rules), reference.replay(prepared, entries, rules)

    assert fast.trades.tolist() == slow.trades.tolist()
    assert fast.equity.tobytes() == slow.equity.tobytes()
    assert len(run_strategy(strategy, prepared, parameters, rules).trades) == len(fast.trades)


@over_datasets
def test_surrogate_days_lie_on_the_grid(dataset: Dataset) -> None:
    """A day from summer lands in winter, and the other way round."""
    given = candles(dataset)

    moved = reordered(given, YEARS, day_order(np.zeros((YEARS.end - YEARS.start).days, dtype=np.int64), [7]))
    flipped = sign_flipped(moved, draw_signs(moved, YEARS, [7]))

    assert grid_of(dataset).lies_on(moved.time).all()
    assert (np.diff(moved.time) > 0).all()
    assert prepare(flipped, YEARS, 30).time.tolist() == moved.time.tolist()


@pytest.mark.parametrize("timeframe", [Timeframe.H4, Timeframe.D1])
def test_surrogate_hours_join_to_days_of_the_grid(timeframe: Timeframe) -> None:
    hours = candles(Dataset(instrument=EUR_USD, timeframe=Timeframe.H1))
    dataset = Dataset(instrument=EUR_USD, timeframe=timeframe)

    joined = joined_to(dataset, hours)

    assert grid_of(dataset).lies_on(joined.time).all()
    assert joined.volume.sum() == pytest.approx(hours.volume.sum())
    whole = grid_of(dataset).opens(YEARS)
    assert set(expected_slots(dataset, YEARS).tolist()) >= set(joined.time[are_among(joined.time, whole)].tolist())
