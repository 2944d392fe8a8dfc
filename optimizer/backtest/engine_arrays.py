"""Engine arrays: candles, signals and rules as both engines read them, and the run from what they fill."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.entries import Entries
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import Prepared

Book = np.void
"""The single record of `BOOK` of a run; updated in place."""


class MarketArrays(NamedTuple):
    """Candles that a replay reads; see `Prepared`."""

    prices: NDArray[np.signedinteger]
    spreads: NDArray[np.float32]


class SignalPlan(NamedTuple):
    """Columns of `Entries`."""

    bar: NDArray[np.int32]
    signal: NDArray[np.int8]
    enters: NDArray[np.bool_]
    stop_ticks: NDArray[np.int64]
    target_ticks: NDArray[np.int64]
    trail_ticks: NDArray[np.int64]
    atr_ticks: NDArray[np.float64]


class EngineTerms(NamedTuple):
    """Numbers of `TradingRules`; `size` is money per tick here."""

    fee: float
    slippage: float
    financing: float
    fraction: float
    fixed_size: float
    atr_risk: float
    max_bars: int
    cooldown_bars: int
    spread_step: int
    """1 if each bar has its own half-spread, 0 if all bars share one."""


def market_of(prepared: Prepared) -> MarketArrays:
    """Return the candles that a replay reads."""
    return MarketArrays(prepared.prices, prepared.spreads)


def plan_of(entries: Entries) -> SignalPlan:
    """Return the signals that a replay follows."""
    return SignalPlan(
        bar=entries.bar,
        signal=entries.signal,
        enters=entries.enters,
        stop_ticks=entries.stop_ticks,
        target_ticks=entries.target_ticks,
        trail_ticks=entries.trail_ticks,
        atr_ticks=entries.atr_ticks,
    )


def terms_of(prepared: Prepared, rules: TradingRules) -> EngineTerms:
    """Return the rules of a replay as numbers."""
    return EngineTerms(
        fee=float(rules.rates.fee),  # an int would compile a second version
        slippage=float(rules.rates.slippage),
        financing=float(rules.rates.financing),
        fraction=float(rules.position_fraction),
        fixed_size=float(rules.position_units * prepared.dataset.instrument.tick),
        atr_risk=float(rules.atr_risk),
        max_bars=int(rules.max_bars),
        cooldown_bars=int(rules.cooldown_bars),
        spread_step=int(len(prepared.spreads) > 1),
    )


def run_of(
    prepared: Prepared,
    rules: TradingRules,
    book: Book,
    trades: NDArray[np.void],
    equity: NDArray[np.float64],
    lows: NDArray[np.float64],
) -> BacktestRun:
    """Build the run from a replay's final book and columns."""
    trades = trades[: int(book["trades"])]
    trades["units"] /= prepared.dataset.instrument.tick
    return BacktestRun(
        dataset=prepared.dataset,
        trades=trades,
        initial_equity=rules.initial_equity,
        first_day=prepared.first_day,
        equity=equity,
        lows=lows,
        max_intrabar_drawdown=float(book["drawdown"]),
        evaluated_bars=prepared.evaluated_bars,
        stopped=bool(book["stopped"]),
    )
