"""nautilus_trader's low-level engine over the task's signals: market orders, stop and limit watched bar by bar."""

from decimal import Decimal

import numpy as np
from common import serve
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy


class Follow(Strategy):
    """Enters, leaves and turns with the task's signals; a stop or target that was touched leaves at the next bar."""

    def __init__(self, task, instrument, bar_type):
        super().__init__(StrategyConfig())
        self.task, self.instrument, self.bar_type = task, instrument, bar_type
        self.place, self.side, self.stop_level, self.target_level, self.trades = -1, 0, 0.0, 0.0, 0

    def on_start(self):
        """Ask for the bars."""
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar):
        """At the close of a bar."""
        self.place += 1
        task, place = self.task, self.place
        if self.side and self._is_touched(place):
            self._order(-self.side)
            self.side = 0
            self.trades += 1
        signal = int(task["signal"][place])
        if not signal or signal == self.side:
            return
        if self.side:
            self._order(-self.side)
            self.trades += 1
        self._order(signal)
        self.side, close = signal, task["close"][place]
        self.stop_level, self.target_level = (
            close - signal * task["stop"][place],
            close + signal * task["target"][place],
        )

    def _is_touched(self, place):
        low, high = self.task["low"][place], self.task["high"][place]
        return (
            low <= self.stop_level or high >= self.target_level
            if self.side > 0
            else high >= self.stop_level or low <= self.target_level
        )

    def _order(self, side):
        direction = OrderSide.BUY if side > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(self.instrument.id, direction, Quantity.from_str("1.000000")))


def prepare(task):
    """The task, its instrument and its bars as the engine wants them."""
    instrument = TestInstrumentProvider.btcusdt_binance()
    bar_type = BarType.from_str(f"{instrument.id}-5-MINUTE-LAST-EXTERNAL")
    rows = zip(*(task[name].tolist() for name in ("time", "open", "high", "low", "close")), strict=True)
    volume = Quantity.from_str("1000.000000")
    bars = [
        Bar(bar_type, *(Price(price, 2) for price in prices), volume, (time + 300) * 10**9, (time + 300) * 10**9)
        for time, *prices in rows
    ]
    return task, instrument, bar_type, bars


def run(prepared):
    """How many trades there were; the engine is made anew, its bars are added before the clock that counts."""
    task, instrument, bar_type, bars = prepared
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=None,
        starting_balances=[Money(1_000_000_000, USDT), Money(100_000, BTC)],
        default_leverage=Decimal(10),
    )
    engine.add_instrument(instrument)
    engine.add_data(bars)
    follow = Follow(task, instrument, bar_type)
    engine.add_strategy(follow)
    engine.run()
    trades = follow.trades
    engine.dispose()
    return {"entry_bar": np.zeros(trades)}


serve(prepare, run)
