"""How a run stands is what its files and studies say, whoever wrote them and however far they are."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from optimizer.level import Level
from optimizer.runs import RunRecord
from optimizer.watch import StudyWatch
from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.standing import Standing, newest_run, runs, stand

NOW = 1_800_000_000.0
LEVELS = tuple(
    Level.model_validate(
        {
            "name": name,
            "title": f"Level {name}",
            "direction": "long",
            "trials": 4,
            "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
            "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown": 0.15, "profit_factor": 1.3},
            "ranges": {"fast": [5, 50]},
        }
    )
    for name in ("1", "2")
)
METRICS = {"win_rate": 0.6, "sharpe": 0.5, "max_drawdown_intrabar": 0.1, "profit_factor": None, "trades": 40}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_run(tmp_path / "results", "r1")


def write_run(results: Path, name: str) -> Path:
    record = RunRecord(name=name, seed=7, levels=LEVELS, created=datetime(2026, 1, 1, tzinfo=UTC), fingerprints={})
    (results / name).mkdir(parents=True)
    (results / name / "run.json").write_text(record.model_dump_json())
    return results


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[optuna.storages.RDBStorage]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    yield made
    made.scoped_session.remove()
    made.engine.dispose()


@pytest.fixture
def look(results: Path, tmp_path: Path) -> Iterator:
    watch = StudyWatch(f"sqlite:///{tmp_path / 'study.sqlite3'}")
    yield lambda: stand(results, "r1", watch, NOW)
    watch.close()


def add(storage: optuna.storages.RDBStorage, study: str, *values: float | None, trials: int | None = None) -> None:
    made = optuna.create_study(storage=storage, study_name=study, load_if_exists=True, direction="maximize")
    if trials:
        made.set_user_attr("level", LEVELS[0].model_copy(update={"trials": trials}).model_dump(mode="json"))
    for value in values:
        trial = create_trial(
            state=TrialState.FAIL if value is None else TrialState.COMPLETE,
            value=value,
            params={"fast": 9},
            distributions={"fast": IntDistribution(5, 50)},
            constraints={"x": -1.0},
            user_attrs={"metrics": METRICS},
        )
        trial.datetime_complete = datetime.fromtimestamp(NOW - 30, UTC)
        made.add_trial(trial)


def test_a_run_that_was_just_begun_waits(look) -> None:
    standing: Standing = look()

    assert [(level.level, level.state, level.attempts) for level in standing.levels] == [
        ("1", "waiting", ()),
        ("2", "waiting", ()),
    ]
    assert standing.current.level == "1"


def test_a_level_that_is_searched_tells_its_trials_best_pace_and_time(look, storage) -> None:
    add(storage, "r1-L1-a1", 0.5, None, 0.9)

    level = look().levels[0]

    (attempt,) = level.attempts
    assert (level.state, attempt.tally.finished, attempt.tally.complete, attempt.tally.failed) == ("searching", 3, 2, 1)
    assert attempt.tally.best is not None
    assert (attempt.tally.best.number, attempt.tally.best.value) == (2, 0.9)
    assert attempt.tally.pace_per_minute == pytest.approx(6.0), "three in the thirty seconds since the first"
    assert attempt.tally.eta_seconds == pytest.approx(10.0)


def test_before_the_verdict_the_gate_is_read_on_train_and_says_so(look, storage) -> None:
    add(storage, "r1-L1-a1", 0.5)

    level = look().levels[0]

    gate = {reading["name"]: (reading["value"], reading["target"], reading["met"]) for reading in level.gate}
    assert level.gate_part == "train"
    assert gate["win_rate"] == (0.6, 0.5, True)
    assert gate["sharpe"] == (0.5, 0.8, False)
    assert gate["profit_factor"] == (None, 1.3, False)


def test_the_verdict_counts_for_the_attempt_it_was_given_on(look, storage, results: Path) -> None:
    add(storage, "r1-L1-a1", *[0.5] * 4)
    assert look().levels[0].state == "judging"
    verdict = {"level": "1", "attempt": 1, "passed": False, "reason": "sharpe", "trial": 2, "gate": [{"name": "a"}]}
    (results / "r1" / "1").mkdir()
    (results / "r1" / "1" / "gate.json").write_text(json.dumps(verdict))

    level = look().levels[0]
    assert (level.state, level.gate_part, level.winner, level.reason) == ("missed", "validation", 2, "sharpe")
    add(storage, "r1-L1-a2", 0.1, trials=6)
    again = look().levels[0]

    assert (again.state, again.gate_part) == ("searching", "train")
    assert [(each.attempt, each.tally.trials) for each in again.attempts] == [(1, 4), (2, 6)]


def test_another_run_s_studies_are_not_this_one_s(look, storage) -> None:
    for study in ("r1-L10-a1", "r1-L1-a1x", "r11-L1-a1", "r1-L1-a1-L1-a1"):
        add(storage, study, 0.5)

    assert all(level.state == "waiting" for level in look().levels)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"attempt": 1, "gate": 3, "trial": "x"}', "[" * 9999])
def test_a_verdict_that_cannot_be_read_is_none(look, storage, results: Path, text: str) -> None:
    add(storage, "r1-L1-a1", *[0.5] * 4)
    (results / "r1" / "1").mkdir()
    (results / "r1" / "1" / "gate.json").write_text(text)

    assert look().levels[0].state == "judging"


def test_what_is_told_is_json(look, storage) -> None:
    add(storage, "r1-L1-a1", 0.5)

    assert json.loads(json.dumps(look().to_json(), allow_nan=False))["levels"][0]["attempts"][0]["best"]["value"] == 0.5


def test_the_newest_run_is_the_one_begun_last(results: Path) -> None:
    write_run(results, "a-later-one")

    assert runs(results) == ["r1", "a-later-one"]
    assert newest_run(results) == "a-later-one"
    assert newest_run(results / "absent") is None


def test_a_run_that_is_not_there_is_said(results: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no run 'x'"):
        stand(results, "x", StudyWatch(f"sqlite:///{tmp_path / 'study.sqlite3'}"), NOW)


def test_postgresql_is_read_over_a_connection_that_cannot_write(postgres) -> None:
    _, url = postgres
    watch = StudyWatch(url)
    assert watch.trials("r1-L1-a1") == ()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    add(storage, "r1-L1-a1", 0.5, None, 0.9)
    seen = watch.trials("r1-L1-a1")

    assert [(trial.number, trial.state, trial.value) for trial in seen] == [
        (0, "complete", 0.5),
        (1, "failed", None),
        (2, "complete", 0.9),
    ]
    assert seen[0].ended == pytest.approx(NOW - 30)
    assert seen[0].parameters == {"fast": 9}
    assert watch.studies("r1-L") == ["r1-L1-a1"]
    with pytest.raises(ServiceUnreachable, match="read-only"):
        watch._ask(lambda connection: connection.execute(text("DELETE FROM studies")))
    watch.close()
    storage.scoped_session.remove()
    storage.engine.dispose()
