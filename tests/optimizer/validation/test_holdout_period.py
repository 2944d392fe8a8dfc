"""Holdout period: no part of a search can read its candles, which are on the same disk."""

from datetime import date
from functools import partial

import pytest

from optimizer.curriculum.plan import plan_level
from optimizer.level.holdout import Holdout
from optimizer.level.level_dataset import LevelDataset
from optimizer.level.searched_store import closed_for
from optimizer.level.spec import Level, Part
from optimizer.objective.objective import evaluate, prepare_level
from optimizer.objective.objective import plan_level as objective_plan
from optimizer.search.sampler import TrialRequest
from optimizer.search.space import distributions
from optimizer.search.trials import TrialOrigin, finished_trial
from optimizer.validation.attempt_findings import AttemptCase
from optimizer.validation.verdict import judge_attempt
from tests.factories.levels import PARAMETERS, level_of, read_made
from tests.factories.stores import seal_made
from tradeschool.errors import HoldoutClosed
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, find_dataset
from tradeschool.markets.windows import Window
from tradeschool.settings.sections import WorkSettings
from tradeschool.store import Store
from tradeschool.store.frame_store import FrameStore
from workers.coordinator.context import RunContext
from workers.queue.messages import level_digests
from workers.work_horse.evaluator import Evaluator

BTC = find_dataset("coinbase/BTC-USD/H1")


@pytest.fixture
def closed(store: FrameStore, window) -> FrameStore:
    """Half a year of candles that overlaps the holdout period, in the store of a search."""
    seal_made(store, BTC, window("2024-01-01", "2024-07-01"))
    return FrameStore(store.root, closed=HOLDOUT_WINDOW)


def level_until(end: date, start: date = date(2024, 1, 1)) -> Level:
    dataset = LevelDataset(dataset=BTC.name, start=start, end=end)
    return level_of(datasets=(BTC.name,)).model_copy(update={"datasets": (dataset,)})


def test_the_period_before_the_holdout_is_readable(closed: FrameStore) -> None:
    level = level_until(date(2024, 4, 1))

    for part in Part:
        assert len(prepare_level(level, part, closed.arrays)[0]) > 100
    assert level_digests(level, closed)


@pytest.mark.parametrize("method", ["arrays", "candles", "digest", "require", "require_holdout", "coverage", "density"])
@pytest.mark.parametrize(
    "days",
    [
        ("2024-03-01", "2024-04-02"),
        ("2024-04-01", "2024-05-01"),
        ("2024-05-01", "2024-06-01"),
        ("2024-01-01", "2024-07-01"),
    ],
    ids=lambda days: "-".join(days),
)
def test_the_store_refuses_every_read_of_the_holdout(
    closed: FrameStore, store: FrameStore, window, method: str, days
) -> None:
    asked = window(*days)

    with pytest.raises(HoldoutClosed, match=r"holdout period 2024-04-01\.\.2025-01-01, which a search must not read"):
        getattr(closed, method)(BTC, asked)

    getattr(store, method)(BTC, asked)


@pytest.mark.parametrize("part", Part)
def test_the_objective_cannot_read_the_holdout(closed: FrameStore, part: Part) -> None:
    """Preparing any part of a level in the holdout period is refused."""
    level = level_until(date(2024, 7, 1), start=date(2024, 4, 1))

    with pytest.raises(HoldoutClosed):
        prepare_level(level, part, closed.arrays)


def test_a_worker_cannot_read_the_holdout_digest(closed: FrameStore) -> None:
    with pytest.raises(HoldoutClosed):
        level_digests(level_until(date(2024, 7, 1), start=date(2024, 4, 1)), closed)


def test_selection_and_gate_cannot_read_the_holdout(closed: FrameStore) -> None:
    """Train lies before the holdout period, validation in it: the search runs and the verdict is refused."""
    level = level_until(date(2024, 6, 1), start=date(2024, 1, 1))
    level = level.model_copy(update={"gate": level.gate.model_copy(update={"profit_factor": 0.01, "win_rate": 0.0})})
    opened: list[Part] = []

    train = prepare_level(level, Part.TRAIN, closed.arrays)
    evaluation = evaluate(level, train, PARAMETERS, ())
    trial_request = TrialRequest(number=0, parameters=dict(PARAMETERS), thresholds=(), known=None)
    trial = finished_trial(
        trial_request, distributions(level), evaluation, TrialOrigin(worker="", started=0.0, seconds=0.0)
    )
    case = AttemptCase(level=level, attempt=1, relaxed=0.0, trials=[trial], reused=0, predecessor=None, seed=7)

    with pytest.raises(HoldoutClosed):
        judge_attempt(case, closed.arrays, lambda part, *_: opened.append(part), lambda *_: None)

    assert opened == [Part.VALIDATION], "the look is logged before it is refused"


def test_a_plan_or_run_that_includes_the_holdout_is_refused(closed: FrameStore, tmp_path) -> None:
    level = level_until(date(2024, 6, 1))
    context = RunContext(
        store=closed,
        holdout=Store(tmp_path / "holdout"),
        results_dir=tmp_path / "results",
        storage_url=f"sqlite:///{tmp_path / 'study'}",
        min_coverage=0.9,
        work=WorkSettings(),
    )

    with pytest.raises(HoldoutClosed):
        plan_level(level, closed)
    with pytest.raises(HoldoutClosed):
        context.require_candles(level)


def test_the_refused_level_is_valid_without_the_store() -> None:
    """The refusals depend only on the period: the same level without the store is evaluated."""
    level = level_until(date(2024, 6, 1))

    assert prepare_level(level, Part.VALIDATION, read_made)
    assert Window(HOLDOUT_WINDOW.start, HOLDOUT_WINDOW.end).overlap(level.window(level.datasets[0], Part.VALIDATION))


def own_holdout(start: date, end: date, holdout: Holdout) -> Level:
    return level_until(end, start).model_copy(update={"holdout": holdout})


def test_a_curriculum_with_a_later_holdout_period_reads_the_default_one(closed: FrameStore) -> None:
    """A worker's store is closed for the holdout period of each level that it evaluates."""
    level = own_holdout(date(2024, 1, 1), date(2024, 6, 1), Holdout(start=date(2024, 6, 1), end=date(2024, 7, 1)))
    worker = Evaluator(
        store=closed, store_of=partial(closed_for, closed), plan=objective_plan, evaluate=evaluate, worker="here"
    )

    worker.check(level, level_digests(level, closed_for(closed, level)))
    with pytest.raises(HoldoutClosed, match=r"2024-04-01\.\."):
        worker.check(level_until(date(2024, 6, 1), date(2024, 4, 1)), {})
    assert closed.closed == HOLDOUT_WINDOW, "the store itself is unchanged"


def test_an_earlier_holdout_period_is_closed_for_workers(closed: FrameStore) -> None:
    level = own_holdout(date(2024, 1, 1), date(2024, 4, 1), Holdout(start=date(2024, 2, 1), end=date(2024, 4, 1)))
    worker = Evaluator(
        store=closed, store_of=partial(closed_for, closed), plan=objective_plan, evaluate=evaluate, worker="here"
    )

    with pytest.raises(HoldoutClosed, match=r"lies in the holdout period 2024-02-01\.\.2024-04-01"):
        worker.check(level, level_digests(level, closed))
    with pytest.raises(HoldoutClosed):
        plan_level(level, closed_for(closed, level))
