"""The paper account: the engine of the search over all candles since the first day, without a forced last exit.

The whole test is traded again at each call, so positions are carried over days. A bar that repeats the last close is
added after the last real one: the engine closes positions at the last bar, and that bar belongs to no recorded day.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.engine import run_strategy
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import DAY_SECONDS, Prepared, prepare
from optimizer.forward.rule import ForwardDataset, ForwardRule, midnight
from optimizer.level.spec import Part
from optimizer.objective.objective import Read
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.strategies.fixed_environment import surroundings
from optimizer.strategies.protocol import load, repaired
from optimizer.strategies.time_limit import bounded
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.winner_setup import WinnerSetup
from tradeschool.errors import DataIncomplete
from tradeschool.log import about
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import PRICES, CandleArrays, joined

Trade = Callable[[Prepared], BacktestRun]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySeries:
    """Daily series of the sized account; arrays of shape (n_days,)."""

    days: tuple[date, ...]
    returns: Floats
    low_returns: Floats


def paper_account(rule: ForwardRule, read: Read, until: date) -> DailySeries:
    """Return the days of a forward test before `until`; none if no market was open yet.

    Raises:
        DataIncomplete, InvalidCandles: candles are missing or invalid.
        SettingsError: the strategy is not found, or a parameter is not its own.
    """
    setup = TradedSetup.of_rule(rule)
    runs = []
    for each in rule.datasets:
        candles = read(each.source, needed_window(each, until))
        if (prepared := _prepared(each, candles, rule.start, until)) is not None:
            runs.append(_before(setup.trade(prepared), until))
    traded = [run for run in runs if len(run.equity)]
    return (
        _sized(portfolio(traded), rule.size)
        if traded
        else DailySeries(days=(), returns=np.empty(0), low_returns=np.empty(0))
    )


def train_account(setup: WinnerSetup, read: Read, size: float) -> DailySeries:
    """Return the days of the setup's train windows, from which the rule takes its deviation and bound.

    Raises:
        DataIncomplete, InvalidCandles: candles are missing or invalid.
    """
    traded = TradedSetup.of_winner(setup)
    runs = []
    for dataset, window in setup.windows(Part.TRAIN):
        with about(dataset=dataset.name):
            prepared = prepare(read(dataset, window), window, setup.warm_up(dataset))
        runs.append(traded.trade(prepared))
    return _sized(portfolio(runs), size)


def needed_window(dataset: ForwardDataset, until: date) -> Window:
    """Return the candles that the days before `until` need: to the close of the last one that opens before it."""
    end = int(midnight(until).timestamp())
    return Window.of_seconds(int(midnight(dataset.candles_from).timestamp()), grid_of(dataset.source).close_of(end - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class TradedSetup:
    """What is traded on every dataset."""

    strategy: str
    setup: ForwardRule | WinnerSetup

    @classmethod
    def of_rule(cls, rule: ForwardRule) -> "TradedSetup":
        """Return the setup of a rule."""
        return cls(strategy=rule.strategy, setup=rule)

    @classmethod
    def of_winner(cls, setup: WinnerSetup) -> "TradedSetup":
        """Return the setup of a winner."""
        return cls(strategy=setup.strategy, setup=setup)

    def trade(self, prepared: Prepared) -> BacktestRun:
        """Backtest one dataset."""
        strategy, found = load(self.strategy), self.setup
        whole = repaired(strategy, found.parameters)
        managed = TradeManagement.of(whole)
        rules = TradingRules.of(found.direction, found.costs, found.position_fraction, prepared.dataset, managed)
        with about(dataset=prepared.dataset.name), surroundings(self.strategy), bounded():
            return run_strategy(strategy, prepared, whole, rules)


def _prepared(dataset: ForwardDataset, candles: CandleArrays, start: date, until: date) -> Prepared | None:
    """Prepare the candles of a test with the warm-up before its first day; None before the first candle."""
    first = int(np.searchsorted(candles.time, int(midnight(start).timestamp())))
    if first == len(candles):
        return None
    begin = max(0, first - dataset.warm_up_bars)
    kept = candles[np.arange(begin, len(candles))]
    whole = joined(candles.dataset, [kept, _repeated_close(kept, until)])
    window = Window(midnight(dataset.candles_from), midnight(until) + timedelta(days=3))
    try:
        return prepare(whole, window, dataset.warm_up_bars)
    except DataIncomplete:  # fewer bars than the warm-up so far: it lasts into the test
        return None


def _repeated_close(candles: CandleArrays, until: date) -> CandleArrays:
    """Return one bar at the last close, which opens after the last day."""
    last = candles[np.array([len(candles) - 1])]
    end = int(midnight(until).timestamp())
    opened = np.array([grid_of(candles.dataset).close_of(end - 1)], dtype=np.int64)
    flat = dict.fromkeys(PRICES, last.close)
    return CandleArrays.of(candles.dataset, opened, {**last.numbers, **flat})


def _before(run: BacktestRun, until: date) -> BacktestRun:
    """Return a run without the days from `until` on."""
    count = max(0, int(midnight(until).timestamp()) // DAY_SECONDS - run.first_day)
    return replace(run, equity=run.equity[:count], lows=run.lows[:count])


def _sized(account: Portfolio, size: float) -> DailySeries:
    return DailySeries(
        days=tuple(date(1970, 1, 1) + timedelta(days=day) for day in account.days.tolist()),
        returns=account.returns * size,
        low_returns=account.low_returns * size,
    )


def datasets_of(setup: WinnerSetup) -> Sequence[Dataset]:
    """Return the distinct datasets of a setup, in order."""
    return list(dict.fromkeys(each.source for each in setup.datasets))
