"""Empty slots of thin markets: no fill in them, equity carried, indicators that count bars."""

import numpy as np
import pytest

from optimizer.backtest import kernel, reference
from optimizer.backtest.costs import CostRates
from optimizer.backtest.result import TradingRules
from optimizer.level.spec import Direction
from tests.factories.backtests import FREE, entries_of, fills
from tests.factories.candles import START, prepared_of

HOUR, DAY = 3_600, 86_400
BEGIN = int(START.timestamp()) // DAY * DAY
ROWS = [(100, 100, 100, 100), (100, 104, 100, 102), (90, 96, 90, 95), (95, 99, 95, 98), (98, 98, 98, 98)]
TIMES = [BEGIN, BEGIN + 3 * HOUR, BEGIN + 3 * DAY + 5 * HOUR, BEGIN + 3 * DAY + 9 * HOUR, BEGIN + 5 * DAY]


@pytest.mark.parametrize("engine", [kernel.trade, reference.replay], ids=["kernel", "reference"])
class TestBothEngines:
    def test_orders_fill_at_the_next_existing_bar(self, engine) -> None:
        prepared = prepared_of(ROWS, times=TIMES)
        entries = entries_of((0, 1, 0, 0), (2, -1, 0, 0), direction=Direction.LONG)

        run = engine(prepared, entries, TradingRules(direction=Direction.LONG, rates=FREE))

        assert fills(run) == [(1, 100, 3, 95, 1, "signal")]

    def test_a_stop_is_not_filled_in_an_empty_slot_but_at_the_next_open(self, engine) -> None:
        prepared = prepared_of(ROWS, times=TIMES)

        run = engine(prepared, entries_of((0, 1, 5, 0)), TradingRules(direction=Direction.LONG, rates=FREE))

        assert fills(run) == [(1, 100, 2, 90, 1, "stop")]  # the stop at 95 was jumped over

    def test_days_without_a_bar_carry_the_equity(self, engine) -> None:
        prepared = prepared_of(ROWS, times=TIMES)

        run = engine(prepared, entries_of((0, 1, 0, 0)), TradingRules(direction=Direction.LONG, rates=FREE))

        assert run.equity.tolist() == pytest.approx([10_200, 10_200, 10_200, 9_800, 9_800, 9_800])
        assert run.lows[1:3].tolist() == pytest.approx([10_200, 10_200])

    def test_financing_is_paid_for_days_without_a_bar(self, engine) -> None:
        prepared = prepared_of(ROWS, times=TIMES)
        rates = CostRates(fee=0.0, slippage=0.0, financing=0.001)

        run = engine(prepared, entries_of((0, 1, 0, 0)), TradingRules(direction=Direction.LONG, rates=rates))

        assert np.diff(run.equity)[:2].tolist() == pytest.approx([-10.0, -10.0])
