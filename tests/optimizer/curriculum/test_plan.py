"""Level plan."""

from datetime import date

import pytest

from optimizer.curriculum.plan import plan_level
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Part, Split
from tests.factories.levels import level_of
from tests.factories.stores import seal_made
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.store.frame_store import FrameStore

EUR = "oanda/EUR-USD/H1"


@pytest.fixture
def level():
    dataset = LevelDataset(dataset=EUR, start=date(2021, 3, 1), end=date(2021, 6, 9))
    return level_of().model_copy(update={"datasets": (dataset,)})


def test_parts_are_in_time_order_with_an_embargo_between_them(level, store: FrameStore) -> None:
    train, validation, test = plan_level(level, store)

    assert [each.part for each in (train, validation, test)] == list(Part)
    assert (validation.window.start - train.window.end).days == 1
    assert (test.window.start - validation.window.end).days == 1
    assert (train.window.start, test.window.end) == (level.datasets[0].window.start, level.datasets[0].window.end)


def test_bars_are_counted_by_the_calendar_until_stored(level, store: FrameStore, window) -> None:
    train = plan_level(level, store)[0]
    assert (train.expected, train.stored, train.warm_up) == (1057, None, 60)
    assert train.evaluated == 997

    seal_made(store, find_dataset(EUR), window("2021-03-01", "2021-06-09"))
    stored = plan_level(level, store)[0]

    assert (stored.expected, stored.stored, stored.evaluated) == (1057, 1057, 997)


@pytest.mark.parametrize("is_stored", [False, True])
def test_every_bar_of_validation_and_test_is_judged(level, store: FrameStore, window, is_stored: bool) -> None:
    if is_stored:
        seal_made(store, find_dataset(EUR), window("2021-03-01", "2021-06-09"))
    train, *later = plan_level(level, store)

    assert (train.lead_in, train.evaluated) == (0, train.expected - 60)
    for part in later:
        assert (part.warm_up, part.lead_in) == (60, 60)
        assert part.evaluated == part.expected > 300


def test_a_part_without_a_day_is_refused(level, store: FrameStore) -> None:
    short = level.model_copy(update={"split": Split(train=0.98, validation=0.01, test=0.01, embargo_days=3)})

    with pytest.raises(SettingsError):
        plan_level(short, store)


def test_a_walk_forward_has_a_row_for_each_window_and_its_search(level, store: FrameStore, window) -> None:
    walked = level.model_copy(update={"split": Split(scheme="walk_forward", windows=3)})
    seal_made(store, find_dataset(EUR), window("2021-03-01", "2021-06-09"))

    train, *windows = plan_level(walked, store)

    assert (train.part, train.number, train.window) == (Part.TRAIN, None, level.datasets[0].window)
    assert [(each.part, each.number) for each in windows] == [(Part.VALIDATION, number) for number in (1, 2, 3)]
    assert [each.searched.end.date() for each in windows] == [date(2021, 4, 9), date(2021, 4, 29), date(2021, 5, 19)]
    assert all(each.evaluated == each.stored for each in windows), "every bar of a window is judged"
    assert [each.searched_bars for each in windows] == [
        len(store.arrays(find_dataset(EUR), each.searched)) - each.warm_up for each in windows
    ]
