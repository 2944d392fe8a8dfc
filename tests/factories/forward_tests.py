"""Forward tests with recorded days, over made candles."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from optimizer.forward.forward_test import FOLDER, ForwardTest, begin_forward_test, record_days
from optimizer.forward.rule import midnight
from tests.factories.forward_rules import START, make_rule
from tests.factories.levels import read_made
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays, are_among

WHOLE = Window(midnight(date(2021, 3, 1)), midnight(date(2021, 4, 20)))
NOW = datetime(2021, 5, 1, tzinfo=UTC)


def read_walk(dataset: Dataset, window: Window) -> CandleArrays:
    """Candles of one random walk, whatever the window, when the market is open."""
    candles = read_made(dataset, WHOLE)
    is_in = (candles.time >= window.start_seconds) & (candles.time < window.end_seconds)
    return candles[is_in & are_among(candles.time, expected_slots(dataset, WHOLE))]


def make_forward_test(results: Path, days: int = 12, **fields: object) -> ForwardTest:
    """A forward test of run r1 with some recorded days."""
    rule = make_rule(**fields)
    test = begin_forward_test(results, results / rule.run / FOLDER / rule.name, rule)
    return record_days(test, read_walk, START + timedelta(days=days), lambda: NOW, code="code")
