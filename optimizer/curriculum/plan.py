"""Level plan: the parts of each dataset of a level and their number of candles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.backtest.engine import warm_up_bars
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.spec import Level, Part
from optimizer.level.walk_forward import window_level, window_numbers
from optimizer.objective.objective import judged_days
from optimizer.strategies.parameter_ranges import widest
from optimizer.strategies.protocol import check_names, load
from tradeschool.errors import DataIncomplete
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.windows import Window
from tradeschool.store import Store

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPart:
    """One part of a dataset of a level."""

    dataset: str
    part: Part
    number: int | None
    """Window of a walk-forward, from 1; None for a whole part."""
    searched: Window | None
    """Days of that window's search; None for a whole part."""
    searched_bars: int | None
    """Number of bars that trials of that search are evaluated on; None for a whole part."""
    window: Window
    expected: int
    """Number of candles by the market's calendar."""
    stored: int | None
    """Number of sealed candles; None if the window is not fully sealed."""
    warm_up: int
    """Number of bars that only warm up indicators."""
    lead_in: int
    """Number of these bars that lie before the window."""

    @property
    def evaluated(self) -> int:
        """Number of judged bars, from stored candles if known, else from the calendar."""
        return max(0, (self.expected if self.stored is None else self.stored) - self.warm_up + self.lead_in)


def plan_level(level: Level, store: Store) -> list[PlannedPart]:
    """Return every part of a level's datasets, in order; with `walk_forward` validation window by window.

    Raises:
        SettingsError: a range is unknown, or a part is empty.
        HoldoutClosed: a part lies in the holdout period.
    """
    strategy, bounds = load(level.strategy), widest(level)
    check_names(strategy, bounds)
    return [
        _planned(level, place, part, number, warm_up_bars(strategy, bounds, dataset.source.timeframe), store)
        for place, dataset in enumerate(level.datasets)
        for part in level.parts
        for number in _numbers(level, part)
    ]


def _numbers(level: Level, part: Part) -> Sequence[int | None]:
    return window_numbers(level) if level.split.is_walk_forward and part is Part.VALIDATION else [None]


def _planned(level: Level, place: int, part: Part, number: int | None, warm_up: int, store: Store) -> PlannedPart:
    dataset = level.datasets[place]
    judged = judged_days(level, dataset, part)[(number or 1) - 1]
    window, reading = judged.window, judged.reading(warm_up)
    expected, stored = _times(dataset, reading, store)
    searched = window_level(level, number).datasets[place].window if number else None
    before = np.searchsorted(expected if stored is None else stored, window.start_seconds)
    return PlannedPart(
        dataset=dataset.dataset,
        part=part,
        number=number,
        searched=searched,
        searched_bars=_searched_bars(dataset, searched, warm_up, store) if searched else None,
        window=window,
        expected=int((expected >= window.start_seconds).sum()),
        stored=None if stored is None else int((stored >= window.start_seconds).sum()),
        warm_up=warm_up,
        lead_in=min(int(before), warm_up),
    )


def _searched_bars(dataset: LevelDataset, searched: Window, warm_up: int, store: Store) -> int:
    expected, stored = _times(dataset, searched, store)
    return max(0, len(expected if stored is None else stored) - warm_up)


def _times(dataset: LevelDataset, window: Window, store: Store) -> tuple[Times, Times | None]:
    """Return the times of candles in a window by the calendar, and of sealed ones if all are sealed."""
    expected = expected_slots(dataset.source, window)
    try:
        return expected, store.arrays(dataset.source, window).time
    except DataIncomplete:
        return expected, None
