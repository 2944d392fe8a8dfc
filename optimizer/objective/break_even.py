"""Break-even cost: the cost per side at which the total return of given trades is zero.

Trade i of a dataset has the gross gain G_i = side * (exit - entry) * units and the turnover
N_i = units * (entry + exit), both in quote currency. E_i is the realised equity after i trades. If every side costs
the fraction c of its notional, and nothing else is paid, a position that is sized by the equity is
E_(i-1)(c) / E_(i-1) times as large, therefore

    E_n(c) = E_0 * product over i of (1 + (G_i - c * N_i) / E_(i-1))

The break-even cost is the c at which the mean over the datasets of E_n(c) / E_0 is 1: all datasets start with the same
capital. With positions of a fixed size, E_n(c) = E_0 + sum of (G_i - c * N_i), and c = sum of G_i / sum of N_i.

The trades are those of the run: a strategy whose entries depend on its losses (a cooldown) may trade otherwise at other
costs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun

BPS = 1e4
"""Basis points of one."""
BISECTIONS = 60
HIGHEST = 1.0
"""Highest cost considered, as a fraction of the notional of a side."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingCosts:
    """Costs of the trades of a part, in basis points of the notional of a side."""

    paid_bps: float | None
    """Mean cost that the backtest charged: fees, half-spreads, slippage and financing; None without trades."""
    break_even_bps: float | None
    """Cost at which the total return is zero; 0 if the trades lose money without costs, None without trades."""

    @property
    def sentence(self) -> str:
        """The costs in words, without a full stop."""
        if self.paid_bps is None or self.break_even_bps is None:
            return "undefined without trades"
        paid = f"{self.paid_bps:.2f} bps per side were charged"
        if not self.break_even_bps:
            return f"none, the trades lose money without costs; {paid}"
        return f"{self.break_even_bps:.2f} bps per side; {paid}"


def trading_costs(runs: Sequence[BacktestRun], *, fixed_size: bool) -> TradingCosts:
    """Return the charged and the break-even costs of runs; `fixed_size`: positions do not depend on the equity."""
    turnover = sum(float(_turnover(run).sum()) for run in runs)
    if not turnover:
        return TradingCosts(paid_bps=None, break_even_bps=None)
    charged = sum(float(run.trades["fees"].sum()) for run in runs)
    break_even = _of_fixed_sizes(runs) if fixed_size else _of_equity_shares(runs)
    return TradingCosts(paid_bps=_rounded(charged / turnover), break_even_bps=_rounded(max(0.0, break_even)))


def _of_fixed_sizes(runs: Sequence[BacktestRun]) -> float:
    gain = sum(float(_gain(run).sum()) / run.initial_equity for run in runs)
    return gain / sum(float(_turnover(run).sum()) / run.initial_equity for run in runs)


def _of_equity_shares(runs: Sequence[BacktestRun]) -> float:
    shares = [_joined(found) for found in _by_dataset(runs).values()]
    if _mean_growth(shares, 0.0) <= 1.0:
        return 0.0
    low, high = 0.0, HIGHEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_growth(shares, middle) > 1.0 else (low, middle)
    return high


def _mean_growth(shares: Sequence[tuple[Floats, Floats]], cost: float) -> float:
    """Return the mean over datasets of the final equity at a cost, as a multiple of the initial one."""
    return math.fsum(float(np.prod(np.maximum(0.0, 1.0 + gain - cost * turnover))) for gain, turnover in shares) / len(
        shares
    )


def _by_dataset(runs: Sequence[BacktestRun]) -> dict[str, list[BacktestRun]]:
    """Group the runs of disjoint windows of the same dataset: one account trades them one after another."""
    found: dict[str, list[BacktestRun]] = {}
    for run in runs:
        found.setdefault(run.dataset.name, []).append(run)
    return found


def _joined(runs: Sequence[BacktestRun]) -> tuple[Floats, Floats]:
    gains, turnovers = zip(*(_shares_of_equity(run) for run in runs), strict=True)
    return np.concatenate(gains), np.concatenate(turnovers)


def _shares_of_equity(run: BacktestRun) -> tuple[Floats, Floats]:
    """Return gain and turnover of each trade as shares of the equity before it."""
    before = run.initial_equity + np.concatenate(([0.0], np.cumsum(run.trades["net"])[:-1]))[: len(run.trades)]
    before = np.maximum(before, np.finfo(np.float64).tiny)
    return _gain(run) / before, _turnover(run) / before


def _gain(run: BacktestRun) -> Floats:
    gain: Floats = run.trades["net"] + run.trades["fees"]
    return gain


def _turnover(run: BacktestRun) -> Floats:
    trades, tick = run.trades, run.dataset.instrument.tick
    turnover: Floats = trades["units"] * (trades["entry_price"].astype(np.float64) + trades["exit_price"]) * tick
    return turnover


def _rounded(cost: float) -> float:
    return round(cost * BPS, 4)
