"""Volatility targeting: the candles of a year, and the deviation that an ATR stands for."""

import numpy as np
import pytest

from optimizer.backtest.costs import CostRates
from optimizer.backtest.result import TradingRules
from optimizer.backtest.volatility import bars_a_year, risk_of_one_atr
from optimizer.bars.indicators import wilder_atr
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Market

BTC = find_dataset("coinbase/BTC-USD/H1")
EUR = find_dataset("oanda/EUR-USD/H1")


def test_the_candles_of_a_year_are_those_of_the_calendar() -> None:
    assert bars_a_year(BTC) == 365 * 24
    assert bars_a_year(find_dataset("coinbase/BTC-USD/M5")) == 365 * 288
    # 52 weeks of 120 hours, without the 24 hours of Christmas. New Year's Day of 2023 is a Sunday and closes nothing;
    # the closure of the next one begins in the last hours of 2023.
    assert bars_a_year(EUR) == 52 * 120 - 24


def test_the_risk_of_one_atr_by_hand() -> None:
    """0.4 x 1.5958 / sqrt(8,760) = 0.006820."""
    assert risk_of_one_atr(0.4, BTC) == pytest.approx(0.006820, abs=1e-6)
    assert risk_of_one_atr(0.0, BTC) == 0.0


def test_a_random_walk_of_known_volatility_gets_the_target() -> None:
    """The walk of 65 % a year is the second opinion: 500 steps an hour, whose range is 3 % below that of all times."""
    steps, hours, year = 500, 4_000, 0.65
    moves = np.random.default_rng(3).normal(0, year / np.sqrt(8_760 * steps), (hours, steps))
    walk = 1e6 * np.exp(np.cumsum(moves)).reshape(hours, steps)
    opened = np.concatenate(([1e6], walk[:-1, -1]))
    prices = np.rint(np.column_stack((opened, walk.max(axis=1), walk.min(axis=1), walk[:, -1]))).astype(np.int64)

    atr = wilder_atr(prices, 14)[100:]
    notional = risk_of_one_atr(0.2, BTC) / (atr / prices[100:, 3])

    assert np.mean(notional) * year == pytest.approx(0.2, rel=0.08)


@pytest.mark.parametrize(
    ("managed", "expected"),
    [
        (TradeManagement(), 0.0),
        (TradeManagement(position_volatility=0.4), risk_of_one_atr(0.4, BTC)),
        (TradeManagement(atr_risk=0.01), 0.01),
        (TradeManagement(atr_risk=0.01, position_volatility=0.4), 0.01),
    ],
)
def test_the_rules_of_a_dataset_hold_its_risk(managed: TradeManagement, expected: float) -> None:
    rules = TradingRules.of(Direction.BOTH, Costs(), 1.0, BTC, managed)

    assert rules.atr_risk == expected
    assert rules.rates == CostRates.of(Costs(), Market.CRYPTO)
    assert managed.needs_atr is (expected > 0)
