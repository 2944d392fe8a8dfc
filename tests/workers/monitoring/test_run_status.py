"""Run status: it is read from the run row and its studies, at any stage of the run."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from optimizer.curriculum.state_machine import RunOutcome, Search
from optimizer.runs.live_reader import StudyWatch
from tests.factories.runs import (
    CREATED,
    make_attempt,
    make_context,
    make_level,
    make_run_record,
    make_verdict,
    recommended,
    searched,
)
from tradeschool.errors import ServiceUnreachable
from workers.coordinator.context import RunContext
from workers.monitoring.run_status import RunStatus, read_run_status
from workers.monitoring.run_status_json import as_page, as_result

NOW = 1_800_000_000.0
LEVELS = (make_level("1"), make_level("2"))
METRICS = {"win_rate": 0.6, "sharpe": 0.5, "max_drawdown_intrabar": 0.1, "profit_factor": None, "trades": 40}


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return make_context(tmp_path)


@pytest.fixture
def storage(context: RunContext) -> Iterator[optuna.storages.RDBStorage]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.storages.RDBStorage(context.storage_url)
    yield made
    made.scoped_session.remove()
    made.engine.dispose()


@pytest.fixture
def studies(context: RunContext) -> Iterator[StudyWatch]:
    watch = StudyWatch(context.storage_url)
    yield watch
    watch.close()


@pytest.fixture
def look(context: RunContext, studies: StudyWatch) -> Callable[[], RunStatus]:
    def stands() -> RunStatus:
        record = studies.run("r1")
        assert record is not None
        return read_run_status(context, record, studies, NOW)

    return stands


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


def test_a_new_run_searches_its_first_level(context, look) -> None:
    make_run_record(context, *LEVELS, is_sealed=True)

    level_status = look()

    assert [(level.name, level.state, level.attempts) for level in level_status.levels] == [
        ("1", "searching", ()),
        ("2", "waiting", ()),
    ]
    assert (level_status.current.name, level_status.reason) == ("1", "next: search level 1, attempt 1")


def test_a_level_without_candles_is_waiting(context, look) -> None:
    make_run_record(context, *LEVELS, is_sealed=True)
    for path in context.store.root.glob("**/*.seal.json"):
        path.unlink()

    assert (look().levels[0].state, look().reason) == ("waiting", "next: wait for the candles of level 1")


def test_a_searching_level_has_trials_best_rate_and_eta(context, look, storage) -> None:
    make_attempt(context, make_run_record(context, *LEVELS, is_sealed=True))
    add(storage, "r1-L1-a1", 0.5, None, 0.9)

    level = look().levels[0]

    (attempt,) = level.attempts
    assert (level.state, attempt.counts.finished, attempt.counts.complete, attempt.counts.failed) == (
        "searching",
        3,
        2,
        1,
    )
    assert attempt.counts.best is not None
    assert (attempt.counts.best.number, attempt.counts.best.value) == (2, 0.9)
    assert attempt.counts.pace_per_minute == pytest.approx(6.0), "three in the thirty seconds since the first"
    assert attempt.eta_seconds == pytest.approx(10.0)


def test_before_the_verdict_gate_values_are_those_of_train(context, look, storage) -> None:
    make_attempt(context, make_run_record(context, *LEVELS, is_sealed=True))
    add(storage, "r1-L1-a1", 0.5)

    level = as_page(look())["levels"][0]

    gate = {reading["name"]: (reading["value"], reading["target"], reading["met"]) for reading in level["gate"]}
    assert level["gate_part"] == "train"
    assert gate["win_rate"] == (0.6, 0.5, True)
    assert gate["sharpe"] == (0.5, 0.8, False)
    assert gate["profit_factor"] == (None, 1.3, False)


def test_a_search_that_stopped_early_has_no_remaining_trials(context, look, storage) -> None:
    searched(context, make_attempt(context, make_run_record(context, *LEVELS, is_sealed=True)))
    add(storage, "r1-L1-a1", 0.5)

    level = look().levels[0]

    assert level.state == "validating"
    assert level.attempts[0].counts.finished < level.attempts[0].counts.trials
    assert level.attempts[0].eta_seconds == 0.0


def test_a_verdict_belongs_to_its_attempt(context, look, storage) -> None:
    record = make_attempt(
        context,
        make_run_record(context, make_level("1"), is_sealed=True),
        verdict=make_verdict(passed=False, reason="sharpe"),
    )

    level = look().levels[0]
    assert (level.gate_part, level.verdict.trial, level.verdict.reason) == ("validation", 3, "sharpe")
    make_attempt(context, record, number=2)
    add(storage, "r1-L1-a2", 0.1, trials=6)
    again = look().levels[0]

    assert (again.state, again.gate_part, again.verdict) == ("searching", "train", None)
    assert [(each.row.number, each.counts.trials) for each in again.attempts] == [(1, 4), (2, 6)]


def test_a_passed_level_stays_passed_during_the_next(context, look) -> None:
    record = make_attempt(context, make_run_record(context, *LEVELS, is_sealed=True), verdict=make_verdict(passed=True))
    make_attempt(context, record, level="2")

    level_status = look()

    assert [level.state for level in level_status.levels] == ["passed", "searching"]
    assert level_status.action == Search("2", 1)
    assert level_status.outcome is None


def test_a_run_that_failed_its_gate_is_finished(context, look) -> None:
    record = make_run_record(context, make_level("1").model_copy(update={"retries": 0}), make_level("2"))
    recommended(context, make_attempt(context, record, verdict=make_verdict(passed=False)))

    level_status = look()

    assert (level_status.outcome, level_status.current.name) == ("escalated", "1")
    assert [level.state for level in level_status.levels] == ["failed", "waiting"]
    assert level_status.reason == "the gate of level 1 is not met"


def test_studies_of_another_run_are_ignored(context, look, storage) -> None:
    make_attempt(context, make_run_record(context, *LEVELS, is_sealed=True))
    for study in ("r1-L10-a1", "r1-L1-a1x", "r11-L1-a1", "r1-L1-a1-L1-a1", "r1-L1-a2"):
        add(storage, study, 0.5)

    assert [attempt.counts.finished for attempt in look().attempts] == [0]


def test_the_recommendation_is_read_from_the_run_row(context, look) -> None:
    record = make_attempt(
        context, make_run_record(context, *LEVELS[:1], is_sealed=True), verdict=make_verdict(passed=True)
    )
    before = look()
    assert (before.outcome, before.reason) == (None, "next: make the recommendation from the level results")
    assert (before.levels[0].state, before.record.null_test, before.recommendation) == ("passed", None, None)

    recommended(context, record)

    after = look()
    assert after.outcome is RunOutcome.PASSED
    assert (after.recommendation.reason, after.record.null_test.surrogates) == ("as weighed", 40)
    assert as_page(after)["recommendation"] == as_result(after)["recommendation"]
    assert as_page(after)["recommendation"]["action"] == "do_not_deploy"
    assert "evidence" not in as_page(after)["recommendation"]
    assert as_page(after)["null"]["pass_rate"] == 3 / 40


def test_commands_and_page_show_the_same_values(context, look, storage) -> None:
    make_attempt(context, make_run_record(context, *LEVELS, is_sealed=True))
    add(storage, "r1-L1-a1", 0.5, None)
    level_status = look()

    page, result = (json.loads(json.dumps(told(level_status), allow_nan=False)) for told in (as_page, as_result))

    (on_page,), (in_result,) = page["levels"][0]["attempts"], result["levels"]
    shared = ("attempt", "trials", "complete", "pruned", "failed", "eta_seconds")
    assert [on_page[name] for name in shared] == [in_result[name] for name in shared]
    assert (on_page["best"]["value"], on_page["best"]["number"]) == (in_result["best_value"], in_result["best_trial"])
    assert (page["levels"][1]["state"], result["waiting"]) == ("waiting", ["2"])


def test_the_newest_run_is_the_last_started_one(context, studies) -> None:
    assert studies.runs() == []
    make_run_record(context, name="r1")
    make_run_record(context, name="a-later-one", created=CREATED + timedelta(hours=1))
    make_run_record(context, name="an-earlier-one", created=CREATED - timedelta(hours=1))

    assert studies.runs() == ["an-earlier-one", "r1", "a-later-one"]


def test_a_missing_run_has_no_status(context, studies) -> None:
    assert studies.run("r1") is None
    make_run_record(context)

    assert studies.run("x") is None
    assert studies.run("r1").seed == 7


def test_a_missing_database_is_unavailable_and_not_empty(context, studies) -> None:
    make_run_record(context)
    assert studies.runs() == ["r1"]
    for path in Path(context.results_dir.parent).glob("study.sqlite3*"):
        path.unlink()
    studies.close()

    with pytest.raises(ServiceUnreachable, match="unable to open database file"):
        studies.runs()


def test_postgresql_is_read_over_a_read_only_connection(postgres) -> None:
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
    with pytest.raises(ServiceUnreachable, match="read-only"):
        watch._database.ask(lambda connection: connection.execute(text("DELETE FROM studies")), is_known=True)
    watch.close()
    storage.scoped_session.remove()
    storage.engine.dispose()
