"""A search in one process gives the trial table of workers, byte for byte."""

import pytest

from optimizer.curriculum.attempts import at_attempt
from optimizer.curriculum.inheritance import starting_points
from optimizer.curriculum.warm_start import copied_trial
from optimizer.level.spec import Level, Part
from optimizer.objective.objective import prepare_level
from optimizer.search.in_process import search_in_process
from optimizer.search.space import search_space
from optimizer.search.trial_table import export
from tests.factories.in_process_runs import ALMOST, ANY, RunHarness, early, level
from workers.coordinator.run.run_persistence import read_run

SEED = 7


def alone(harness: RunHarness, written: Level, attempt: int = 1, inherited=None, earlier=(), retries=()) -> list:
    searched = at_attempt(written, attempt, inherited, retries)
    space = search_space(searched, SEED, starting_points(searched, attempt, [inherited], SEED))
    was = at_attempt(written, max(1, attempt - 1), inherited, retries[:-1]).gate
    reused = [copied_trial(trial, space.distributions, was=was, now=searched.gate) for trial in earlier]
    train = prepare_level(written, Part.TRAIN, harness.context.store.arrays)
    return search_in_process(searched, space, train, reused)


@pytest.mark.parametrize("fields", [{}, {"early_stop": 3, "trials": 40}, {"lag": 1}, {"trials": 30}], ids=str)
def test_one_process_gives_the_same_table_as_workers(harness: RunHarness, fields: dict) -> None:
    written = level("1", ANY, **fields)
    harness.begin(written, seed=SEED)
    harness.run()

    assert export(alone(harness, written), "csv") == harness.table("1")


def test_one_process_gives_the_same_table_after_inheritance_and_on_retry(harness: RunHarness) -> None:
    written = level("2", ALMOST, retries=1, relax=0.5)
    harness.begin(early("1", ANY), written, seed=SEED)
    harness.run()
    _, one, other = read_run(harness.context, "run").attempts
    inherited = one.inherited

    first = alone(harness, written, inherited=inherited)
    second = alone(harness, written, 2, inherited, first, other.retries)

    assert inherited
    assert export(first, "csv") == harness.table("2", 1)
    assert export(second, "csv") == harness.table("2", 2)
