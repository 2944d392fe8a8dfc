"""Monitoring access: it returns what is stored and reads each trial once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event
from sqlalchemy.engine import Engine

from optimizer.runs.live_reader import StudyWatch, best_so_far
from tradeschool.errors import ServiceUnreachable

DISTRIBUTIONS = {
    "fast": IntDistribution(1, 9),
    "stop": FloatDistribution(0.5, 5.0),
    "filter": CategoricalDistribution(["on", "off"]),
}


def trial(value: float | None, *, missed: float = -1.0, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params={"fast": 3, "stop": 1.25, "filter": "off"},
        distributions=DISTRIBUTIONS,
        constraints={"sharpe": missed, "win_rate": -0.1},
        user_attrs={"metrics": {"sharpe": 1.5, "calmar": None}, "worker": "w1", "seconds": 0.5},
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.sqlite3'}"


@pytest.fixture
def watch(url: str) -> Iterator[StudyWatch]:
    watching = StudyWatch(url)
    yield watching
    watching.close()


@pytest.fixture
def study(url: str) -> Iterator[optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    yield optuna.create_study(storage=storage, study_name="run-L1-a1", direction="maximize")
    storage.scoped_session.remove()
    storage.engine.dispose()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    said: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield said
    event.remove(Engine, "before_cursor_execute", note)


def test_a_trial_is_read_as_stored(watch: StudyWatch, study: optuna.Study) -> None:
    study.add_trial(trial(1.5))

    (seen,) = watch.trials("run-L1-a1")

    assert (seen.number, seen.state, seen.value, seen.is_feasible) == (0, "complete", 1.5, True)
    assert seen.parameters == {"fast": 3, "stop": 1.25, "filter": "off"}
    assert isinstance(seen.parameters["fast"], int)
    assert seen.metrics == {"sharpe": 1.5, "calmar": None}
    assert (seen.worker, seen.seconds) == ("w1", 0.5)
    stored = study.trials[0].datetime_complete
    assert stored is not None
    assert seen.ended == pytest.approx(stored.timestamp(), abs=1e-3)


def test_the_best_trial_is_feasible(watch: StudyWatch, study: optuna.Study) -> None:
    for value, missed in ((9.0, 0.5), (1.0, -1.0), (2.0, 0.0), (2.0, -1.0)):
        study.add_trial(trial(value, missed=missed))
    study.add_trial(trial(8.0, state=TrialState.PRUNED))
    study.add_trial(trial(None, state=TrialState.FAIL))

    seen = watch.trials("run-L1-a1")
    best = best_so_far(seen)

    assert [each.is_feasible for each in seen] == [False, True, True, True, False, False]
    assert best is not None
    assert best.number == 2
    assert best.number == study.best_trial.number


def test_each_trial_is_read_once_after_it_has_ended(
    watch: StudyWatch, study: optuna.Study, statements: list[str]
) -> None:
    study.add_trial(trial(1.0))
    running = study.ask()
    assert len(watch.trials("run-L1-a1")) == 1
    study.tell(running, 2.0)
    assert [each.value for each in watch.trials("run-L1-a1")] == [1.0, 2.0]
    statements.clear()

    assert len(watch.trials("run-L1-a1")) == 2

    assert len([each for each in statements if each.startswith("SELECT")]) == 2


def test_a_read_writes_nothing(watch: StudyWatch, study: optuna.Study, tmp_path: Path) -> None:
    study.add_trial(trial(1.0))
    before = (tmp_path / "study.sqlite3").read_bytes()
    watch.trials("run-L1-a1")

    assert (tmp_path / "study.sqlite3").read_bytes() == before


def test_a_missing_database_is_empty_and_is_not_created(watch: StudyWatch, tmp_path: Path) -> None:
    assert watch.trials("run-L1-a1") == ()
    assert watch.runs() == []
    assert not (tmp_path / "study.sqlite3").exists()


def test_a_database_without_studies_has_none(watch: StudyWatch, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "study.sqlite3")) as made:
        made.execute("CREATE TABLE tradeschool_runs (name TEXT)")
        made.commit()

    assert watch.trials("run-L1-a1") == ()
    assert watch.facts("run-L1-a1") == {}


def test_a_database_outage_is_reported_and_reading_resumes(
    watch: StudyWatch, study: optuna.Study, tmp_path: Path
) -> None:
    study.add_trial(trial(1.0))
    assert len(watch.trials("run-L1-a1")) == 1
    (tmp_path / "study.sqlite3").rename(tmp_path / "elsewhere")
    watch.close()
    with pytest.raises(ServiceUnreachable, match=r"study database .*study.sqlite3"):
        watch.trials("run-L1-a1")
    (tmp_path / "elsewhere").rename(tmp_path / "study.sqlite3")
    study.add_trial(trial(2.0))

    assert [each.value for each in watch.trials("run-L1-a1")] == [1.0, 2.0]


def test_a_read_returns_all_trials_in_batches(url: str, study: optuna.Study) -> None:
    for number in range(7):
        study.add_trial(trial(float(number), state=TrialState.COMPLETE if number % 2 else TrialState.PRUNED))
    with closing(StudyWatch(url, piece=3)) as watch:
        seen = watch.trials("run-L1-a1")
        found = best_so_far(seen)

        assert [each.number for each in seen] == list(range(7))
        assert found is not None
        assert found.number == 5
        study.add_trial(trial(9.0))
        assert [each.number for each in watch.trials("run-L1-a1")] == list(range(8))


def test_study_attributes_are_read_once(watch: StudyWatch, study: optuna.Study, statements: list[str]) -> None:
    assert watch.facts("run-L1-a1") == {}
    study.set_user_attr("level", {"trials": 150})
    assert watch.facts("run-L1-a1") == {"level": {"trials": 150}}
    statements.clear()

    assert watch.facts("run-L1-a1") == {"level": {"trials": 150}}
    assert statements == []


def test_a_recreated_study_is_read_again(watch: StudyWatch, study: optuna.Study) -> None:
    study.add_trial(trial(1.0))
    assert len(watch.trials("run-L1-a1")) == 1
    optuna.delete_study(study_name="run-L1-a1", storage=study._storage)
    assert watch.trials("run-L1-a1") == ()
    again = optuna.create_study(storage=study._storage, study_name="run-L1-a1", direction="maximize")
    again.add_trial(trial(5.0))

    assert [each.value for each in watch.trials("run-L1-a1")] == [5.0]


@pytest.mark.parametrize("url", ["postgresql+psycopg://user:s3cret@127.0.0.1:9/none", "nonsense://x:s3cret@y"])
def test_no_password_is_revealed_by_the_reader(url: str) -> None:
    with pytest.raises(ServiceUnreachable) as told:
        StudyWatch(url).trials("run-L1-a1")

    assert "s3cret" not in str(told.value)
