"""The paper account: a longer test has the same days, and they are those of one backtest."""

from datetime import date, timedelta

import numpy as np
import pytest

from optimizer.backtest.engine import run_strategy
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import prepare
from optimizer.forward.paper_account import DailySeries, needed_window, paper_account
from optimizer.forward.rule import ForwardDataset, ForwardRule, midnight
from optimizer.objective.portfolio import portfolio
from optimizer.strategies.protocol import load, repaired
from optimizer.strategies.trade_management import TradeManagement
from tests.factories.forward_rules import START, make_rule
from tests.factories.forward_tests import WHOLE, read_walk
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.windows import Window


def account(rule: ForwardRule, days: int) -> DailySeries:
    return paper_account(rule, read_walk, START + timedelta(days=days))


@pytest.mark.parametrize("strategy", ["sma_cross", "rsi_reversion", "donchian_breakout"])
def test_a_longer_test_has_the_same_days(strategy: str) -> None:
    """Positions are open over midnight and over weekends; no day is closed artificially."""
    defaults = {each.name: each.default for each in load(strategy).parameters if not each.fixed}
    rule = make_rule(
        strategy=strategy, parameters={**defaults, **({"fast": 5, "slow": 20} if "fast" in defaults else {})}
    )
    long = account(rule, 30)

    assert len(long.days) == 30
    assert np.count_nonzero(long.returns) > 20
    for days in range(1, 30):
        short = account(rule, days)
        assert short.days == long.days[:days]
        assert short.returns.tolist() == long.returns[:days].tolist()
        assert short.low_returns.tolist() == long.low_returns[:days].tolist()


def test_the_days_are_those_of_one_backtest_at_the_fixed_size() -> None:
    """The last day differs, because a backtest closes its position at the last bar."""
    rule = make_rule()
    end = midnight(START + timedelta(days=20))
    runs = []
    for each in rule.datasets:
        candles = read_walk(each.source, Window(midnight(each.candles_from), end))
        first = int(np.searchsorted(candles.time, int(midnight(START).timestamp()))) - each.warm_up_bars
        prepared = prepare(candles[np.arange(first, len(candles))], Window(midnight(each.candles_from), end), 50)
        whole = repaired(load(rule.strategy), rule.parameters)
        rules = TradingRules.of(rule.direction, rule.costs, 1.0, each.source, TradeManagement.of(whole))
        runs.append(run_strategy(load(rule.strategy), prepared, whole, rules))
    expected = portfolio(runs)

    found = account(rule, 20)

    assert found.returns[:-1] == pytest.approx(0.25 * expected.returns[:-1], abs=1e-15)
    assert found.low_returns[:-1] == pytest.approx(0.25 * expected.low_returns[:-1], abs=1e-15)


def test_a_warm_up_that_is_not_stored_lasts_into_the_test() -> None:
    dataset = "coinbase/BTC-USD/H1"
    late = ForwardDataset(dataset=dataset, warm_up_bars=50, candles_from=START - timedelta(days=1))
    rule = make_rule(datasets=(dataset,)).model_copy(update={"datasets": (late,)})

    assert account(rule, 1).days == ()
    assert account(rule, 5).days[0] == START + timedelta(days=1)  # 24 bars before, 26 of 11 and 12 March


def test_a_closed_market_at_the_start_begins_with_its_first_candle() -> None:
    saturday = date(2021, 3, 13)
    rule = make_rule(datasets=("oanda/EUR-USD/H1",), start=saturday)

    assert paper_account(rule, read_walk, saturday + timedelta(days=1)).days == ()
    assert paper_account(rule, read_walk, saturday + timedelta(days=4)).days[0] == date(2021, 3, 14)


def test_a_candle_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    """H4 candles of FX open at 22:00 UTC in winter, and close at 2:00."""
    four = ForwardDataset(dataset="oanda/EUR-USD/H4", warm_up_bars=10, candles_from=START - timedelta(days=5))

    assert needed_window(four, START).end == midnight(START) + timedelta(hours=2)
    assert needed_window(make_rule().datasets[0], START).end == midnight(START)


def test_the_test_data_has_gaps_on_weekends() -> None:
    assert len(read_walk(find_dataset("oanda/EUR-USD/H1"), WHOLE)) < len(
        read_walk(find_dataset("coinbase/BTC-USD/H1"), WHOLE)
    )
