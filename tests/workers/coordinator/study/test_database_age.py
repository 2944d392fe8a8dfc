"""A database that is older than the queue, and two coordinators on two databases: both are noticed."""

import shutil
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from optimizer.runs.database_identity import database_identity
from optimizer.search.trial_table import export
from tests.factories.runs import make_attempt, make_context, make_run_record, make_verdict
from tests.workers.study_plan import Plan
from tradeschool.app.search.search_run import _resumed
from tradeschool.errors import SettingsError
from tradeschool.settings.model import Settings
from workers.connection.signing import Signer
from workers.coordinator.run.run_persistence import _note_age
from workers.coordinator.study.database_age import SAME_DATABASE, check_age
from workers.queue.dispatch import QueueDispatcher
from workers.queue.job_allowlist import TrialJob
from workers.queue.study_marks import StudyMark, host_of_run, mark_key, read_mark, write_mark
from workers.queue.trial_queue import results_key


def test_a_restored_database_is_noticed_and_its_trials_are_evaluated_again(
    served: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    plan, backup = replace(served, trials=24), served.folder / "backup.db"
    identity, file = database_identity(plan.storage), served.folder / "study.db"
    study = plan.open()
    run = plan.run(study, database=identity)
    while run.reconcile(0.2).finished < 6:
        """Wait for the trials of the backup."""
    copy(file, backup)
    kept = len(committed(backup))
    while (was := run.reconcile(0.2).finished) < 14:
        """Wait for the trials that are lost."""
    run.announce()
    study.close()
    for path in served.folder.glob("study.db*"):
        path.unlink()
    shutil.copy(backup, file)

    told: list[tuple[int, int]] = []
    study = plan.open()
    run = plan.run(study, database=database_identity(plan.storage))
    found = run.ledger.progress().finished
    left = [TrialJob.key_for(f"{plan.study}-{number}-{number}-a1") for number in range(kept, was)]
    before = plan.queue.connection.exists(*left)
    check_age(run.dispatcher, plan.study, database=identity, committed=found, older=lambda *both: told.append(both))
    after = plan.queue.connection.exists(*left, results_key(plan.study))
    plan.finish(run)
    table = export(study.trials(), "csv")
    study.close()

    assert database_identity(plan.storage) == identity, "a restore keeps it"
    assert (found, told) == (kept, [(was, kept)])
    assert before > 0
    assert after == 0, "no job and no result of a lost trial is left"
    assert table == plan.table_in_process()
    assert [record.study for record in caplog.records if record.action == "database_older"] == [plan.study]
    again = read_mark(plan.queue.connection, plan.study)
    assert again is not None
    assert (again.committed, again.is_active) == (plan.trials, False)


def copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def committed(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as study:
        return [number for (number,) in study.execute("SELECT number FROM trials")]


def test_a_lost_queue_is_not_taken_for_an_older_database(plan: Plan) -> None:
    dispatcher = dispatcher_of(plan)
    write_mark(plan.queue.connection, plan.study, mark(committed=3))
    for committed_now in (3, 9):
        check_age(dispatcher, plan.study, database="here", committed=committed_now, older=pytest.fail)
    plan.queue.connection.flushdb()

    check_age(dispatcher, plan.study, database="here", committed=0, older=pytest.fail)


def test_a_second_database_is_refused_while_the_first_is_used(plan: Plan) -> None:
    dispatcher, connection = dispatcher_of(plan), plan.queue.connection
    write_mark(connection, plan.study, mark(database="there"))
    with pytest.raises(SettingsError, match=r"a coordinator on host-1 works on it in another database, seen \d+ s ago"):
        check_age(dispatcher, plan.study, database="here", committed=0, older=pytest.fail)
    write_mark(connection, plan.study, mark(database="there", is_active=False))

    check_age(dispatcher, plan.study, database="here", committed=0, older=pytest.fail)


def test_the_machine_of_an_active_run_is_known(plan: Plan) -> None:
    study = plan.open()
    run = plan.run(study, database="there")
    run.announce()
    during = host_of_run(plan.queue.connection, "run"), host_of_run(plan.queue.connection, "another")
    run.withdraw()
    study.close()

    assert during[0]
    assert during[1] == host_of_run(plan.queue.connection, "run") == ""


@pytest.mark.parametrize(
    "content", ["[", '{"database": 1}', "x" * 3_000, '{"database":"d","host":"h","committed":99,"seen":1}']
)
def test_a_forged_mark_is_ignored_with_a_key(plan: Plan, content: str) -> None:
    plan.queue.connection.set(mark_key(plan.study), content)

    assert read_mark(plan.queue.connection, plan.study, Signer(b"a key that is long enough")) is None


def test_a_copy_of_a_sqlite_study_is_another_database(tmp_path: Path) -> None:
    first, second = (tmp_path / name / "study.db" for name in ("a", "b"))
    for path in (first, second):
        path.parent.mkdir()
    identity = database_identity(f"sqlite:///{first}")
    copy(first, second)

    assert database_identity(f"sqlite:///{first}") == identity
    assert database_identity(f"sqlite:///{second}") != identity


def mark(**changes: object) -> StudyMark:
    return StudyMark.model_validate({"database": "here", "host": "host-1", "committed": 0, "seen": 0.0, **changes})


def dispatcher_of(plan: Plan) -> QueueDispatcher:
    return QueueDispatcher(plan.queue, study=plan.study, url=plan.url, job_timeout_seconds=9)


def test_a_run_of_another_machine_is_refused_with_its_host(plan: Plan, tmp_path: Path) -> None:
    """What a second machine with its own SQLite file says of `optimize resume`."""
    study = plan.open()
    run = plan.run(study, database="there")
    settings, context = Settings(redis_url=SecretStr(plan.url)), make_context(tmp_path)
    with pytest.raises(SettingsError) as before:
        _resumed(settings, context, "run", force=False)
    run.announce()
    with pytest.raises(SettingsError) as during:
        _resumed(settings, context, "run", force=False)
    run.withdraw()
    study.close()

    assert str(before.value).startswith("no run 'run' in sqlite:///")
    assert "a coordinator on" not in str(before.value)
    place = f"a coordinator on {socket.gethostname()} searches it in another database"
    assert str(during.value) == f"{before.value}; {place}: {SAME_DATABASE}"


def test_a_run_whose_files_are_ahead_of_its_database_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(tmp_path)
    early = make_run_record(context, name="r1")
    late = make_attempt(context, early, verdict=make_verdict(passed=True))
    (context.folder("r1") / "run.json").write_text(late.model_dump_json())
    _note_age(context, late)
    quiet = len(caplog.records)
    _note_age(context, early)
    (told,) = caplog.records

    assert quiet == 0
    assert "knows 1 attempts and 1 verdicts, the database 0 and 0" in told.reason
