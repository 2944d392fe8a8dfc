"""Several objectives: front, its rule, trial table, early stopping, warm start and selection."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import FrozenTrial, create_trial

from optimizer.curriculum.warm_start import copied_trial
from optimizer.level.spec import Gate
from optimizer.objective.dominance import by_distance, dominates, front_of
from optimizer.search.early_stopping import EarlyStopping
from optimizer.search.pareto import pareto_front
from optimizer.search.trial_table import export, trial_rows
from optimizer.validation.selection import candidates

RANGES = {"fast": IntDistribution(1, 100)}
GATE = Gate(win_rate=0.5, sharpe=0.8, max_drawdown_intrabar=0.15, profit_factor=1.3)
points = st.lists(st.tuples(*[st.integers(-3, 3).map(float)] * 2), max_size=12)


def trial(number: int, values: Sequence[float], *, fast: int | None = None, violation: float = -1.0) -> FrozenTrial:
    found = create_trial(
        values=list(values),
        params={"fast": number + 1 if fast is None else fast},
        distributions=RANGES,
        constraints={"win_rate": violation, "drawdown": -1.0, "profit_factor": -1.0},
        user_attrs={"objectives": ["sharpe", "calmar"], "metrics": {"sharpe": values[0]}},
    )
    found.number = number
    return found


@given(points)
def test_the_front_is_optuna_s(given: list[tuple[float, float]]) -> None:
    trials = [trial(number, point) for number, point in enumerate(given)]
    expected = _get_pareto_front_trials_by_trials(trials, [StudyDirection.MAXIMIZE] * 2)

    assert {given[place] for place in front_of(given)} == {tuple(each.values) for each in expected}


@given(points)
def test_nothing_dominates_a_point_of_the_front(given: list[tuple[float, float]]) -> None:
    front = front_of(given)

    assert not any(dominates(given[one], given[other]) for one in front for other in front)
    assert all(
        place in front or any(dominates(given[other], given[place]) for other in front) for place in range(len(given))
    )


def test_the_nearest_to_the_best_of_every_objective_is_first() -> None:
    assert by_distance([(0.0, 10.0), (2.0, 9.0), (4.0, 0.0)]) == [1, 0, 2]
    assert by_distance([(1.0, 5.0), (1.0, 5.0)]) == [0, 1]
    assert by_distance([]) == []


def test_infeasible_and_repeated_trials_are_not_on_the_front() -> None:
    trials = [trial(0, (1, 1)), trial(1, (9, 9), violation=0.1), trial(2, (1, 1), fast=1), trial(3, (0, 2))]

    assert [each.number for each in pareto_front(trials)] == [0, 3]
    assert pareto_front([]) == []


def test_the_table_has_a_column_for_each_objective_and_one_for_the_front() -> None:
    trials = [trial(0, (1.0, 1.0)), trial(1, (0.5, 0.5))]

    header, first, second = export(trials, "csv").decode().splitlines()
    assert header.split(",")[2:4] == ["value_calmar", "value_sharpe"]
    assert header.endswith(",pareto_front")
    assert [line.rsplit(",", 1)[1] for line in (first, second)] == ["1", "0"]
    assert "pareto_front" not in trial_rows(trials)[0]


def test_early_stopping_counts_trials_that_do_not_extend_the_front() -> None:
    found = EarlyStopping(2, 0)
    values = [(1, 1), (2, 0), (0, 0), (1, 1), (0, 3)]

    assert [found.is_over(trial(number, point)) for number, point in enumerate(values)] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_a_warm_start_copies_all_values() -> None:
    copy = copied_trial(trial(4, (1.5, 2.5)), RANGES, was=GATE, now=GATE.model_copy(update={"win_rate": 0.4}))

    assert (copy.number, copy.values, copy.user_attrs["objectives"]) == (4, [1.5, 2.5], ["sharpe", "calmar"])
    assert copy.constraints["win_rate"] == pytest.approx(-1.0)


def test_candidates_are_the_ten_first_of_the_front() -> None:
    trials = [trial(number, (float(number), float(40 - number))) for number in range(15)] + [trial(20, (0.0, 0.0))]

    found = candidates(trials)

    assert len(found) == 10
    assert found[0].number == 7
    assert 20 not in [each.number for each in found]
