"""Level plan: the parts of each dataset of a level and their number of candles."""

from dataclasses import dataclass

import numpy as np

from optimizer.backtest.engine import warm_up_bars
from optimizer.level.spec import Level, LevelDataset, Part
from optimizer.objective.objective import judged_part
from optimizer.strategies.parameter_ranges import widest
from optimizer.strategies.protocol import check_names, load
from tradeschool.errors import DataIncomplete
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.windows import Window
from tradeschool.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPart:
    """One part of a dataset of a level."""

    dataset: str
    part: Part
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
    """Return every part of a level's datasets, in order.

    Raises:
        SettingsError: a range is unknown, or a part is empty.
        HoldoutClosed: a part lies in the holdout period.
    """
    strategy, bounds = load(level.strategy), widest(level)
    check_names(strategy, bounds)
    return [
        _planned(level, dataset, part, warm_up_bars(strategy, bounds, dataset.source.timeframe), store)
        for dataset in level.datasets
        for part in Part
    ]


def _planned(level: Level, dataset: LevelDataset, part: Part, warm_up: int, store: Store) -> PlannedPart:
    judged = judged_part(level, dataset, part)
    window, reading = judged.window, judged.reading(warm_up)
    expected = expected_slots(dataset.source, reading)
    try:
        stored = store.arrays(dataset.source, reading).time
    except DataIncomplete:
        stored = None
    before = np.searchsorted(expected if stored is None else stored, window.start_seconds)
    return PlannedPart(
        dataset=dataset.dataset,
        part=part,
        window=window,
        expected=int((expected >= window.start_seconds).sum()),
        stored=None if stored is None else int((stored >= window.start_seconds).sum()),
        warm_up=warm_up,
        lead_in=min(int(before), warm_up),
    )
