"""Stress tests of a winner: crisis windows, higher costs, delayed orders, missing bars and shuffled trades.

All are computed on validation, drawdowns inside named windows also on train; test is not read.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.engine import engine_of
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import DAY_SECONDS, Prepared
from optimizer.level.constraints import StressLimits, StressWindow
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction, Level, Part
from optimizer.objective import metrics
from optimizer.objective.choices import Choice, cash, trade_choices, traded_bars
from optimizer.objective.objective import Read, prepare_level
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.sizing import sized
from optimizer.strategies.protocol import (
    Bar,
    BarStrategy,
    BaseStrategy,
    Decider,
    Position,
    SignalStrategy,
    load,
    repaired,
)
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.gate import Criterion
from tradeschool.markets.catalogue import find_instrument
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

MISSING_DRAWS = 5
"""Number of random removals of bars; the median Sharpe ratio counts."""
SHUFFLES = 1000
"""Number of random trade orders."""
SHUFFLE_PERCENTILE = 95.0

Runs = Sequence[BacktestRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class StressCase:
    """A winner and the bars on which it is stressed."""

    level: Level
    choices: Sequence[Choice]
    """What trades validation: the winner, or the choice of each window."""
    read: Read
    """Reads candles of train and validation."""
    prepared: Mapping[Part, Sequence[Prepared]]
    runs: Mapping[Part, Runs]
    """The winner's runs without stress, at its size."""
    seed: int

    def trade(self, prepared: Sequence[Prepared], level: Level | None = None) -> list[BacktestRun]:
        """Backtest the choices on these bars of validation at their sizes; `level`: one with other costs."""
        return trade_choices(level or self.level, prepared, self.choices)


def stress_readings(stress_case: StressCase, limits: StressLimits) -> list[Criterion]:
    """Return each stress test's value with its limit.

    A share of a Sharpe ratio that is not above zero is NaN and fails the gate.
    """
    base = _figures(stress_case.runs[Part.VALIDATION])
    costly = _figures(with_costs(stress_case, limits.costs_factor))
    late = _figures(delayed_by_one_bar(stress_case))
    missing = sorted(_figures(draw)["sharpe"] for draw in missing_bars(stress_case, limits.missing_fraction))
    window_drawdown = max((each for each in window_drawdowns(stress_case, limits).values()), default=math.nan)
    shuffled = shuffled_drawdown(stress_case.runs[Part.VALIDATION], stress_case.seed)
    factor, share, trades = f"costs_x{limits.costs_factor:g}", f"{limits.missing_fraction:g}", int(base["trades"])

    def floor(name: str, value: float, target: float, count: float = trades) -> Criterion:
        return Criterion(name=name, value=value, target=target, is_ceiling=False, trades=int(count))

    def ceiling(name: str, value: float, target: float) -> Criterion:
        return Criterion(name=name, value=value, target=target, is_ceiling=True, trades=trades)

    return [
        ceiling("window_drawdown", window_drawdown, limits.window_drawdown),
        floor(f"{factor}_profit_factor", costly["profit_factor"], limits.costs_profit_factor, costly["trades"]),
        floor(f"{factor}_sharpe_kept", _share_of(costly["sharpe"], base), limits.costs_sharpe_kept, costly["trades"]),
        floor("late_sharpe_kept", _share_of(late["sharpe"], base), limits.late_sharpe_kept, late["trades"]),
        floor(f"missing_{share}_sharpe_kept", _share_of(missing[len(missing) // 2], base), limits.missing_sharpe_kept),
        ceiling("shuffled_drawdown", shuffled, limits.shuffled_drawdown),
    ]


def stress_table(stress_case: StressCase, limits: StressLimits, readings: Sequence[Criterion]) -> dict[str, object]:
    """Return the content of the stress file: the readings, and each named window."""
    return {
        "readings": [reading.as_json() for reading in readings],
        "windows": [
            {"name": window.name, "window": str(window.window), "part": part, "max_drawdown_intrabar": value}
            for (window, part), value in window_drawdowns(stress_case, limits).items()
        ],
        "left_out": [
            window.name
            for window in limits.windows
            if window not in {each for each, _ in window_drawdowns(stress_case, limits)}
        ],
    }


def with_costs(stress_case: StressCase, factor: float) -> Runs:
    """Backtest validation with fees, slippage and half-spreads multiplied."""
    costs = {name: rate * factor for name, rate in stress_case.level.costs.rates.items()}
    level = stress_case.level.model_copy(update={"costs": Costs.model_validate(costs)})
    dearer = [
        replace(each, spreads=each.spreads * np.float32(factor)) for each in stress_case.prepared[Part.VALIDATION]
    ]
    return stress_case.trade(dearer, level)


def delayed_by_one_bar(stress_case: StressCase) -> Runs:
    """Backtest validation with every signal delayed by one bar."""
    bars = stress_case.prepared[Part.VALIDATION]
    return [_delayed(stress_case.level, *each) for each in traded_bars(stress_case.level, bars, stress_case.choices)]


def _delayed(level: Level, prepared: Prepared, choice: Choice) -> BacktestRun:
    if choice.parameters is None:
        return cash(prepared)
    strategy = load(level.strategy)
    whole = repaired(strategy, choice.parameters)
    late = _LateDecisions(strategy) if isinstance(strategy, BarStrategy) else _LateSignals(strategy)
    managed = TradeManagement.of(whole)
    rules = TradingRules.of(level.direction, level.costs, level.position_fraction, prepared.dataset, managed)
    return sized([engine_of(late)(prepared, whole, rules)], choice.size)[0]


def missing_bars(stress_case: StressCase, fraction: float) -> list[Runs]:
    """Backtest validation without a random share of its bars, several times."""
    return [stress_case.trade(_without_bars(stress_case, fraction, draw)) for draw in range(MISSING_DRAWS)]


def window_drawdowns(stress_case: StressCase, limits: StressLimits) -> dict[tuple[StressWindow, Part], float]:
    """Return the portfolio's maximum intrabar drawdown inside each named window that train or validation covers."""
    found = {}
    for window in limits.windows:
        for part in (Part.TRAIN, Part.VALIDATION):
            runs = [run for run in stress_case.runs[part] if _is_of(window, run.dataset)]
            inside = _inside(portfolio(runs), window.window) if runs else None
            if inside is not None:
                found[window, part] = metrics.max_drawdown_intrabar(inside)
    return found


def shuffled_drawdown(runs: Runs, seed: int) -> float:
    """Return the 95th percentile of drawdowns over random orders of all trades, weighted as in the portfolio.

    NaN without trades.
    """
    datasets = len({run.dataset.name for run in runs})
    gains = np.concatenate([_gains(run) for run in runs]) / datasets
    if not len(gains):
        return math.nan
    random = np.random.default_rng(seed)
    found = [
        metrics.max_drawdown(np.cumprod(1.0 + random.permutation(gains), dtype=np.float64)) for _ in range(SHUFFLES)
    ]
    return float(np.percentile(found, SHUFFLE_PERCENTILE))


def _figures(runs: Runs) -> dict[str, float]:
    return metrics.figures(runs)


def _share_of(sharpe: float, base: Mapping[str, float]) -> float:
    return sharpe / base["sharpe"] if base["sharpe"] > 0 else math.nan


class _Late:
    """A strategy whose signals are delayed by one bar."""

    def __init__(self, strategy: BaseStrategy) -> None:
        self.name, self.parameters, self.warm_up, self.repair = (
            strategy.name,
            strategy.parameters,
            strategy.warm_up,
            strategy.repair,
        )


class _LateSignals(_Late):
    def __init__(self, strategy: SignalStrategy) -> None:
        super().__init__(strategy)
        self._signals = strategy.signals

    def signals(self, candles: Prepared, parameters: Mapping[str, float], direction: Direction) -> NDArray[np.int8]:
        late = np.zeros(len(candles), dtype=np.int8)
        late[1:] = self._signals(candles, parameters, direction)[:-1]
        return late


class _LateDecisions(_Late):
    def __init__(self, strategy: BarStrategy) -> None:
        super().__init__(strategy)
        self._decider = strategy.decider

    def decider(self, dataset: Dataset, parameters: Mapping[str, float], direction: Direction) -> Decider:
        return _LateDecider(self._decider(dataset, parameters, direction))


class _LateDecider:
    def __init__(self, decider: Decider) -> None:
        self._decider, self._before = decider, 0

    def decide(self, bar: Bar, position: Position | None) -> int:
        now, self._before = self._before, self._decider.decide(bar, position)
        return now


def _without_bars(stress_case: StressCase, fraction: float, draw: int) -> Sequence[Prepared]:
    places = count()

    def read(dataset: Dataset, window: Window) -> CandleArrays:
        return _without(stress_case.read(dataset, window), fraction, [stress_case.seed, draw, next(places)])

    return list(prepare_level(stress_case.level, Part.VALIDATION, read))


def _without(candles: CandleArrays, fraction: float, seed: Sequence[int]) -> CandleArrays:
    kept = np.random.default_rng(seed).random(len(candles)) >= fraction
    columns = {name: getattr(candles, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")}
    half_spread = None if candles.half_spread is None else candles.half_spread[kept]
    return replace(candles, half_spread=half_spread, **columns)


def _is_of(window: StressWindow, dataset: Dataset) -> bool:
    return not window.pairs or dataset.instrument.pair in {find_instrument(pair).pair for pair in window.pairs}


def _inside(account: Portfolio, window: Window) -> Portfolio | None:
    first, last = window.start_seconds // DAY_SECONDS, window.end_seconds // DAY_SECONDS
    inside = (account.days >= first) & (account.days < last)
    if not inside.any():
        return None
    return Portfolio(
        days=account.days[inside], returns=account.returns[inside], low_returns=account.low_returns[inside]
    )


def _gains(run: BacktestRun) -> NDArray[np.float64]:
    """Return each trade's gain as a fraction of the account's equity before it; zero after a total loss."""
    net = run.trades["net"]
    before = run.initial_equity + np.concatenate(([0.0], np.cumsum(net)[:-1]))[: len(net)]
    gains: NDArray[np.float64] = np.divide(net, before, out=np.zeros(len(net)), where=before > 0)
    return gains * run.size
