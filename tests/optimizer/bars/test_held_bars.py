"""Held bars: a slice of prepared candles has the bits of a preparation of its own."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pytest

from optimizer.bars.held_bars import HeldBars
from optimizer.bars.lead_in import JudgedWindow, prepare_judged
from optimizer.bars.preparation import Prepared
from optimizer.bars.random_walk import random_walk
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

START = datetime(2021, 3, 1, tzinfo=UTC)
DAYS = 40
PERIODS = (7, 28)


class Reader:
    """Candles of one random history, and a count of the reads."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, dataset: Dataset, window: Window) -> CandleArrays:
        self.reads += 1
        whole = random_walk(dataset, days(0, DAYS), seed=2)
        return whole[(whole.time >= window.start_seconds) & (whole.time < window.end_seconds)]


def days(first: int, end: int) -> Window:
    return Window(START + timedelta(days=first), START + timedelta(days=end))


def columns(prepared: Prepared) -> Iterator[tuple[str, object]]:
    for each in fields(prepared):
        value = getattr(prepared, each.name)
        is_array = isinstance(value, np.ndarray)
        yield each.name, (value.dtype, value.shape, value.tobytes(), value.flags.c_contiguous) if is_array else value
        assert not is_array or not value.flags.writeable


@pytest.mark.parametrize("name", ["coinbase/BTC-USD/M15", "oanda/EUR-USD/H1", "oanda/EUR-USD/H4"])
def test_every_window_with_the_same_start_is_a_slice_of_one_preparation(name: str) -> None:
    dataset, read = find_dataset(name), Reader()
    held = HeldBars(read, [(dataset, days(0, DAYS)), (dataset, days(5, 20))])
    asked = [JudgedWindow(source=dataset, window=days(0, end), earliest=START) for end in (20, 33, DAYS)]
    found = [held.prepared(each, warm_up, PERIODS) for each in asked for warm_up in (30, 60)]
    assert read.reads == 1
    expected = [prepare_judged(each, warm_up, PERIODS, read) for each in asked for warm_up in (30, 60)]
    for one, other in zip(found, expected, strict=True):
        assert dict(columns(one)) == dict(columns(other))


def test_windows_with_a_lead_in_or_another_start_are_prepared_alone() -> None:
    dataset, read = find_dataset("coinbase/BTC-USD/M15"), Reader()
    held = HeldBars(read, [(dataset, days(0, DAYS))])
    for asked in (
        JudgedWindow(source=dataset, window=days(20, 30), earliest=START),
        JudgedWindow(source=dataset, window=days(1, 30)),
    ):
        assert dict(columns(held.prepared(asked, 30, PERIODS))) == dict(
            columns(prepare_judged(asked, 30, PERIODS, read))
        )


def test_a_history_that_may_have_finer_ticks_is_not_held() -> None:
    dataset = find_dataset("coinbase/BTC-USD/M15")
    finer = replace(dataset, instrument=replace(dataset.instrument, has_finer_history=True))
    held = HeldBars(partial(random_walk, seed=2), [(finer, days(0, DAYS))])
    asked = JudgedWindow(source=finer, window=days(0, 20))
    assert held.prepared(asked, 30, PERIODS).prices.base is not None
    assert not held._held


def test_a_window_without_a_bar_after_the_warm_up_is_refused_by_name() -> None:
    dataset = find_dataset("coinbase/BTC-USD/M15")
    held = HeldBars(Reader(), [(dataset, days(0, DAYS))])
    with pytest.raises(DataIncomplete, match="but the warm-up takes 500"):
        held.prepared(JudgedWindow(source=dataset, window=days(0, 3)), 500, PERIODS)
