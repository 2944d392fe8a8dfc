"""Helpers of the backtest tests: hand-written entries, fills as rows, random parameters."""

import numpy as np

from optimizer.backtest.costs import CostRates
from optimizer.backtest.entries import Entries
from optimizer.backtest.result import BacktestRun, ExitReason, TradingRules
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import completed, load
from optimizer.strategies.trade_management import TradeManagement

SMA = load("sma_cross")
FREE = CostRates(fee=0.0, slippage=0.0)
COSTS = [FREE, CostRates(fee=5e-4, slippage=2e-4)]


def assert_same(run: BacktestRun, other: BacktestRun) -> None:
    """Two engines agree in every bit."""
    assert len(run.trades) == len(other.trades)
    for name in run.trades.dtype.names or ():
        np.testing.assert_array_equal(run.trades[name], other.trades[name], err_msg=name)
    np.testing.assert_array_equal(run.equity, other.equity)
    np.testing.assert_array_equal(run.lows, other.lows)
    assert run.max_intrabar_drawdown == other.max_intrabar_drawdown
    assert run.stopped == other.stopped


def entries_of(*signals: tuple[int, int, int, int], direction: Direction = Direction.BOTH, trail: int = 0) -> Entries:
    """Rows of bar, signal, stop distance and target distance."""
    bar, signal, stop, target = np.array(signals, dtype=np.int64).reshape(-1, 4).T
    return Entries(
        bar=bar.astype(np.int32),
        signal=signal.astype(np.int8),
        enters=np.isin(signal, {"long": [1], "short": [-1], "both": [1, -1]}[direction]),
        stop_ticks=stop.copy(),
        target_ticks=target.copy(),
        trail_ticks=np.full(len(bar), trail, dtype=np.int64),
        atr_ticks=np.zeros(len(bar)),
    )


def fills(run: BacktestRun) -> list[tuple[int, int, int, int, int, str]]:
    """Entry bar and price, exit bar and price, side, reason."""
    return [
        (
            int(trade["entry_bar"]),
            int(trade["entry_price"]),
            int(trade["exit_bar"]),
            int(trade["exit_price"]),
            int(trade["side"]),
            ExitReason(int(trade["reason"])).name.lower(),
        )
        for trade in run.trades
    ]


def random_parameters(random: np.random.Generator) -> dict[str, float]:
    """Random values of the parameters that sma_cross always searches."""
    return SMA.repair(
        completed(
            SMA,
            {
                "fast": int(random.integers(2, 12)),
                "slow": int(random.integers(7, 40)),
                "atr_period": int(random.integers(2, 29)),
                "stop_atr": float(random.choice([0.5, 1.0, 1.5, 3.5, round(random.uniform(0.5, 5), 3)])),
                "target_atr": float(random.choice([0.5, 1.0, 2.5, 7.0, round(random.uniform(0.5, 8), 3)])),
            },
        )
    )


def managed_parameters(random: np.random.Generator) -> dict[str, float]:
    """The same, with optional trade management in one of three sets."""
    offers = (
        {"trail_atr": round(float(random.uniform(0.3, 5)), 3)},
        {"max_bars": int(random.integers(1, 30))},
        {"cooldown_bars": int(random.integers(1, 30))},
        {"hour_start": int(random.integers(24)), "hour_length": int(random.integers(4, 24))},
        {"weekdays": int(random.integers(1, 128))},
        {"trend": 1, "trend_period": int(random.integers(2, 5))},
        {"atr_risk": float(random.choice([0.002, 0.01]))},
        {"position_units": float(random.choice([0.1, 2.0]))},
        {"position_fraction": float(random.choice([0.25, 1.0]))},
    )
    chosen = [offer for offer in offers if random.random() < 1 / 3]
    return random_parameters(random) | {name: value for offer in chosen for name, value in offer.items()}


def random_rules(random: np.random.Generator, parameters: dict[str, float]) -> TradingRules:
    """Random direction and costs."""
    managed = TradeManagement.of(parameters)
    return TradingRules(
        direction=list(Direction)[random.integers(3)],
        rates=CostRates(
            fee=float(random.choice([0.0, 5e-4])),
            slippage=float(random.choice([0.0, 2e-4])),
            financing=float(random.choice([0.0, 1e-4])),
        ),
        position_fraction=managed.position_fraction or 0.9,
        position_units=managed.position_units,
        atr_risk=managed.atr_risk,
        max_bars=managed.max_bars,
        cooldown_bars=managed.cooldown_bars,
    )
