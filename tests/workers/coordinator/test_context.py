"""What a level requires of its candles before it starts."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from optimizer.level.holdout import Holdout
from optimizer.runs.run_record import RunRecord
from tests.factories.levels import level_of
from tests.factories.stores import seal_made
from tradeschool.errors import DataIncomplete, HoldoutClosed
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


def test_the_holdout_period_of_the_curriculum_is_closed_for_its_search(tmp_path: Path) -> None:
    context = context_of(tmp_path, GapReason.CONFIRMED_EMPTY)
    closed = LEVEL.model_copy(update={"holdout": Holdout(start=date(2021, 4, 1), end=date(2021, 5, 1))})
    [dataset] = LEVEL.datasets

    with pytest.raises(HoldoutClosed, match=r"2021-04-01\.\.2021-04-10 lies in the holdout period 2021-04-01"):
        context.require_candles(closed)
    with pytest.raises(HoldoutClosed):
        context.searched(closed).arrays(dataset.source, dataset.window)
    assert len(context.searched(LEVEL).arrays(dataset.source, dataset.window).time)


def test_the_missing_holdout_period_of_a_curriculum_is_named_with_its_command(tmp_path: Path) -> None:
    context = context_of(tmp_path, GapReason.CONFIRMED_EMPTY)
    own = LEVEL.model_copy(update={"holdout": Holdout(start=date(2022, 4, 1), end=date(2022, 5, 1))})

    assert context.holdout_missing(LEVEL) == (
        f"{NAME}: 2024-04-01..2025-01-01 is incomplete; run: tradeschool fetch --holdout"
    )
    assert context.holdout_missing(own) == (
        f"{NAME}: 2022-04-01..2022-05-01 is incomplete; run: tradeschool fetch --pairs BTC/USD --timeframes H1 "
        "--timerange 20220401-20220501 --holdout"
    )


def test_a_run_has_one_holdout_period() -> None:
    other = LEVEL.model_copy(update={"name": "2", "holdout": Holdout(start=date(2022, 4, 1), end=date(2022, 5, 1))})
    facts = {"name": "r", "seed": 1, "created": datetime(2026, 1, 1, tzinfo=UTC), "fingerprints": {}}

    assert RunRecord(levels=(other,), **facts).holdout == other.holdout
    with pytest.raises(ValidationError, match="same holdout period"):
        RunRecord(levels=(LEVEL, other), **facts)
