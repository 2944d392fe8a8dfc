"""What goes into a backtest beside candles, and what comes out."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.costs import Rates
from optimizer.level import Costs, Direction
from optimizer.management import Management
from tradeschool.market import Dataset

INITIAL_EQUITY = 10_000.0
"""Of every dataset, in its quote currency."""


class Reason(IntEnum):
    """Why a position was left."""

    END = 0
    """The run ended: its last close, or the close at which it passed the drawdown limit."""
    STOP = 1
    TARGET = 2
    SIGNAL = 3
    TIME = 4
    """It was held for `max_bars` bars."""


TRADE = np.dtype(
    [
        ("entry_bar", np.int32),
        ("exit_bar", np.int32),
        ("entry_price", np.int32),  # ticks
        ("exit_price", np.int32),  # ticks
        ("side", np.int8),  # +1 long, -1 short
        ("reason", np.int8),  # a Reason
        ("units", np.float64),  # of the base currency
        ("fees", np.float64),  # fee, half-spread, slippage of both sides and financing, in quote currency
        ("net", np.float64),  # side * (exit - entry) * units - fees, in quote currency
    ],
    align=True,
)
Trades = NDArray[np.void]
"""Array of `TRADE`, in order of entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a dataset is traded."""

    direction: Direction
    rates: Rates
    position_fraction: float = 1.0
    """Notional of a new position over the equity at its fill, at most or as it is (see `Management`)."""
    position_units: float = 0.0
    """Size of every position in units of the base currency; 0 is off."""
    atr_risk: float = 0.0
    """Fraction of the equity that a move of one ATR wins or loses; 0 is off."""
    max_bars: int = 0
    """Bars after which a position is left; 0 is off."""
    cooldown_bars: int = 0
    """Bars, from a losing exit's on, in which no entry fills."""
    drawdown_limit: float = 1.0
    """The run stops at the close of the bar whose intrabar drawdown is above this."""
    initial_equity: float = INITIAL_EQUITY

    @classmethod
    def of(
        cls, direction: Direction, costs: Costs, position_fraction: float, dataset: Dataset, management: Management
    ) -> "Rules":
        """The rules that a level and a trial's parameters set for one dataset."""
        return cls(
            direction=direction,
            rates=Rates.of(costs, dataset.instrument.market),
            position_fraction=management.position_fraction or position_fraction,
            position_units=management.position_units,
            atr_risk=management.atr_risk,
            max_bars=management.max_bars,
            cooldown_bars=management.cooldown_bars,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The outcome of one backtest of one dataset. Money is in the quote currency."""

    dataset: Dataset
    trades: Trades
    initial_equity: float
    first_day: int
    """In days since 1970-01-01 UTC."""
    equity: NDArray[np.float64]
    """At the end (00:00 UTC) of each judged calendar day, an open position at the last close; shape (n_days,).
    Flat over days without a bar and after an early stop."""
    lows: NDArray[np.float64]
    """Lowest equity inside each judged day, its opening moment included; shape (n_days,)."""
    max_intrabar_drawdown: float
    """Deepest fall from the highest close so far to the worst price of a held bar, as a fraction of that close."""
    judged_bars: int
    stopped: bool
    """Whether the run ended early: past the drawdown limit, or without equity."""

    @property
    def final_equity(self) -> float:
        """Equity when everything is closed."""
        return float(self.equity[-1])
