"""What a level will look at: each dataset's parts, and how many candles they hold."""

from dataclasses import dataclass

from optimizer.backtest.engine import warm_up_bars
from optimizer.level import Level, LevelDataset, Part
from optimizer.ranges import widest
from optimizer.strategy import check_names, load
from tradeschool.errors import DataIncomplete
from tradeschool.market import Window
from tradeschool.sessions import expected_slots
from tradeschool.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPart:
    """One part of a dataset of a level."""

    dataset: str
    part: Part
    window: Window
    expected: int
    """Candles that the market's calendar expects."""
    stored: int | None
    """Candles that are sealed; None where not all of the window is."""
    warm_up: int
    """First bars, which feed indicators only."""

    @property
    def judged(self) -> int:
        """Bars that count: of those that are stored, or else expected."""
        return max(0, (self.expected if self.stored is None else self.stored) - self.warm_up)


def plan_level(level: Level, store: Store) -> list[PlannedPart]:
    """Every part of a level's datasets, in order.

    Raises:
        SettingsError: where a range is unknown, or a part is left without a day.
        PeriodClosed: where a part lies in the sealed period.
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
