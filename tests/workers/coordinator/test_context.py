"""What a level requires of its candles before it starts."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.factories.levels import level_of
from tests.factories.stores import seal_made
from tradeschool.errors import DataIncomplete
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Gap, GapReason, Store
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.context import RunContext

NAME = "coinbase/BTC-USD/H1"
LEVEL = level_of((NAME,))


def context_of(folder: Path, reason: GapReason) -> RunContext:
    """A sealed dataset with a candle in a third of its slots."""
    [dataset] = LEVEL.datasets
    hour, window = timedelta(hours=1), dataset.window
    starts = [window.start + 3 * hour * number + hour for number in range((window.end - window.start) // (3 * hour))]
    gaps = tuple(Gap(start=start, end=start + 2 * hour, slots=2, reason=reason) for start in starts)
    store = FrameStore(folder / "data")
    seal_made(store, dataset.source, window, gaps=gaps)
    return RunContext(
        store=store,
        holdout=Store(folder / "holdout"),
        results_dir=folder / "results",
        storage_url=f"sqlite:///{folder / 'study'}",
        min_coverage=0.99,
        work=WorkSettings(),
    )


def test_a_thin_market_that_is_accounted_for_starts_a_level(tmp_path: Path) -> None:
    context = context_of(tmp_path, GapReason.CONFIRMED_EMPTY)

    context.require_candles(LEVEL)
    context.require_candles(LEVEL.model_copy(update={"min_density": 0.33}))


def test_a_level_may_require_a_density(tmp_path: Path) -> None:
    context = context_of(tmp_path, GapReason.CONFIRMED_EMPTY)

    with pytest.raises(DataIncomplete) as error:
        context.require_candles(LEVEL.model_copy(update={"min_density": 0.5}))

    said = f"level 1 cannot start: {NAME}: 2021-03-01..2021-04-10 has 33.33% of its candles traded, expected"
    assert str(error.value).startswith(said)


def test_candles_that_an_imported_file_lacks_are_not_accounted_for(tmp_path: Path) -> None:
    context = context_of(tmp_path, GapReason.NOT_IN_FILE)

    with pytest.raises(DataIncomplete, match=r"has 33\.33% of its candles accounted for, expected at least 99\.00%"):
        context.require_candles(LEVEL)
