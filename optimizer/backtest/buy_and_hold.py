"""Buy-and-hold benchmark: one position from the first judged bar to the last, costs included."""

import numpy as np

from optimizer.backtest.costs import CostRates
from optimizer.backtest.entries import Entries
from optimizer.backtest.kernel import trade
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Direction


def buy_and_hold(prepared: Prepared, side: int, rates: CostRates) -> BacktestRun:
    """Buy (+1) or short (-1) with the whole equity at the second judged bar's open and hold to the end."""
    none, nothing = np.zeros(1, dtype=np.int64), np.zeros(1)
    entry = Entries(
        bar=np.array([prepared.first_evaluated], dtype=np.int32),
        signal=np.array([side], dtype=np.int8),
        enters=np.ones(1, dtype=np.bool_),
        stop_ticks=none,
        target_ticks=none,
        trail_ticks=none,
        atr_ticks=nothing,
    )
    return trade(prepared, entry, TradingRules(direction=Direction.BOTH, rates=rates))
