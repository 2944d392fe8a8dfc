"""Warm start: trials of an earlier attempt in the next attempt's study."""

from pathlib import Path

import pytest
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial

from optimizer.curriculum.warm_start import constraints_under, copy_trials
from optimizer.level.spec import Gate, Part
from optimizer.objective.objective import evaluate, prepare_level
from optimizer.search.sampler import TrialRequest
from optimizer.search.space import distributions
from optimizer.search.study import OpenStudy, StudyFacts, open_study
from optimizer.search.trials import TrialOrigin, finished_trial
from tests.factories.levels import PARAMETERS, level_at, level_of, read_flat, read_made
from tradeschool.errors import StudyChanged

NO_WORKER = TrialOrigin(worker="", started=0.0, seconds=0.0)
LEVEL = level_of(("coinbase/BTC-USD/H1",), trials=4, retries=1, drawdown_limit=1.0)


def finished(level, number: int, parameters, read=read_made) -> FrozenTrial:
    trial_request = TrialRequest(number=number, parameters=parameters, thresholds=(), known=None)
    evaluation = evaluate(level, prepare_level(level, Part.TRAIN, read), parameters, ())
    return finished_trial(trial_request, distributions(level), evaluation, NO_WORKER)


@pytest.fixture
def earlier() -> list[FrozenTrial]:
    return [finished(LEVEL, number, {**PARAMETERS, "fast": 5 + number}) for number in range(4)]


def open_attempt(folder: Path, attempt: int) -> OpenStudy:
    facts = StudyFacts(level=level_at(LEVEL, attempt), seed=7, fingerprints={}, reused=4 if attempt > 1 else 0)
    return open_study(f"sqlite:///{folder / 'study'}", f"r-L1-a{attempt}", facts)


def test_carried_trials_keep_results_and_get_the_wider_ranges(tmp_path: Path, earlier) -> None:
    wider = distributions(level_at(LEVEL, 2))
    study = open_attempt(tmp_path, 2)

    copy_trials(study, earlier, wider, was=LEVEL.gate, now=LEVEL.gate)
    found = study.trials()
    study.close()

    for one, other in zip(earlier, found, strict=True):
        assert (one.number, one.state, one.value, one.params) == (other.number, other.state, other.value, other.params)
        assert one.intermediate_values == other.intermediate_values
        assert one.constraints == other.constraints
        assert other.distributions == wider


def test_an_interrupted_warm_start_resumes(tmp_path: Path, earlier) -> None:
    study, wider = open_attempt(tmp_path, 2), distributions(level_at(LEVEL, 2))
    copy_trials(study, earlier[:2], wider, was=LEVEL.gate, now=LEVEL.gate)

    for _ in range(2):
        copy_trials(study, earlier, wider, was=LEVEL.gate, now=LEVEL.gate)
    numbers = [trial.number for trial in study.trials()]
    study.close()

    assert numbers == [0, 1, 2, 3]


def test_two_concurrent_warm_starts_are_detected(tmp_path: Path, earlier) -> None:
    one, other, wider = open_attempt(tmp_path, 2), open_attempt(tmp_path, 2), distributions(level_at(LEVEL, 2))
    seen = one.trials
    copy_trials(other, earlier, wider, was=LEVEL.gate, now=LEVEL.gate)
    one.trials = list  # type: ignore[method-assign,assignment]  # it looked before the other wrote

    with pytest.raises(StudyChanged):
        copy_trials(one, earlier, wider, was=LEVEL.gate, now=LEVEL.gate)

    assert len(seen()) == 4
    one.close()
    other.close()


def test_optuna_sees_one_range_per_parameter(tmp_path: Path, earlier) -> None:
    """Without equal ranges, Optuna would not sample widened parameters jointly."""
    wider = distributions(level_at(LEVEL, 2))
    study = open_attempt(tmp_path, 2)
    copy_trials(study, earlier, wider, was=LEVEL.gate, now=LEVEL.gate)
    reused = study.trials()
    study.close()
    new = finished(level_at(LEVEL, 2), 4, PARAMETERS)

    assert intersection_search_space([*reused, new]) == wider
    assert intersection_search_space([*earlier, new]) == {}


@pytest.mark.parametrize("read", [read_made, read_flat])
@pytest.mark.parametrize("fast", [5, 12, 30])
def test_carried_constraints_equal_those_of_the_relaxed_gate(read, fast: int) -> None:
    now = Gate(win_rate=0.4, sharpe=0.5, max_drawdown_intrabar=0.3, profit_factor=1.1)
    parameters = {**PARAMETERS, "fast": fast, "slow": 40}
    trial = finished(LEVEL, 0, parameters, read)
    relaxed = finished(LEVEL.model_copy(update={"gate": now}), 0, parameters, read)

    moved = constraints_under(now, LEVEL.gate, trial.constraints, trial.user_attrs["metrics"])

    assert moved == pytest.approx(relaxed.constraints, abs=1e-10)
