"""Windows of a walk-forward: their days, the levels of their searches, and the days that a choice depends on."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Level, Part, Split
from optimizer.level.walk_forward import (
    chosen_until,
    first_judged,
    last_search,
    out_of_sample,
    window_level,
    window_numbers,
    window_of,
)
from tests.factories.levels import level_of
from tradeschool.errors import SettingsError

BTC = LevelDataset(dataset="coinbase/BTC-USD/H1", start=date(2020, 1, 1), end=date(2021, 1, 1))
EUR = LevelDataset(dataset="oanda/EUR-USD/H1", start=date(2020, 3, 1), end=date(2020, 6, 9))


def made(*datasets: LevelDataset, **split: object) -> Level:
    return level_of(trials=9, retries=1).model_copy(
        update={"datasets": datasets or (BTC, EUR), "split": Split(scheme="walk_forward", **split)}
    )


@given(
    st.integers(30, 900),
    st.integers(1, 12),
    st.floats(0.1, 0.9),
    st.integers(0, 2),
    st.booleans(),
)
def test_windows_cover_every_day_after_train_once_and_search_only_earlier_days(
    days: int, windows: int, train: float, embargo: int, anchored: bool
) -> None:
    dataset = LevelDataset(dataset=BTC.dataset, start=BTC.start, end=BTC.start + timedelta(days=days))
    level = made(dataset, windows=windows, train=train, embargo_days=embargo, anchored=anchored)
    first = round(days * train)
    if first <= embargo or days - first < windows:
        return
    found = [out_of_sample(level, dataset, number) for number in window_numbers(level)]

    assert found[0].start == level.window(dataset, Part.VALIDATION).start
    assert found[-1].end == dataset.window.end
    assert all(one.end == other.start for one, other in pairwise(found))
    lengths = {(each.end - each.start).days for each in found}
    assert max(lengths) - min(lengths) <= 1
    for number, window in enumerate(found, 1):
        (searched,) = window_level(level, number).datasets
        assert searched.window.end == window.start - timedelta(days=embargo), "no out-of-sample day, nor the embargo"
        assert (searched.start == dataset.start) if anchored else ((window.start.date() - searched.start).days == first)


def test_the_last_search_reads_every_day() -> None:
    level = made()
    last = window_level(level, last_search(level))

    assert last.datasets == level.datasets
    assert last.parts == (Part.TRAIN,)
    assert [last.window(each, Part.TRAIN) for each in last.datasets] == [each.window for each in level.datasets]
    assert last.trials == level.trials


def test_parts_and_trials_of_a_walk_forward() -> None:
    level = made()

    assert level.parts == (Part.TRAIN, Part.VALIDATION)
    assert level_of().parts == tuple(Part)
    assert window_level(level, 1).trials == 5, "half of nine, rounded up"
    assert window_level(made(window_trials=7), 1).trials == 7
    assert window_of(window_level(level, 2)) == "window 2 of 4"
    assert window_of(window_level(level, last_search(level))) == window_of(level) == ""
    with pytest.raises(SettingsError, match="empty"):
        level.window(BTC, Part.TEST)


def test_a_level_without_windows_is_its_own_search() -> None:
    level = level_of()

    assert window_level(level, 1) is level
    assert (list(window_numbers(level)), last_search(level)) == ([], 1)


def test_the_days_that_a_choice_depends_on_and_those_that_judge_it() -> None:
    level = made(embargo_days=1)

    assert chosen_until(level, 1) == date(2020, 5, 25), "BTC: 146 of 366 days, less the embargo"
    assert first_judged(level, 1) == date(2020, 4, 10), "EUR: 40 of 100 days"
    assert chosen_until(level, 5) == date(2021, 1, 1)
    assert first_judged(level, 5) == level.holdout.start
    single = level_of().model_copy(update={"datasets": (BTC,)})
    assert chosen_until(single, 1) == date(2020, 10, 20), "validation selects the winner"
    assert first_judged(single, 1) == date(2020, 8, 9)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"test": 0.1, "train": 0.4, "validation": 0.5}, "test = 0"),
        ({"train": 1.0}, "0 < train < 1"),
        ({"train": 0.0}, "0 < train < 1"),
        ({"windows": 0}, "greater than or equal to 1"),
        ({"train": 0.4, "validation": 0.4}, "must be 1, was 0.8"),
        ({"train": "half"}, "valid number"),
    ],
)
def test_a_split_that_is_no_walk_forward_is_refused(split: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Split(scheme="walk_forward", **split)


def test_a_split_survives_its_json() -> None:
    split = Split(scheme="walk_forward", train=0.7, windows=3, anchored=False)

    assert Split.model_validate_json(split.model_dump_json()) == split


def test_a_window_without_a_day_to_search_is_refused() -> None:
    short = LevelDataset(dataset=BTC.dataset, start=date(2020, 1, 1), end=date(2020, 1, 6))

    with pytest.raises(SettingsError, match="leaves no day of coinbase/BTC-USD/H1 to search"):
        window_level(made(short, embargo_days=2), 1)
