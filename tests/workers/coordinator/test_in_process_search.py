"""A search in one process asks and finds what workers do, byte for byte."""

import pytest

from optimizer.curriculum.attempts import at_attempt
from optimizer.curriculum.inheritance import first_points
from optimizer.curriculum.warm_start import moved
from optimizer.level.spec import Level, Part
from optimizer.objective.objective import prepare_level, repair
from optimizer.search.in_process import search_alone
from optimizer.search.sampler import Space
from optimizer.search.space import distributions
from optimizer.search.trial_table import export
from tests.factories.in_process_runs import ALMOST, ANY, School, level
from workers.coordinator.run_record import read_run

SEED = 7


def alone(school: School, written: Level, attempt: int = 1, inherited=None, earlier=()) -> list:
    searched = at_attempt(written, attempt, inherited)
    space = Space(
        seed=SEED,
        lag=searched.lag,
        distributions=distributions(searched),
        repair=lambda parameters: repair(searched, parameters),
        first_points=first_points(searched, inherited, SEED) if inherited and attempt == 1 else (),
    )
    was = at_attempt(written, attempt - 1, inherited).gate
    carried = [moved(trial, space.distributions, was=was, now=searched.gate) for trial in earlier]
    train = prepare_level(written, Part.TRAIN, school.place.store.arrays)
    return search_alone(searched, space, train, carried)


@pytest.mark.parametrize("fields", [{}, {"early_stop": 3, "trials": 40}, {"lag": 1}, {"trials": 30}], ids=str)
def test_one_process_finds_what_workers_find(school: School, fields: dict) -> None:
    written = level("1", ANY, **fields)
    school.begin(written, seed=SEED)
    school.go_on()

    assert export(alone(school, written), "csv") == school.table("1")


def test_also_after_a_winner_was_inherited_and_on_a_retry(school: School) -> None:
    written = level("2", ALMOST, retries=1, relax=0.5)
    school.begin(level("1", ANY), written, seed=SEED)
    school.go_on()
    inherited = read_run(school.place, "run").attempts[1].inherited

    first = alone(school, written, inherited=inherited)
    second = alone(school, written, 2, inherited, first)

    assert inherited
    assert export(first, "csv") == school.table("2", 1)
    assert export(second, "csv") == school.table("2", 2)
