"""Performance metrics, one function per formula. Undefined values are NaN, and NaN meets no target."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.backtest.trade_totals import TradeTotals, trade_totals
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.objective.trial_result import rounded_all

DAYS_A_YEAR = 365
"""Calendar days per year, because closed days return zero. For markets open 24 hours on 5 days, this equals
annualisation by trading days to within 0.2 %.
"""
NORMAL_95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


def figures(runs: Sequence[BacktestRun]) -> dict[str, float]:
    """Return all metrics of the runs, rounded to 12 significant digits.

    All stored, displayed and compared metrics come from here, so the same runs give the same digits everywhere.
    """
    return rounded_all(summarise(runs))


def summarise(runs: Sequence[BacktestRun]) -> dict[str, float]:
    """Return all metrics in full precision, by the names of `METRICS`: trades pooled, days as one portfolio."""
    total = trade_totals(runs)
    return _trade_metrics(total) | _daily_metrics(portfolio(runs)) | {"exposure": exposure(runs, total)}


def _trade_metrics(total: TradeTotals) -> dict[str, float]:
    low, high = wilson_interval(total.wins, total.trades)
    return {
        "trades": total.trades,
        "trades_open_at_end": total.open_at_end,
        "win_rate": _share(total.wins, total.trades),
        "win_rate_low": low,
        "win_rate_high": high,
        "profit_factor": _factor(total.profit, total.loss),
    }


def _daily_metrics(account: Portfolio) -> dict[str, float]:
    intrabar = max_drawdown_intrabar(account)
    growth = cagr(float(account.equity[-1]), len(account.days))
    return {
        "sharpe": sharpe(account.returns),
        "sortino": sortino(account.returns),
        "cagr": growth,
        "max_drawdown": max_drawdown(account.equity),
        "max_drawdown_intrabar": intrabar,
        "calmar": calmar(growth, intrabar),
        "days": len(account.days),
    }


def win_rate(net: NDArray[np.float64]) -> float:
    """Return the share of trades with a net profit; break-even is not a win; NaN without trades."""
    return _share(int(np.count_nonzero(net > 0)), len(net))


def _share(won: int, trades: int) -> float:
    return won / trades if trades else math.nan


def wilson_interval(won: int, trades: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a win rate; NaN without trades.

    Source: E. B. Wilson, Probable Inference (1927), JASA 22:209-212; as eq. (4) of Brown, Cai and DasGupta, Interval
    Estimation for a Binomial Proportion (2001), Statistical Science 16:101-133.
    """
    if trades == 0:
        return math.nan, math.nan
    share, z2 = won / trades, NORMAL_95**2
    centre = (share + z2 / (2 * trades)) / (1 + z2 / trades)
    half = NORMAL_95 / (1 + z2 / trades) * math.sqrt(share * (1 - share) / trades + z2 / (4 * trades**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def profit_and_loss(net: NDArray[np.float64]) -> tuple[float, float]:
    """Return gross profit and gross loss, both non-negative."""
    return float(net[net > 0].sum()), float(-net[net < 0].sum())


def profit_factor(net: NDArray[np.float64]) -> float:
    """Return gross profit over gross loss; infinite without a loss, NaN without both."""
    return _factor(*profit_and_loss(net))


def pooled_profit_factor(runs: Sequence[BacktestRun]) -> float:
    """Return the profit factor of all trades of the runs."""
    total = trade_totals(runs)
    return _factor(total.profit, total.loss)


def _factor(profit: float, loss: float) -> float:
    if loss == 0:
        return math.inf if profit > 0 else math.nan
    return profit / loss


def sharpe(returns: NDArray[np.float64]) -> float:
    """Return the annualised Sharpe ratio: mean over sample standard deviation of daily returns; NaN if constant.

    Source: W. F. Sharpe, The Sharpe Ratio (1994), J. of Portfolio Management 21:49-58, with a riskless rate of zero;
    annualised by the square root of time, A. W. Lo (2002), Financial Analysts Journal 58:36-52.
    """
    if len(returns) < 2 or np.minimum.reduce(returns) == np.maximum.reduce(returns):
        return math.nan
    mean, deviation = mean_and_deviation(returns)
    return float(mean / deviation) * math.sqrt(DAYS_A_YEAR)


def mean_and_deviation(returns: NDArray[np.float64]) -> tuple[np.float64, np.float64]:
    """Return mean and sample standard deviation of at least two returns: NumPy's, without its checks, in half the
    time.
    """
    count = len(returns)
    mean = np.add.reduce(returns) / count
    distances = returns - mean
    return mean, np.sqrt(np.add.reduce(distances * distances) / (count - 1))


def sortino(returns: NDArray[np.float64]) -> float:
    """Return the annualised Sortino ratio: mean over downside deviation of daily returns; NaN without a loss.

    The downside deviation is the root mean square of negative returns over all days, other days counting as zero.
    Source: F. A. Sortino and L. N. Price, Performance Measurement in a Downside Risk Framework (1994), J. of Investing
    3:59-64, with a target of zero.
    """
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(returns.mean()) / downside * math.sqrt(DAYS_A_YEAR) if downside > 0 else math.nan


def cagr(growth: float, days: int) -> float:
    """Return the compound annual growth rate; -1 after a total loss, infinite beyond float64.

    Source: (E_T / E_0) ** (365 / days) - 1.
    """
    if growth <= 0:
        return -1.0
    try:
        return math.expm1(math.log(growth) * DAYS_A_YEAR / days)
    except OverflowError:
        return math.inf


def max_drawdown(equity: NDArray[np.float64]) -> float:
    """Return the maximum drawdown of daily closes, as a fraction of the peak; equity starts from 1."""
    peaks = np.maximum.accumulate(np.concatenate(([1.0], equity)))[1:]
    return max(0.0, float(np.max((peaks - equity) / peaks)))


def max_drawdown_intrabar(account: Portfolio) -> float:
    """Return the maximum drawdown from the highest daily close to a later intraday low, as a fraction of the peak."""
    return account.max_drawdown_intrabar


def calmar(growth: float, drawdown: float) -> float:
    """Return the Calmar ratio: CAGR over the intrabar maximum drawdown; NaN without a drawdown.

    Source: T. W. Young, Calmar Ratio: A Smoother Tool (1991), Futures 20:40.
    """
    return growth / drawdown if drawdown > 0 else math.nan


def exposure(runs: Sequence[BacktestRun], total: TradeTotals) -> float:
    """Return the share of judged bars with a position, at least in part; `total`: trade totals of the runs."""
    return total.held_bars / sum(run.evaluated_bars for run in runs)
