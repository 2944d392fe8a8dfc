"""Objective values: the built-in measures, and the call of a user's objective function.

Each value is maximised and covers the datasets run so far. NaN is an undefined value; a trial with one is infeasible.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.backtest.trade_totals import trade_totals
from optimizer.objective import metrics
from optimizer.objective.portfolio import Portfolio
from optimizer.objective.trial_result import rounded, rounded_all
from optimizer.strategies.fixed_environment import surroundings
from optimizer.strategies.registry import find_objective
from optimizer.strategies.time_limit import bounded
from tradeschool.errors import SettingsError

LARGEST = 1e6
"""Limit of a value: a study stores finite numbers only, and a profit factor without a loss is infinite."""
Measure = Callable[[Sequence[BacktestRun], Portfolio], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveInput:
    """Argument of a user's objective: the result of a trial over the datasets run so far."""

    metrics: Mapping[str, float]
    """Values by the names of `metric_names.METRICS`, with `expectancy` and `total_return`; NaN where undefined."""
    returns: NDArray[np.float64]
    """Daily returns of the equally weighted portfolio, shape (n_days,)."""
    trades: NDArray[np.float64]
    """Net result of each closed trade as a fraction of the initial equity, shape (n_trades,)."""


def measured(names: Sequence[str], runs: Sequence[BacktestRun], account: Portfolio) -> tuple[float, ...]:
    """Return the value of each objective, rounded to 12 significant digits.

    Raises:
        SettingsError: a user's objective does not exist, or returns anything but a number.
        StrategyNotImported: its module raises.
    """
    return tuple(rounded(_limited(_measure(name)(runs, account))) for name in names)


def are_sizes_read(names: Sequence[str]) -> bool:
    """Return whether an objective reads the sizes of its runs; the built-in ones read trades and the account."""
    return any(name not in MEASURES for name in names)


def expectancy(runs: Sequence[BacktestRun], account: Portfolio | None = None) -> float:
    """Return the mean net result of a closed trade as a fraction of the initial equity; NaN without a trade."""
    del account
    total = trade_totals(runs)
    return (total.profit - total.loss) / total.trades / runs[0].initial_equity if total.trades else math.nan


def total_return(runs: Sequence[BacktestRun], account: Portfolio) -> float:
    """Return the portfolio's return from its start to its end; NaN without a trade."""
    return float(account.equity[-1]) - 1.0 if any(len(run.trades) for run in runs) else math.nan


def _sharpe(_: Sequence[BacktestRun], account: Portfolio) -> float:
    return metrics.sharpe(account.returns)


def _sortino(_: Sequence[BacktestRun], account: Portfolio) -> float:
    return metrics.sortino(account.returns)


def _calmar(_: Sequence[BacktestRun], account: Portfolio) -> float:
    growth = metrics.cagr(float(account.equity[-1]), len(account.days))
    return metrics.calmar(growth, metrics.max_drawdown_intrabar(account))


def _profit_factor(runs: Sequence[BacktestRun], _: Portfolio) -> float:
    return metrics.pooled_profit_factor(runs)


MEASURES: Mapping[str, Measure] = {
    "sharpe": _sharpe,
    "sortino": _sortino,
    "calmar": _calmar,
    "profit_factor": _profit_factor,
    "expectancy": expectancy,
    "total_return": total_return,
}
"""By the names of `search_methods.OBJECTIVES`."""


def _measure(name: str) -> Measure:
    return MEASURES.get(name) or _user_measure(name)


def _user_measure(name: str) -> Measure:
    function = find_objective(name)
    if not callable(function):
        raise SettingsError(f"objective {name!r}: expected a function, was {type(function).__name__}")

    def call(runs: Sequence[BacktestRun], account: Portfolio) -> float:
        given = _input(runs, account)
        with surroundings(name), bounded():
            found = function(given)
        return _number(name, found)

    return call


def _input(runs: Sequence[BacktestRun], account: Portfolio) -> ObjectiveInput:
    own = {"expectancy": expectancy(runs), "total_return": total_return(runs, account)}
    net = np.concatenate([run.trades["net"] / run.initial_equity for run in runs])
    return ObjectiveInput(
        metrics={**metrics.figures(runs), **rounded_all(own)}, returns=account.returns.copy(), trades=net
    )


def _number(name: str, found: object) -> float:
    """Return a user's value; NaN means undefined."""
    if isinstance(found, bool) or not isinstance(found, Real) or math.isinf(float(found)):
        told = repr(found)[:80]
        raise SettingsError(f"objective {name!r}: expected a finite number, or NaN if undefined, was {told}")
    return float(found)


def _limited(value: float) -> float:
    return value if math.isnan(value) else min(max(value, -LARGEST), LARGEST)
