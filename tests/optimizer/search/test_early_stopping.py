"""Early stopping."""

import optuna
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from optimizer.search.early_stopping import EarlyStopping


def trial(number: int, value: float | None, *, feasible: bool = True) -> FrozenTrial:
    state = TrialState.COMPLETE if value is not None else TrialState.FAIL
    made = optuna.trial.create_trial(state=state, value=value, constraints={"c": -1.0 if feasible else 1.0})
    made.number = number
    return made


def end_of(trials: list[FrozenTrial], most: int | None, reused: int = 0) -> int | None:
    patience = EarlyStopping(most, reused)
    return next((each.number for each in trials if patience.is_over(each)), None)


def test_a_search_ends_after_n_trials_without_improvement() -> None:
    assert end_of([trial(number, value) for number, value in enumerate([1.0, 2.0, 1.5, 2.0, 0.0])], 3) == 4


def test_a_better_trial_resets_the_count() -> None:
    assert end_of([trial(number, value) for number, value in enumerate([1.0, 0.5, 2.0, 0.5, 3.0])], 2) is None


def test_infeasible_and_failed_trials_are_no_improvement() -> None:
    trials = [trial(0, 1.0), trial(1, 9.0, feasible=False), trial(2, None), trial(3, 8.0, feasible=False)]

    assert end_of(trials, 3) == 3


def test_without_a_limit_a_search_does_not_stop_early() -> None:
    assert end_of([trial(number, 0.0) for number in range(50)], None) is None


def test_carried_trials_set_the_best_value_but_are_not_counted() -> None:
    trials = [trial(0, 5.0), *[trial(number, 1.0) for number in range(1, 9)]]

    assert end_of(trials, 3, reused=4) == 6


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), max_size=40), st.integers(1, 6), st.integers(0, 40))
def test_an_interrupted_search_stops_at_the_same_trial(found, most: int, stop: int) -> None:
    """Given the first trials again, as after a kill, the search ends at the same trial."""
    trials = [trial(number, value, feasible=feasible) for number, (value, feasible) in enumerate(found)]
    again = EarlyStopping(most, 0)
    early = next((each.number for each in trials[:stop] if again.is_over(each)), None)
    rest = early if early is not None else next((each.number for each in trials[stop:] if again.is_over(each)), None)

    assert rest == end_of(trials, most)
