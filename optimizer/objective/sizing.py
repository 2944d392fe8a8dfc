"""Size of a trial's account: the share of the equity that it trades, solved from a level's risk budget on train.

The size k multiplies every daily return of the portfolio, as if the share k of each dataset's equity were traded and
restored daily. Sharpe ratio, win rate and profit factor do not depend on it; volatility, drawdown and growth do.

With a target volatility, k = target / (s * sqrt(365)), where s is the sample standard deviation of the daily returns at
size 1. Source: A. Moreira and T. Muir, Volatility-Managed Portfolios (2017), J. of Finance 72:1611-1644, here with one
constant scale.

With a maximum drawdown, k is the largest size whose intrabar drawdown does not exceed it, by bisection. The logarithm
of the lowest ratio of a low to an earlier peak is a minimum of sums of log(1 + k * r). Each is concave in k and 0 at
k = 0, so the drawdown never falls as k grows.

Both are capped: k times the notional of a position over the equity is at most `max_leverage`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.backtest.result import BacktestRun
from optimizer.level.metric_names import LEVERAGE, SIZE
from optimizer.level.risk import Risk
from optimizer.level.spec import Level
from optimizer.objective.metrics import DAYS_A_YEAR, mean_and_deviation
from optimizer.objective.portfolio import Portfolio
from optimizer.objective.trial_result import rounded
from optimizer.strategies.trade_management import TradeManagement

WHOLE = 1.0
"""Size of an account without a risk budget."""
BISECTIONS = 60
BELOW = 1.0 - 1e-9
"""Factor that keeps a solved size below the drawdown limit after rounding."""


def solve_size(level: Level, managed: TradeManagement, account: Portfolio, runs: Sequence[BacktestRun]) -> float:
    """Return the size of an account at size 1, rounded to 12 significant digits; 1 without a risk budget.

    An account that never moves has the largest size that the leverage allows.
    """
    if level.risk is None:
        return WHOLE
    largest = level.risk.max_leverage / position_leverage(level, managed, runs)
    return rounded(min(largest, _budgeted(level.risk, account, largest)))


def risk_metrics(level: Level, managed: TradeManagement, runs: Sequence[BacktestRun]) -> dict[str, float]:
    """Return size and leverage of an account's runs by the names of `RISK_METRICS`; empty without a risk budget."""
    if level.risk is None:
        return {}
    size = runs[0].size
    return {SIZE: size, LEVERAGE: rounded(size * position_leverage(level, managed, runs))}


def sized(runs: Sequence[BacktestRun], size: float) -> list[BacktestRun]:
    """Return the runs as parts of an account of this size."""
    return [run if run.size == size else replace(run, size=size) for run in runs]


def held_size(level: Level, held: Portfolio) -> float:
    """Return the size of a buy-and-hold account by the level's risk budget: the passive account of the same risk.

    `held`: the account on train at size 1, whose position is the whole equity.
    """
    if level.risk is None:
        return WHOLE
    return rounded(min(level.risk.max_leverage, _budgeted(level.risk, held, level.risk.max_leverage)))


def position_leverage(level: Level, managed: TradeManagement, runs: Sequence[BacktestRun]) -> float:
    """Return the largest notional of a position over the equity at its fill, at size 1.

    It is the position fraction, exact or as the cap of `atr_risk`. Positions of fixed units have no such limit, so
    their largest notional among the trades of the runs counts; the level's fraction without a trade.
    """
    fraction = managed.position_fraction or level.position_fraction
    if managed.position_units <= 0:
        return fraction
    return max((_largest_notional(run) for run in runs if len(run.trades)), default=fraction)


def volatility(account: Portfolio) -> float:
    """Return the annualised sample standard deviation of the daily returns; 0 with less than two days."""
    returns = account.returns
    return float(mean_and_deviation(returns)[1]) * math.sqrt(DAYS_A_YEAR) if len(returns) > 1 else 0.0


def _budgeted(risk: Risk, account: Portfolio, largest: float) -> float:
    if risk.max_drawdown is not None:
        return _by_drawdown(account, risk.max_drawdown, largest)
    found = volatility(account)
    return (risk.target_volatility or 0.0) / found if found > 0 else largest


def _by_drawdown(account: Portfolio, limit: float, largest: float) -> float:
    low, high = 0.0, largest
    if account.max_drawdown_at(high) <= limit:
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if account.max_drawdown_at(middle) <= limit else (low, middle)
    return low * BELOW


def _largest_notional(run: BacktestRun) -> float:
    """Return the largest entry notional over the realised equity before it; trades after a total loss do not count."""
    net, tick = run.trades["net"], run.dataset.instrument.tick
    before = run.initial_equity + np.concatenate(([0.0], np.cumsum(net)[:-1]))
    notional = run.trades["units"] * run.trades["entry_price"].astype(np.float64) * tick
    shares = np.divide(notional, before, out=np.zeros(len(net)), where=before > 0)
    return float(shares.max())
