"""Regime analysis: labels each day by trend and volatility, and computes metrics of the winner per regime.

A day's labels use only the closes of earlier days, so a strategy could have known them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.result import BacktestRun
from optimizer.bars.preparation import DAY_SECONDS, Prepared
from optimizer.level.spec import Part
from optimizer.objective import metrics
from optimizer.objective.trial_result import finite_or_none
from tradeschool.ohlcv.arrays import CandleArrays

TREND_DAYS = 50
"""Days over which the trend is measured."""
TREND_BOUND = 0.5
"""Move over that period, in its standard deviations, from which it counts as a trend."""
VOLATILITY_DAYS = 20
"""Days over which volatility is measured."""
VOLATILITY_MEMORY = 365
"""Days among which a day's volatility is ranked; fewer at the start."""
CARRIES = 0.8
"""Share of the profit of all profitable regimes from which one regime dominates."""


class Trend(StrEnum):
    """Trend regime."""

    BULL = "bull"
    BEAR = "bear"
    SIDEWAYS = "sideways"


class Volatility(StrEnum):
    """Volatility regime, ranked within the preceding year."""

    LOW = "low"
    MID = "mid"
    HIGH = "high"


RegimeCell = tuple[Trend, Volatility]
TradedRun = tuple[Prepared, BacktestRun]
"""A dataset's bars and the run on them."""
CELLS: tuple[RegimeCell, ...] = tuple(product(Trend, Volatility))
UNLABELLED = -1
"""Label of a day with too little history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeLabels:
    """Regime of each calendar day of a dataset."""

    first_day: int
    """In days since 1970-01-01 UTC."""
    cells: NDArray[np.int64]
    """Indices into `CELLS`, or `UNLABELLED`; shape (n_days,)."""

    def of(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the regimes of days given as days since 1970-01-01; `UNLABELLED` outside."""
        place = days - self.first_day
        inside = (place >= 0) & (place < len(self.cells))
        return np.where(inside, self.cells[np.clip(place, 0, len(self.cells) - 1)], UNLABELLED)


def label(candles: CandleArrays) -> RegimeLabels:
    """Label every day from the first candle's to the one after the last's; at least one candle.

    The day after the last is known, too: a candle that opens on the last day may close on it.
    """
    days = candles.time // DAY_SECONDS
    first, last = int(days[0]), int(days[-1])
    closes = candles.close[np.searchsorted(days, np.arange(first, last + 1), side="right") - 1]
    moves = np.diff(np.log(closes))
    spreads = _spreads(moves)
    # On day d, closes 0..d-1 are known: the first d - 1 moves.
    cells = np.array([_cell(moves[: max(0, day - 1)], spreads) for day in range(len(closes) + 1)])
    return RegimeLabels(first_day=first, cells=cells)


def regime_table(runs: Mapping[Part, Sequence[TradedRun]], labels: Mapping[str, RegimeLabels]) -> dict[str, object]:
    """Return days, trades and results by part and regime, and whether one regime dominates the profit.

    `labels` are by dataset name. A trade belongs to the regime of its exit day, a daily return to its own day.
    """
    return {
        "definition": {
            "trend": f"{TREND_DAYS}-day move beyond +-{TREND_BOUND} standard deviations",
            "volatility": f"terciles of {VOLATILITY_DAYS}-day volatility among the previous {VOLATILITY_MEMORY} days",
        },
        **{part: _table(found, labels) for part, found in runs.items()},
    }


def _spreads(moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the volatility over each window of `VOLATILITY_DAYS` moves."""
    if len(moves) < VOLATILITY_DAYS:
        return np.zeros(0)
    spreads: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(moves, VOLATILITY_DAYS).std(axis=1)
    return spreads


def _cell(moves: NDArray[np.float64], spreads: NDArray[np.float64]) -> int:
    """Return the regime of the day after these daily log returns."""
    if len(moves) < TREND_DAYS:
        return UNLABELLED
    known = spreads[max(0, len(moves) - VOLATILITY_MEMORY) : len(moves) - VOLATILITY_DAYS + 1]
    return CELLS.index((_trend(moves[-TREND_DAYS:]), _volatility(known)))


def _trend(moves: NDArray[np.float64]) -> Trend:
    spread = float(moves.std(ddof=1)) * math.sqrt(len(moves))
    strength = float(moves.sum()) / spread if spread > 0 else 0.0
    if abs(strength) < TREND_BOUND:
        return Trend.SIDEWAYS
    return Trend.BULL if strength > 0 else Trend.BEAR


def trends(moves: NDArray[np.float64]) -> list[Trend | None]:
    """Return the trend on each day, by the daily log returns before it; None until there are enough of them."""
    return [None if day < TREND_DAYS else _trend(moves[day - TREND_DAYS : day]) for day in range(len(moves) + 1)]


def _volatility(spreads: NDArray[np.float64]) -> Volatility:
    """Return the tercile of the latest value among the earlier ones."""
    rank = float(np.mean(spreads[:-1] < spreads[-1]))
    return Volatility.LOW if rank < 1 / 3 else Volatility.MID if rank < 2 / 3 else Volatility.HIGH


def _table(runs: Sequence[TradedRun], labels: Mapping[str, RegimeLabels]) -> dict[str, object]:
    days = np.concatenate([labels[run.dataset.name].of(_days(run)) for _, run in runs])
    returns = np.concatenate([_returns(run) for _, run in runs])
    trades = np.concatenate([labels[run.dataset.name].of(_exit_days(prepared, run)) for prepared, run in runs])
    net = np.concatenate([run.trades["net"] / run.initial_equity for _, run in runs])
    rows = [_row(place, returns[days == place], net[trades == place]) for place in (*range(len(CELLS)), UNLABELLED)]
    return {"cells": rows, **_carrier(rows)}


def _row(place: int, returns: NDArray[np.float64], net: NDArray[np.float64]) -> dict[str, object]:
    trend, volatility = CELLS[place] if place != UNLABELLED else (None, None)
    return {
        "trend": trend,
        "volatility": volatility,
        "dataset_days": len(returns),
        "trades": len(net),
        "net": float(net.sum()),
        "win_rate": finite_or_none(metrics.win_rate(net)),
        "profit_factor": finite_or_none(metrics.profit_factor(net)),
        "dataset_day_sharpe": finite_or_none(metrics.sharpe(returns)),
    }


def _carrier(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return the most profitable regime, its share of all profitable regimes' profit, and whether it dominates."""
    gains = [max(0.0, float(str(row["net"]))) for row in rows]
    total = sum(gains)
    best = rows[int(np.argmax(gains))]
    share = max(gains) / total if total > 0 else None
    return {
        "best_cell": {"trend": best["trend"], "volatility": best["volatility"]} if total > 0 else None,
        "best_share": share,
        "one_cell_carries": share is not None and share >= CARRIES,
    }


def _days(run: BacktestRun) -> NDArray[np.int64]:
    return run.first_day + np.arange(len(run.equity), dtype=np.int64)


def _exit_days(prepared: Prepared, run: BacktestRun) -> NDArray[np.int64]:
    days: NDArray[np.int64] = prepared.time[run.trades["exit_bar"]] // DAY_SECONDS
    return days


def _returns(run: BacktestRun) -> NDArray[np.float64]:
    start = np.concatenate(([run.initial_equity], run.equity[:-1]))
    return np.divide(run.equity - start, start, out=np.zeros(len(start)), where=start > 0)
