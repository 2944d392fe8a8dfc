"""Lead-in: the bars before a window warm up its indicators and change nothing else."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from optimizer.bars.lead_in import REACH, JudgedWindow, prepare_judged
from optimizer.bars.preparation import DAY_SECONDS, Prepared, prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.spec import Part
from optimizer.objective.objective import backtest, prepare_level
from tests.factories.levels import PARAMETERS, level_of
from tradeschool.errors import DataIncomplete, InvalidCandles
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays

H1, M15 = find_dataset("oanda/EUR-USD/H1"), find_dataset("coinbase/ETH-USD/M15")
HISTORY = Window(datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 6, 1, tzinfo=UTC))
DAYS = Window(datetime(2021, 4, 3, tzinfo=UTC), datetime(2021, 4, 20, tzinfo=UTC))
WARM_UP = 250
ATR_PERIODS = (7, 28)


def read(dataset: Dataset, window: Window) -> CandleArrays:
    """One history of each dataset, whatever window of it is read."""
    whole = random_walk(dataset, HISTORY, seed=5)
    return whole[(whole.time >= window.start_seconds) & (whole.time < window.end_seconds)]


def judged(dataset: Dataset = H1, *, since: timedelta) -> JudgedWindow:
    return JudgedWindow(source=dataset, window=DAYS, earliest=DAYS.start - since)


def opened(prepared: Prepared) -> datetime:
    return datetime.fromtimestamp(int(prepared.time[prepared.first_evaluated]), UTC)


@pytest.mark.parametrize("dataset", [H1, M15])
def test_the_first_bar_of_a_window_is_judged(dataset: Dataset) -> None:
    prepared = prepare_judged(judged(dataset, since=timedelta(days=60)), WARM_UP, ATR_PERIODS, read)

    assert opened(prepared) == DAYS.start
    assert prepared.first_evaluated == WARM_UP
    assert prepared.first_day * DAY_SECONDS == DAYS.start_seconds
    assert prepared.day_count == 17


@pytest.mark.parametrize("dataset", [H1, M15])
def test_a_longer_history_changes_no_array(dataset: Dataset) -> None:
    """Exactly the last bars before the window warm up its indicators, however much lies before them."""
    bars = read(dataset, Window(HISTORY.start, DAYS.start)).time[-WARM_UP]
    exact = DAYS.start - datetime.fromtimestamp(int(bars), UTC)

    one, other = (
        prepare_judged(judged(dataset, since=since), WARM_UP, ATR_PERIODS, read)
        for since in (exact, timedelta(days=90))
    )

    for field in fields(Prepared):
        mine, theirs = np.asarray(getattr(one, field.name)), np.asarray(getattr(other, field.name))
        assert np.array_equal(mine, theirs, equal_nan=mine.dtype == np.float64), field.name


def test_missing_earlier_bars_are_taken_from_the_window() -> None:
    prepared = prepare_judged(judged(since=timedelta(days=2)), WARM_UP, ATR_PERIODS, read)
    before = len(read(H1, Window(DAYS.start - timedelta(days=2), DAYS.start)))

    assert prepared.first_evaluated == WARM_UP
    assert opened(prepared) == datetime.fromtimestamp(int(read(H1, DAYS).time[WARM_UP - before]), UTC)


def test_a_window_without_a_lead_in_warms_up_inside_itself() -> None:
    prepared = prepare_judged(JudgedWindow(source=H1, window=DAYS), WARM_UP, ATR_PERIODS, read)
    plain = prepare(read(H1, DAYS), DAYS, WARM_UP, ATR_PERIODS)

    assert np.array_equal(prepared.slots, plain.slots)
    assert prepared.first_evaluated == plain.first_evaluated == WARM_UP


def test_the_lead_in_is_looked_for_in_a_limited_time() -> None:
    asked = judged(since=timedelta(days=5000)).reading(WARM_UP)

    assert asked.end == DAYS.end
    assert timedelta(0) <= DAYS.start - timedelta(hours=REACH * WARM_UP) - asked.start < timedelta(days=1)


def test_a_window_without_a_bar_is_refused() -> None:
    def read_until(dataset: Dataset, window: Window) -> CandleArrays:
        found = read(dataset, window)
        return found[found.time < DAYS.start_seconds]

    with pytest.raises(DataIncomplete, match="EUR-USD/H1: 250 bars, but the warm-up takes 250"):
        prepare_judged(judged(since=timedelta(days=60)), WARM_UP, ATR_PERIODS, read_until)


@pytest.mark.parametrize("lead_in", [WARM_UP - 1, WARM_UP + 1])
def test_bars_on_the_wrong_side_of_the_border_are_refused(lead_in: int) -> None:
    """A bar before the window that is not in the lead-in would be judged, one in it inside the window would not."""
    candles = read(H1, Window(HISTORY.start, DAYS.end))
    before = int(np.searchsorted(candles.time, DAYS.start_seconds))
    chosen = candles[slice(before - WARM_UP, None)]

    with pytest.raises(InvalidCandles, match="times must lie in"):
        prepare(chosen, DAYS, lead_in, lead_in=lead_in)


LEVEL = level_of(("oanda/EUR-USD/H1", "coinbase/ETH-USD/M15"))


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_bars_of_the_lead_in_never_trade(part: Part) -> None:
    for source, prepared in zip(LEVEL.datasets, prepare_level(LEVEL, part, read), strict=True):
        run = backtest(LEVEL, prepared, PARAMETERS)
        start = LEVEL.window(source, part).start_seconds

        assert len(run.trades) > 5
        assert run.first_day * DAY_SECONDS == start
        assert (prepared.time[run.trades["entry_bar"]] > start).all()
        assert (run.trades["entry_bar"] > prepared.first_evaluated).all()


def test_no_result_depends_on_later_candles() -> None:
    """Every daily equity of validation is the same if the candles of later days are others."""
    last = LEVEL.window(LEVEL.datasets[0], Part.VALIDATION).start + timedelta(days=4)

    def read_otherwise(dataset: Dataset, window: Window) -> CandleArrays:
        found = read(dataset, window)
        later = found.time >= last.timestamp()
        moved = {
            name: np.where(later, getattr(found, name) * 2, getattr(found, name))
            for name in ["open", "high", "low", "close"]
        }
        return replace(found, **moved)

    for one, other in zip(
        prepare_level(LEVEL, Part.VALIDATION, read), prepare_level(LEVEL, Part.VALIDATION, read_otherwise), strict=True
    ):
        run, changed = backtest(LEVEL, one, PARAMETERS), backtest(LEVEL, other, PARAMETERS)
        days = int(last.timestamp()) // DAY_SECONDS - run.first_day

        assert days in {2, 4}
        assert run.equity[:days].tolist() == changed.equity[:days].tolist()
        assert run.equity[days:].tolist() != changed.equity[days:].tolist()
