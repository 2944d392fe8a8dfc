"""backtesting.py over the task's signals, one unit a trade, no costs."""

import warnings

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from common import serve

warnings.filterwarnings("ignore")


def prepare(task):
    """The task as a backtest that is ready to run, and where refused orders are noted."""
    index = pd.to_datetime(task["time"], unit="s")
    columns = {name.capitalize(): task[name] for name in ("open", "high", "low", "close")}
    frame = pd.DataFrame(columns, index=index)
    opens, signals, stops, targets = task["open"], task["signal"], task["stop"], task["target"]
    refused = []

    class Follow(Strategy):
        def init(self):
            self.bar = -1

        def next(self):
            bar = len(self.data) - 1
            signal = signals[bar]
            if signal == 0 or bar + 1 >= len(opens):
                return
            if self.position.is_long if signal > 0 else self.position.is_short:
                return
            fill = opens[bar + 1]
            trade = self.buy if signal > 0 else self.sell
            try:
                trade(size=1, sl=fill - signal * stops[bar], tp=fill + signal * targets[bar])
            except ValueError:  # stop and target do not bracket the last close: the order is refused
                refused.append(bar)
                self.position.close()

    tester = Backtest(frame, Follow, cash=1e9, exclusive_orders=True, finalize_trades=True)
    return tester, refused


def run(prepared):
    """All trades, and the bars whose orders were refused."""
    tester, refused = prepared
    refused.clear()
    trades = tester.run()["_trades"]
    return {
        "entry_bar": trades["EntryBar"].to_numpy(),
        "exit_bar": trades["ExitBar"].to_numpy(),
        "entry_price": trades["EntryPrice"].to_numpy(),
        "exit_price": trades["ExitPrice"].to_numpy(),
        "side": np.sign(trades["Size"].to_numpy()),
        "net": trades["PnL"].to_numpy(),
        "refused": np.array(refused, dtype=np.int64),
    }


serve(prepare, run)
