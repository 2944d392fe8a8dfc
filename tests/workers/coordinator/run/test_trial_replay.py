"""Reproduction of trials: which trials can be reproduced, and when validation and test are closed."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from optimizer.level.spec import Part
from tests.factories.runs import CREATED, make_attempt, make_context, make_run_record, make_verdict
from tradeschool.errors import SettingsError
from workers.coordinator.context import RunContext
from workers.coordinator.run.trial_replay import find_trial, log_part_access


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    """A context with a study of one completed and one failed trial."""
    made = make_context(tmp_path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(made.storage_url)
    study = optuna.create_study(storage=storage, study_name="r1-L1-a1", direction="maximize")
    study.add_trial(create_trial(value=1.0, user_attrs={"metrics": {"sharpe": 1.0, "calmar": None}}))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"failure": "ValueError: no"}))
    storage.scoped_session.remove()
    storage.engine.dispose()
    return made


def test_a_failed_trial_has_no_metrics(context: RunContext) -> None:
    record = make_attempt(context, make_run_record(context))

    with pytest.raises(SettingsError, match=r"trial 1 of run r1, level 1, attempt 1, failed .*: ValueError: no"):
        find_trial(context, record, record.attempts[0], 1, Part.TRAIN)


@pytest.mark.parametrize("part", [Part.VALIDATION, Part.TEST])
def test_validation_and_test_are_refused_before_the_verdict(context: RunContext, part: Part) -> None:
    record = make_attempt(context, make_run_record(context))

    assert find_trial(context, record, record.attempts[0], 0, Part.TRAIN).figures == {"sharpe": 1.0, "calmar": None}
    with pytest.raises(SettingsError, match="stays closed: it is opened when the attempt is judged"):
        find_trial(context, record, record.attempts[0], 0, part)


def test_an_unjudged_attempt_has_no_winner(context: RunContext) -> None:
    record = make_attempt(context, make_run_record(context))

    with pytest.raises(SettingsError, match="has no winner yet: it is not judged; name a trial: --trial N"):
        find_trial(context, record, record.attempts[0], None, Part.TRAIN)


def test_a_different_metric_is_reported_with_both_values(context: RunContext) -> None:
    record = make_attempt(context, make_run_record(context), verdict=make_verdict(passed=True))
    found = find_trial(context, record, record.attempts[0], 0, Part.VALIDATION)
    on_train = find_trial(context, record, record.attempts[0], 0, Part.TRAIN)

    assert (found.figures, found.differences({"sharpe": 2.0})) == (None, [])
    assert on_train.differences({"sharpe": 2.0, "calmar": float("nan")}) == ["sharpe recorded 1.0, now 2.0"]


def test_a_holdout_look_is_logged_once(context: RunContext) -> None:
    make_run_record(context)
    folder = context.folder("r1")

    assert "written to holdout_log.jsonl of run r1" in log_part_access(folder, ("1", 1), Part.TEST, 0, CREATED)
    assert "stands already in holdout_log.jsonl" in log_part_access(folder, ("1", 1), Part.TEST, 0, CREATED)
    assert (folder / "holdout_log.jsonl").read_text().count("\n") == 1
