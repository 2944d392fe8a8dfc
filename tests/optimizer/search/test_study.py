"""Study storage: trials are committed whole, in number order, and readable by stock Optuna."""

import math
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Level
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome
from optimizer.search.sampler import TrialRequest
from optimizer.search.study import OpenStudy, StudyFacts, open_study
from optimizer.search.trial_table import export
from optimizer.search.trials import TrialOrigin, failed_trial, finished_trial, repeated_trial
from tradeschool.errors import ServiceUnreachable, SettingsError, StudyChanged
from tradeschool.settings.urls import mask_url

DISTRIBUTIONS = {"fast": IntDistribution(5, 50), "stop": FloatDistribution(1.0, 5.0)}
ORIGIN = TrialOrigin(worker="there", started=1_700_000_000.0, seconds=0.25)
LEVEL = Level.model_validate(
    {
        "name": "1",
        "title": "A level",
        "direction": "long",
        "trials": 10,
        "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
        "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
        "ranges": {"fast": [5, 50], "stop": [1.0, 5.0]},
    }
)
FACTS = StudyFacts(level=LEVEL, seed=7, fingerprints={"data": "d1", "code": "c1"})


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture(params=["in bulk", "by optuna"])
def study(url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """A study with the bulk writer and one with Optuna's writer; both must behave equally."""
    if request.param == "by optuna":
        monkeypatch.setattr("optimizer.search.study.can_write", lambda engine: False)
    opened = open_study(url, "run-L1-a1", FACTS)
    yield opened
    opened.close()


def trial_request(number: int, fast: int = 10) -> TrialRequest:
    return TrialRequest(number=number, parameters={"fast": fast, "stop": 1.25}, thresholds=(), known=None)


def evaluation(value: float, *, drawdown: float = -0.1, state: str = "complete") -> Evaluation:
    return Evaluation(
        state=TrialOutcome(state),
        value=value,
        intermediate=(0.5, math.nan, value),
        constraints={**dict.fromkeys(CONSTRAINTS, -1.0), "drawdown": drawdown},
        metrics=dict.fromkeys(METRICS, 1.0) | {"calmar": math.inf},
        pruned_reason="below the median" if state == "pruned" else None,
    )


def trial(number: int, value: float = 1.0, **changes: object) -> FrozenTrial:
    return finished_trial(trial_request(number), DISTRIBUTIONS, evaluation(value, **changes), ORIGIN)


def stock(url: str) -> optuna.Study:
    return optuna.load_study(study_name="run-L1-a1", storage=url)


def test_stock_optuna_reads_all_stored_values(study: OpenStudy, url: str) -> None:
    study.commit(trial(0, 1.5))
    study.commit(trial(1, 0.2, state="pruned"))
    study.commit(failed_trial(trial_request(2), DISTRIBUTIONS, "ValueError: no", ORIGIN))

    complete, pruned, failed = stock(url).trials

    assert [complete.state, pruned.state, failed.state] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert (complete.number, complete.value, complete.params) == (0, 1.5, {"fast": 10, "stop": 1.25})
    assert complete.distributions == DISTRIBUTIONS
    assert complete.constraints == {"win_rate": -1.0, "drawdown": -0.1, "profit_factor": -1.0, "min_trades": -1.0}
    assert complete.user_attrs["metrics"] == dict.fromkeys(METRICS, 1.0) | {"calmar": None}
    assert pruned.user_attrs["pruned"] == "below the median"
    assert complete.user_attrs["worker"] == "there"
    assert complete.duration is not None
    assert complete.duration.total_seconds() == 0.25
    assert complete.datetime_start is not None
    assert complete.datetime_start.timestamp() == 1_700_000_000.0
    assert complete.intermediate_values[0] == 0.5
    assert math.isnan(complete.intermediate_values[1])
    assert failed.user_attrs["failure"] == "ValueError: no"


def test_stock_best_trial_respects_constraints(study: OpenStudy, url: str) -> None:
    study.commit(trial(0, 1.0))
    study.commit(trial(1, 9.0, drawdown=0.1))

    assert stock(url).best_trial.number == 0


def test_many_trials_are_stored_at_once(study: OpenStudy, url: str) -> None:
    study.commit(trial(0), trial(1), trial(2))

    assert [each.number for each in stock(url).trials] == [0, 1, 2]


def test_a_batch_of_trials_is_stored_whole_or_not_at_all(study: OpenStudy) -> None:
    study.commit(trial(0))

    with pytest.raises(StudyChanged):
        study.commit(trial(0), trial(1))
    with pytest.raises(StudyChanged):
        study.commit(trial(3), trial(4))

    assert [each.number for each in study.trials()] == [0]


def test_a_repeated_trial_has_the_results_of_the_first(study: OpenStudy) -> None:
    first = trial(0, 1.5)
    study.commit(first)
    study.commit(repeated_trial(trial_request(1), first, now=1_700_000_100.0))

    one, other = study.trials()

    assert (one.value, one.constraints) == (other.value, other.constraints)
    assert other.user_attrs["repeats"] == 0


def test_a_trial_is_not_stored_under_another_number(study: OpenStudy) -> None:
    study.commit(trial(0))

    with pytest.raises(StudyChanged, match="expected 5 as the next trial number, was 1"):
        study.commit(trial(5))

    assert len(study.trials()) == 1


def test_two_writers_cannot_store_the_same_number(study: OpenStudy, url: str, tmp_path: Path) -> None:
    study.commit(trial(0))

    with sqlite3.connect(tmp_path / "study.db") as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO trials (number, study_id, state) VALUES (0, 1, 'COMPLETE')")
    connection.close()


def test_sqlite_uses_write_ahead_logging(study: OpenStudy, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "study.db")
    mode = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()

    assert mode == ("wal",)


def test_the_same_settings_reopen_the_study(study: OpenStudy, url: str) -> None:
    study.commit(trial(0))

    again = open_study(url, "run-L1-a1", FACTS)
    trials = again.trials()
    again.close()

    assert export(trials, "csv") == export([trial(0)], "csv")


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        pytest.param(StudyFacts(level=LEVEL, seed=8, fingerprints=FACTS.fingerprints), "seed is 8", id="seed"),
        pytest.param(
            StudyFacts(level=LEVEL, seed=7, fingerprints={"data": "d2", "code": "c1"}), "fingerprint:data", id="data"
        ),
        pytest.param(StudyFacts(level=LEVEL, seed=7, fingerprints={"data": "d1"}), "fingerprint:code", id="code"),
        pytest.param(
            StudyFacts(level=LEVEL.model_copy(update={"trials": 11}), seed=7, fingerprints=FACTS.fingerprints),
            "level.trials is 11",
            id="level",
        ),
        pytest.param(
            StudyFacts(level=LEVEL.model_copy(update={"lag": 4}), seed=7, fingerprints=FACTS.fingerprints),
            "lag is 4",
            id="lag",
        ),
        pytest.param(
            StudyFacts(level=LEVEL, seed=7, fingerprints=FACTS.fingerprints, first_points=({"fast": 9},)),
            "first_points",
            id="points",
        ),
    ],
)
def test_changed_settings_are_refused_by_name(study: OpenStudy, url: str, facts: StudyFacts, field: str) -> None:
    with pytest.raises(SettingsError, match=field):
        open_study(url, "run-L1-a1", facts)


def test_a_database_without_its_folder_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnreachable, match="unable to open database file"):
        open_study(f"sqlite:///{tmp_path}/none/study.db", "run", FACTS)


def test_a_password_is_never_in_a_message() -> None:
    with pytest.raises(ServiceUnreachable) as caught:
        open_study("postgresql+psycopg://me:s3cret@127.0.0.1:1/study?connect_timeout=1", "run", FACTS)

    assert "s3cret" not in str(caught.value)
    assert "me:***@127.0.0.1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "nosuch://me:s3cret@host/x", "://s3cret"])
def test_a_url_without_database_scheme_is_reported(url: str) -> None:
    with pytest.raises(ServiceUnreachable, match="storage_url") as caught:
        open_study(url, "run", FACTS)

    assert "s3cret" not in str(caught.value)


def test_a_password_in_the_url_options_is_masked() -> None:
    assert "s3cret" not in mask_url("postgresql+psycopg://host/x?password=s3cret&sslmode=require")


def test_the_table_has_no_worker_names_or_times() -> None:
    here = finished_trial(trial_request(0), DISTRIBUTIONS, evaluation(1.0), ORIGIN)
    there = finished_trial(
        trial_request(0), DISTRIBUTIONS, evaluation(1.0), TrialOrigin(worker="x", started=2.0, seconds=9.0)
    )

    assert export([here], "csv") == export([there], "csv")
