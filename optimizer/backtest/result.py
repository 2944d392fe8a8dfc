"""Inputs and outputs of a backtest: rules, trades and the run."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.costs import CostRates
from optimizer.backtest.volatility import risk_of_one_atr
from optimizer.bars.preparation import Prepared
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.markets.instruments import Dataset

INITIAL_EQUITY = 10_000.0
"""Initial equity of every dataset, in its quote currency."""


class ExitReason(IntEnum):
    """Reason of an exit."""

    END = 0
    """The run ended: at its last close, or at the close of a bar with a total loss."""
    STOP = 1
    TARGET = 2
    SIGNAL = 3
    TIME = 4
    """The position was held for `max_bars` bars."""


TRADE = np.dtype(
    [
        ("entry_bar", np.int32),
        ("exit_bar", np.int32),
        ("entry_price", np.int32),  # ticks
        ("exit_price", np.int32),  # ticks
        ("side", np.int8),  # +1 long, -1 short
        ("reason", np.int8),  # a Reason
        ("units", np.float64),  # units of the base currency
        ("fees", np.float64),  # fee, half-spread and slippage of both sides, and financing; in quote currency
        ("net", np.float64),  # side * (exit - entry) * units - fees, in quote currency
    ],
    align=True,
)
WIDE_TRADE = np.dtype(
    [(name, np.int64 if name.endswith("price") else TRADE[name]) for name in TRADE.names or ()], align=True
)
"""`TRADE` with prices of 64 bits."""
Trades = NDArray[np.void]
"""Array of `TRADE`, ordered by entry."""


def trade_type(prices: np.dtype[np.signedinteger]) -> np.dtype[np.void]:
    """Return the record type of trades for prices of this integer type."""
    return WIDE_TRADE if prices.itemsize == WIDE_TRADE["entry_price"].itemsize else TRADE


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingRules:
    """Rules for trading one dataset."""

    direction: Direction
    rates: CostRates
    position_fraction: float = 1.0
    """Notional of a new position over the equity at its fill, exact or as a cap (see `TradeManagement`)."""
    position_units: float = 0.0
    """Size of every position in units of the base currency; 0 disables it."""
    atr_risk: float = 0.0
    """Fraction of the equity gained or lost by a move of one ATR; 0 disables it."""
    max_bars: int = 0
    """Bars after which a position is closed; 0 disables it."""
    cooldown_bars: int = 0
    """Bars without a fill of an entry, from the bar of a losing exit on."""
    initial_equity: float = INITIAL_EQUITY

    @classmethod
    def of(
        cls, direction: Direction, costs: Costs, position_fraction: float, dataset: Dataset, management: TradeManagement
    ) -> "TradingRules":
        """Return the rules that a level and a trial's parameters set for one dataset."""
        return cls(
            direction=direction,
            rates=CostRates.of(costs, dataset.instrument.market),
            position_fraction=management.position_fraction or position_fraction,
            position_units=management.position_units,
            atr_risk=management.atr_risk or risk_of_one_atr(management.position_volatility, dataset),
            max_bars=management.max_bars,
            cooldown_bars=management.cooldown_bars,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRun:
    """Result of one backtest of one dataset. Money is in the quote currency."""

    dataset: Dataset
    trades: Trades
    initial_equity: float
    first_day: int
    """In days since 1970-01-01 UTC."""
    equity: NDArray[np.float64]
    """Equity at the end (00:00 UTC) of each judged calendar day, an open position valued at the last close; shape
    (n_days,). Constant over days without a bar and after an early stop.
    """
    lows: NDArray[np.float64]
    """Lowest equity inside each judged day, including its start; shape (n_days,)."""
    max_intrabar_drawdown: float
    """Maximum fall from the highest close so far to the worst price of a held bar, as a fraction of that close."""
    evaluated_bars: int
    stopped: bool
    """Whether the run ended early because of a total loss."""
    size: float = 1.0
    """Share of the account's equity that is traded by this run, restored daily. Trades, equity and lows are those of
    size 1; `portfolio` multiplies the daily returns.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetBacktest:
    """Backtest of one dataset with its candles and its benchmark."""

    prepared: Prepared
    run: BacktestRun
    benchmark: BacktestRun
    """Buy-and-hold benchmark on the same bars."""
