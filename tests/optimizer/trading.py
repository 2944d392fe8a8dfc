"""Shorthand of the backtest's tests: entries by hand, fills as rows, random parameters."""

import numpy as np

from optimizer.backtest.costs import Rates
from optimizer.backtest.entries import Entries
from optimizer.backtest.run import Reason, Run
from optimizer.strategy import load

SMA = load("sma_cross")
FREE = Rates(fee=0.0, slippage=0.0)
COSTS = [FREE, Rates(fee=5e-4, slippage=2e-4)]


def entries_of(*signals: tuple[int, int, int, int]) -> Entries:
    """Rows of bar, signal, stop distance and target distance."""
    bar, signal, stop, target = np.array(signals, dtype=np.int64).reshape(-1, 4).T
    return Entries(
        bar=bar.astype(np.int32), signal=signal.astype(np.int8), stop_ticks=stop.copy(), target_ticks=target.copy()
    )


def fills(run: Run) -> list[tuple[int, int, int, int, int, str]]:
    """Entry bar and price, exit bar and price, side, reason."""
    return [
        (
            int(trade["entry_bar"]),
            int(trade["entry_price"]),
            int(trade["exit_bar"]),
            int(trade["exit_price"]),
            int(trade["side"]),
            Reason(int(trade["reason"])).name.lower(),
        )
        for trade in run.trades
    ]


def random_parameters(random: np.random.Generator) -> dict[str, float]:
    return SMA.repair(
        {
            "fast": int(random.integers(2, 12)),
            "slow": int(random.integers(7, 40)),
            "atr_period": int(random.integers(2, 29)),
            "stop_atr": float(random.choice([0.5, 1.0, 1.5, 3.5, round(random.uniform(0.5, 5), 3)])),
            "target_atr": float(random.choice([0.5, 1.0, 2.5, 7.0, round(random.uniform(0.5, 8), 3)])),
        }
    )
