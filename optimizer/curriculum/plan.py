"""Level plan: the parts of each dataset of a level and their number of candles."""

from dataclasses import dataclass

from optimizer.backtest.engine import warm_up_bars
from optimizer.level.spec import Level, LevelDataset, Part
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
    """Number of first bars that only warm up indicators."""

    @property
    def evaluated(self) -> int:
        """Number of judged bars, from stored candles if known, else from the calendar."""
        return max(0, (self.expected if self.stored is None else self.stored) - self.warm_up)


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
    window = level.window(dataset, part)
    try:
        stored = len(store.arrays(dataset.source, window))
    except DataIncomplete:
        stored = None
    return PlannedPart(
        dataset=dataset.dataset,
        part=part,
        window=window,
        expected=len(expected_slots(dataset.source, window)),
        stored=stored,
        warm_up=warm_up,
    )
