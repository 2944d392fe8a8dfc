"""backtrader over the task's signals: market orders with a stop and a limit beside them, one unit a trade, no costs."""

import datetime

import backtrader as bt
import numpy as np
from common import serve


class Candles(bt.feed.DataBase):
    """The task's columns, a bar a step."""

    params = (("task", None),)

    def start(self):
        """From the first bar."""
        super().start()
        self.place = 0
        task = self.p.task
        self.rows = list(zip(*(task[name].tolist() for name in ("time", "open", "high", "low", "close")), strict=True))

    def _load(self):
        if self.place == len(self.rows):
            return False
        time, opened, high, low, close = self.rows[self.place]
        self.lines.datetime[0] = bt.date2num(datetime.datetime.fromtimestamp(time, datetime.UTC))
        self.lines.open[0], self.lines.high[0], self.lines.low[0], self.lines.close[0] = opened, high, low, close
        self.lines.volume[0] = self.lines.openinterest[0] = 0.0
        self.place += 1
        return True


class Follow(bt.Strategy):
    """The task's signals as orders."""

    params = (("task", None),)

    def __init__(self):
        self.legs = []
        self.closed = []

    def notify_trade(self, trade):
        """Keep what is closed; bars are counted from 1 here."""
        if trade.isclosed:
            self.closed.append((trade.baropen - 1, trade.barclose - 1, trade.pnl))

    def next(self):
        """At the close of a bar."""
        bar, task = len(self) - 1, self.p.task
        signal = task["signal"][bar]
        if signal == 0 or bar + 1 >= len(task["open"]) or self.position.size * signal > 0:
            return
        for order in self.legs:
            self.cancel(order)
        if self.position.size:
            self.close()
        fill = task["open"][bar + 1]
        stop, target = fill - signal * task["stop"][bar], fill + signal * task["target"][bar]
        enter = self.buy_bracket if signal > 0 else self.sell_bracket
        self.legs = enter(size=1, exectype=bt.Order.Market, stopprice=stop, limitprice=target)[1:]


def run(task):
    """All closed trades."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(1e9)
    cerebro.adddata(Candles(task=task))
    cerebro.addstrategy(Follow, task=task)
    closed = np.array(cerebro.run()[0].closed, dtype=float).reshape(-1, 3)
    return {"entry_bar": closed[:, 0], "exit_bar": closed[:, 1], "net": closed[:, 2]}


serve(lambda task: task, run)
