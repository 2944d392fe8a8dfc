"""Break-even cost: a backtest that charges it returns zero."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.backtest.costs import CostRates
from optimizer.backtest.engine import run_strategy
from optimizer.backtest.result import BacktestRun, TradingRules
from optimizer.bars.preparation import prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.spec import Direction
from optimizer.objective.break_even import BPS, trading_costs
from optimizer.strategies.protocol import load, repaired
from tradeschool.markets.catalogue import BTC_USD, ETH_USD, EUR_USD
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.timerange import parse_timerange

WINDOW = parse_timerange("2021-01..2021-05")
BARS = 200
STRATEGY = load("sma_cross")
PARAMETERS = repaired(STRATEGY, {"fast": 10, "slow": 60, "atr_period": 14, "stop_atr": 20.0, "target_atr": 40.0})


def run_of(
    instrument: Instrument, fee: float, *, seed: int = 1, units: float = 0.0, slippage: float = 0.0
) -> BacktestRun:
    """A run of moving averages that hardly ever meets a target; costs are fractions of the notional."""
    dataset = Dataset(instrument=instrument, timeframe=Timeframe.H1)
    prepared = prepare(random_walk(dataset, WINDOW, seed), WINDOW, BARS)
    rates = CostRates(fee=fee, slippage=slippage)
    rules = TradingRules(direction=Direction.BOTH, rates=rates, position_units=units, position_fraction=0.8)
    return run_strategy(STRATEGY, prepared, PARAMETERS, rules)


def profitable(instrument: Instrument, **options: float) -> BacktestRun:
    """The run of the first seed that makes money without costs."""
    runs = (run_of(instrument, 0.0, seed=seed, **options) for seed in range(1, 60))  # type: ignore[arg-type]
    return next(run for run in runs if run.equity[-1] > 1.05 * run.initial_equity)


def seed_of(instrument: Instrument, **options: float) -> int:
    return next(
        seed
        for seed in range(1, 60)
        if (run := run_of(instrument, 0.0, seed=seed, **options)).equity[-1] > 1.05 * run.initial_equity  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("units", [0.0, 0.3], ids=["share of equity", "fixed units"])
@pytest.mark.parametrize("charged", [0.0, 3e-4], ids=["found without costs", "found with costs"])
def test_a_backtest_at_the_break_even_cost_returns_zero(units: float, charged: float) -> None:
    seed = seed_of(BTC_USD, units=units)
    found = trading_costs([run_of(BTC_USD, charged, seed=seed, units=units)], fixed_size=units > 0)
    assert found.break_even_bps

    at_that_cost = run_of(BTC_USD, found.break_even_bps / BPS, seed=seed, units=units)

    assert len(at_that_cost.trades) > 10
    assert at_that_cost.equity[-1] == pytest.approx(at_that_cost.initial_equity, rel=1e-5)


def test_the_mean_of_several_datasets_is_zero_at_their_break_even_cost() -> None:
    seeds = {instrument: seed_of(instrument) for instrument in (BTC_USD, ETH_USD)}
    found = trading_costs([run_of(each, 0.0, seed=seed) for each, seed in seeds.items()], fixed_size=False)
    assert found.break_even_bps

    runs = [run_of(each, found.break_even_bps / BPS, seed=seed) for each, seed in seeds.items()]

    assert np.mean([run.equity[-1] / run.initial_equity for run in runs]) == pytest.approx(1.0, rel=1e-5)


def test_the_formula_for_one_trade() -> None:
    """Bought at 100, sold at 101 with one unit: a gain of 1 on a turnover of 201."""
    run = profitable(BTC_USD)
    trades = run.trades[:1].copy()
    trades["entry_price"], trades["exit_price"], trades["units"], trades["side"] = 10_000, 10_100, 1.0, 1
    trades["fees"], trades["net"] = 0.4, 0.6

    for fixed_size in (False, True):
        found = trading_costs([replace(run, trades=trades)], fixed_size=fixed_size)
        assert found.break_even_bps == pytest.approx(1 / 201 * BPS, abs=1e-4)
        assert found.paid_bps == pytest.approx(0.4 / 201 * BPS, abs=1e-4)


def test_the_charged_costs_are_the_rates() -> None:
    found = trading_costs([run_of(BTC_USD, 4e-4, slippage=2e-4)], fixed_size=False)

    assert found.paid_bps == pytest.approx(6.0, abs=1e-3)


def test_the_charged_costs_of_fx_contain_the_half_spread() -> None:
    """The synthetic half-spread is 7 ticks of about 1.1."""
    found = trading_costs([run_of(EUR_USD, 0.0)], fixed_size=False)

    assert found.paid_bps == pytest.approx(7e-5 / 1.1 * BPS, rel=0.2)


def test_trades_that_lose_money_without_costs_have_no_break_even_cost() -> None:
    losing = next(
        run for seed in range(1, 60) if (run := run_of(BTC_USD, 0.0, seed=seed)).equity[-1] < 0.97 * run.initial_equity
    )

    found = trading_costs([losing], fixed_size=False)

    assert found.break_even_bps == 0.0
    assert found.sentence == "none, the trades lose money without costs; 0.00 bps per side were charged"


def test_no_trades_have_no_costs() -> None:
    run = profitable(BTC_USD)

    found = trading_costs([replace(run, trades=run.trades[:0])], fixed_size=False)

    assert (found.paid_bps, found.break_even_bps, found.sentence) == (None, None, "undefined without trades")
