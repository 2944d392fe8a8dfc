"""Surrogate markets keep volatility and correlation of the market and lose its direction."""

from datetime import UTC, date, datetime
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.download.derive import derive
from optimizer.bars.preparation import prepare
from optimizer.level.level_dataset import LevelDataset
from optimizer.validation.analyses.surrogate_markets import (
    day_order,
    draw_signs,
    joined_to,
    reordered,
    sign_flipped,
    surrogate,
)
from tests.factories.levels import level_of, read_made
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.ohlcv.frame import Candles, schema

WINDOW = Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 5, 10, tzinfo=UTC))  # seventy days
NAMES = ("coinbase/BTC-USD/M5", "coinbase/BTC-USD/M15", "coinbase/BTC-USD/H1", "oanda/EUR-USD/H1")
DAY = 86_400
ALIKE = np.zeros(70, dtype=np.int64)
"""Class of each day of the window: the same markets are read on all."""


@cache
def read_open(dataset: Dataset, window: Window) -> CandleArrays:
    """Synthetic candles of the open hours of the market."""
    arrays = read_made(dataset, window)
    return arrays[np.isin(arrays.time, expected_slots(dataset, window))]


def make_level(names: tuple[str, ...] = NAMES):
    datasets = tuple(LevelDataset(dataset=name, start=date(2021, 3, 1), end=date(2021, 5, 10)) for name in names)
    return level_of(names).model_copy(update={"datasets": datasets})


def make_market(name: str, seed: int = 1, read=read_open) -> CandleArrays:
    return surrogate([make_level()], read, [seed])(find_dataset(name), WINDOW)


def moves(candles: CandleArrays) -> np.ndarray:
    return np.log(candles.close / np.concatenate((candles.open[:1], candles.close[:-1])))


@given(st.integers(1, 800), st.integers(0, 2**32 - 1))
def test_a_day_is_replaced_by_one_of_the_same_weekday(days: int, seed: int) -> None:
    order = day_order(np.zeros(days, dtype=np.int64), [seed])

    assert len(order) == days
    assert ((order >= 0) & (order < days)).all()
    assert (order % 7 == np.arange(days) % 7).all()


def test_blocks_have_the_configured_mean_length() -> None:
    order = day_order(np.zeros(100_000, dtype=np.int64), [3])

    assert 1 / np.mean(np.diff(order) != 1) == pytest.approx(10, rel=0.03)
    assert len(np.unique(order)) > 60_000


@pytest.mark.parametrize("name", NAMES)
def test_a_surrogate_has_valid_candles_of_the_same_hours(name: str) -> None:
    dataset, made = find_dataset(name), make_market(name)

    prepare(made, WINDOW, warm_up=10)
    assert (np.diff(made.time) > 0).all()
    # Clocks in New York change within the window, and with them the hour at which a week ends.
    assert np.isin(made.time, expected_slots(dataset, WINDOW)).mean() > (
        0.99 if made.half_spread is not None else 0.9999
    )
    assert len(made) == pytest.approx(len(expected_slots(dataset, WINDOW)), abs=30)
    assert (made.half_spread is None) == (dataset.instrument.market is not Market.FX)


def test_the_seed_determines_the_surrogate_market() -> None:
    one, again, other = (make_market(NAMES[0], seed).close for seed in (1, 1, 2))

    assert (one == again).all()
    assert np.abs(np.corrcoef(one, other)[0, 1]) < 0.99


def test_the_size_of_a_move_is_kept_and_its_direction_is_not() -> None:
    real = read_open(find_dataset(NAMES[0]), WINDOW)
    made = surrogate([make_level()], lambda dataset, window: real, [1])
    found = made(find_dataset(NAMES[0]), WINDOW)
    sizes = np.sort(np.abs(moves(real)))
    source = reordered(real, WINDOW, day_order(ALIKE, [1]))

    assert np.quantile(np.abs(moves(found)), [0.1, 0.5, 0.9]) == pytest.approx(
        np.quantile(sizes, [0.1, 0.5, 0.9]), rel=0.2
    )
    ups = np.sign(source.close) == np.sign(moves(found))
    assert np.mean(ups[source.close != 0]) == pytest.approx(0.5, abs=0.02)


def test_without_shuffling_a_surrogate_is_the_market_without_drift() -> None:
    real = read_open(find_dataset(NAMES[0]), WINDOW)
    same = reordered(real, WINDOW, np.arange(70))
    made = sign_flipped(same, np.ones(len(real), dtype=bool))
    drift = np.log(np.mean(np.cosh(moves(real))))

    expected = np.log(real.close) - drift * np.arange(1, len(real) + 1)
    assert np.abs(np.log(made.close) - expected).max() < 2 * real.dataset.instrument.tick / made.close.min()
    assert (made.volume == real.volume).all()


def test_an_inverted_bar_swaps_the_distances_of_high_and_low() -> None:
    real = read_open(find_dataset(NAMES[0]), WINDOW)
    source = reordered(real, WINDOW, np.arange(70))
    made = sign_flipped(source, np.zeros(len(real), dtype=bool))
    before = np.concatenate((real.open[:1], made.close[:-1]))
    drift = np.log(np.mean(np.cosh(source.close)))

    assert np.abs(np.log(made.high / before) + drift + source.low)[1:].max() < 1e-3
    assert np.abs(np.log(made.low / before) + drift + source.high)[1:].max() < 1e-3


def test_buy_and_hold_has_zero_expected_return() -> None:
    """Surrogates of a rising market give buy-and-hold a mean return of zero."""

    def rising(dataset: Dataset, window: Window) -> CandleArrays:
        real = read_open(dataset, window)
        factor = np.exp(2e-4 * np.arange(len(real)))
        prices = {name: np.rint(getattr(real, name) * factor * 100) / 100 for name in ("open", "high", "low", "close")}
        return CandleArrays(dataset=dataset, time=real.time, volume=real.volume, half_spread=None, **prices)

    held = [make_market(NAMES[0], seed, rising) for seed in range(60)]
    gained = np.array([candles.close[-1] / candles.open[0] - 1 for candles in held])
    whole = rising(find_dataset(NAMES[0]), WINDOW)

    assert whole.close[-1] / whole.open[0] > 10
    assert abs(gained.mean()) < 3 * gained.std() / np.sqrt(len(gained))
    assert 15 <= (gained > 0).sum() <= 45


def test_longer_surrogate_timeframes_are_derived_from_the_shortest() -> None:
    made, quarter = (make_market(name) for name in NAMES[:2])
    frame = pl.DataFrame({"ts": made.time * 1_000_000, **made.numbers}).cast(schema(made.dataset))
    derived = derive(Candles.parse(frame, made.dataset, WINDOW), Timeframe.M15)

    assert (derived.frame["ts"].dt.epoch("s").to_numpy() == quarter.time).all()
    for name in quarter.numbers:
        assert derived.frame[name].to_numpy() == pytest.approx(quarter.numbers[name])


def test_surrogates_keep_the_correlation_of_markets() -> None:
    """Two markets with the same candles have the same surrogate."""

    def alike(dataset: Dataset, window: Window) -> CandleArrays:
        real = read_open(find_dataset("coinbase/BTC-USD/H1"), window)
        return CandleArrays.of(dataset, real.time, real.numbers)

    names = ("coinbase/BTC-USD/H1", "coinbase/ETH-USD/H1")
    read = surrogate([make_level(names)], alike, [1])
    one, other = (read(find_dataset(name), WINDOW) for name in names)

    assert (one.close == other.close).all()


def test_a_part_is_a_slice_of_the_whole_surrogate() -> None:
    level = make_level()
    read = surrogate([level], read_open, [1])
    dataset, part = level.datasets[0].source, Window(datetime(2021, 4, 1, tzinfo=UTC), datetime(2021, 4, 8, tzinfo=UTC))
    whole, cut = read(dataset, WINDOW), read(dataset, part)

    assert cut.time[0] == part.start_seconds
    assert (cut.close == whole.close[np.isin(whole.time, cut.time)]).all()


def test_days_without_candles_stay_empty() -> None:
    real = read_open(find_dataset(NAMES[0]), WINDOW)
    some = real[(real.time - WINDOW.start_seconds) // DAY % 3 > 0]
    order = day_order(ALIKE, [5])
    made = reordered(some, WINDOW, order)

    days = np.unique((made.time - WINDOW.start_seconds) // DAY)
    assert days.tolist() == [day for day in range(70) if order[day] % 3 > 0]


def test_no_candles_give_an_empty_surrogate() -> None:
    none = read_open(find_dataset(NAMES[0]), WINDOW)[np.zeros(0, dtype=np.intp)]
    source = reordered(none, WINDOW, np.arange(70))

    assert len(sign_flipped(source, draw_signs(source, WINDOW, [1]))) == 0
    assert len(joined_to(find_dataset(NAMES[1]), sign_flipped(source, np.zeros(0, dtype=bool)))) == 0


def ranges(*given: tuple[str, tuple[int, int], tuple[int, int]]):
    """A level of datasets from one (month, day) of 2021 to another."""
    datasets = tuple(
        LevelDataset(dataset=name, start=date(2021, *start), end=date(2021, *end)) for name, start, end in given
    )
    return level_of([name for name, *_ in given]).model_copy(update={"datasets": datasets})


BTC, HOURS, EURO = "coinbase/BTC-USD/M15", "coinbase/BTC-USD/H1", "oanda/EUR-USD/H1"
CURRICULUM = (
    ranges((HOURS, (3, 1), (4, 12))),
    ranges((BTC, (3, 22), (5, 3)), (EURO, (3, 29), (4, 26))),
    ranges((HOURS, (3, 15), (6, 7)), (EURO, (3, 29), (4, 26))),
)


def days_of(month: int, day: int) -> int:
    return int(datetime(2021, month, day, tzinfo=UTC).timestamp()) // DAY


def test_all_levels_of_a_curriculum_see_the_same_market() -> None:
    """What level 2 and 3 read of March is the same March."""
    read = surrogate(CURRICULUM, read_open, [1])
    windows = [each.window for level in CURRICULUM for each in level.datasets if each.dataset == HOURS]
    first, second = (read(find_dataset(HOURS), window) for window in windows)

    shared = np.intersect1d(first.time, second.time)
    assert len(shared) == 28 * 24
    assert (first[np.isin(first.time, shared)].close == second[np.isin(second.time, shared)].close).all()


def test_a_finer_timeframe_of_another_level_makes_the_longer_one() -> None:
    read = surrogate(CURRICULUM, read_open, [1])
    whole = Window(datetime(2021, 3, 22, tzinfo=UTC), datetime(2021, 5, 3, tzinfo=UTC))
    quarters, hours = read(find_dataset(BTC), whole), read(find_dataset(HOURS), whole)

    made = joined_to(find_dataset(HOURS), quarters)
    assert (made.time == hours.time).all()
    assert (made.close == hours.close).all()
    assert (made.high == hours.high).all()


def test_prices_continue_where_the_finest_timeframe_changes() -> None:
    read = surrogate(CURRICULUM, read_open, [1])
    hours = read(find_dataset(HOURS), Window(datetime(2021, 3, 1, tzinfo=UTC), datetime(2021, 6, 7, tzinfo=UTC)))
    jumps = np.abs(moves(hours))

    borders = np.isin(hours.time, [DAY * days_of(3, 22), DAY * days_of(5, 3)])
    assert borders.sum() == 2
    assert jumps[borders].max() <= np.abs(moves(read_open(find_dataset(HOURS), WINDOW))).max() * 2


def test_each_day_comes_from_one_on_which_the_same_markets_are_read() -> None:
    for seed in range(5):
        read = surrogate(CURRICULUM, read_open, [seed])
        for level in CURRICULUM:
            for each in level.datasets:
                made = np.unique(read(each.source, each.window).time // DAY)
                real = np.unique(read_open(each.source, each.window).time // DAY)
                assert (made == real).all()


@given(st.lists(st.integers(0, 2), min_size=1, max_size=200), st.integers(0, 2**32 - 1))
def test_a_day_is_replaced_by_one_of_its_class(classes: list[int], seed: int) -> None:
    given_classes = np.array(classes)
    order = day_order(given_classes, [seed])

    assert (given_classes[order] == given_classes).all()
    assert (order % 7 == np.arange(len(classes)) % 7).all()
