"""vectorbt over the task's signals, simulation and the same metrics, one unit a trade, no costs."""

import sys
import warnings

import numpy as np
import pandas as pd
import vectorbt as vbt
from common import serve

warnings.filterwarnings("ignore")


def prepare(task):
    """The task, and its prices as series."""
    index = pd.to_datetime(task["time"], unit="s")
    return task, {name: pd.Series(task[name], index=index) for name in ("open", "high", "low", "close")}


def run(prepared):
    """Simulation, daily Sharpe ratio, drawdown, win rate, and the trades."""
    task, prices = prepared
    signal = np.concatenate(([0], task["signal"][:-1]))  # filled at the next open
    stop = np.concatenate(([np.nan], (task["stop"][:-1] / task["open"][1:])))
    target = np.concatenate(([np.nan], (task["target"][:-1] / task["open"][1:])))
    portfolio = vbt.Portfolio.from_signals(
        prices["close"],
        entries=signal > 0,
        short_entries=signal < 0,
        price=prices["open"],
        open=prices["open"],
        high=prices["high"],
        low=prices["low"],
        sl_stop=np.where(signal != 0, stop, np.nan),
        tp_stop=np.where(signal != 0, target, np.nan),
        stop_entry_price="FillPrice",
        upon_opposite_entry="Reverse",
        upon_long_conflict="Ignore",
        size=1.0,
        init_cash=1e9,
        freq=pd.Timedelta(seconds=int(task["time"][1] - task["time"][0])),
    )
    records = portfolio.trades.values if hasattr(portfolio.trades, "values") else portfolio.trades.records_arr
    daily = portfolio.value().resample("1D").last().ffill().pct_change().dropna()
    metrics = (daily.mean() / daily.std() * np.sqrt(365), portfolio.max_drawdown(), (records["pnl"] > 0).mean())
    assert len(metrics) == 3
    return {
        "entry_bar": records["entry_idx"],
        "exit_bar": records["exit_idx"],
        "entry_price": records["entry_price"],
        "exit_price": records["exit_price"],
        "side": np.where(records["direction"] == 0, 1, -1),
        "net": records["pnl"],
    }


if __name__ == "__main__":
    print(vbt.__version__, file=sys.stderr)
    serve(prepare, run)
