"""Standby: a run of a killed coordinator is resumed, and one that was stopped on purpose is not."""

import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from optimizer.runs.active_runs import MarkedRuns, RunMarker
from optimizer.search.trial_table import export
from tests.factories.runs import make_context, make_level, make_run_record
from tests.fork_server import Forked
from workers.connection.signing import Signer
from workers.coordinator import standby as module
from workers.coordinator.leadership import acquire_leadership
from workers.coordinator.standby import Standby
from workers.queue.announcements import Announcement, publish_announcement

Start = Callable[..., Forked]
COORDINATOR = str(Path(__file__).parents[1] / "coordinator_process.py")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.3)


@pytest.fixture
def connection(plan) -> Redis:
    return plan.queue.connection


@pytest.fixture
def marked(plan) -> Callable[..., RunMarker]:
    """Stores a run and marks it as active in the study database of the plan."""
    context = replace(make_context(plan.folder), storage_url=plan.storage)

    def mark(run: str = "run") -> RunMarker:
        make_run_record(context, make_level("1"), name=run)
        made = RunMarker(plan.storage, run)
        made.set()
        return made

    return mark


def under_way(url: str) -> list[str]:
    looking = MarkedRuns(url)
    found = sorted(looking.owners())
    looking.close()
    return found


class Starts:
    """A standby with recorded commands and a manual clock."""

    def __init__(self, connection: Redis, storage: str, command: str = "false", key: bytes | None = None) -> None:
        self.now, self.runs, self._command = 0.0, list[str](), command
        self.standby = Standby(connection, storage, self._note, clock=lambda: self.now, signer=Signer(key))

    def pass_time(self, seconds: float) -> None:
        """Poll now and after a number of seconds; started commands have ended by then."""
        self.standby.look()
        self.now += seconds
        self.standby.look()
        for standby_run in self.standby._runs.values():
            if standby_run.process is not None and self._command != "sleep":
                standby_run.process.wait(timeout=60)

    def _note(self, run: str) -> list[str]:
        self.runs.append(run)
        commands = {"false": ["false"], "refuse": ["sh", "-c", "exit 2"], "sleep": ["sleep", "600"]}
        return commands[self._command]


def test_a_standby_resumes_the_run_of_a_killed_coordinator(
    plan, marked, connection: Redis, start: Start, start_worker, eventually
) -> None:
    slow = replace(plan, title="sleep 0.05", trials=20)
    expected = slow.table_in_process()
    start_worker()
    study = slow.open()
    marked()
    holder = start("coordinator_process.py", slow.as_json())
    watching = Standby(connection, slow.storage, lambda run: [sys.executable, COORDINATOR, slow.as_json()])
    eventually(lambda: len(study.trials()) >= 5)
    watching.look()
    before = watching._runs["run"].process
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=60)
    connection.flushall()
    eventually(lambda: watching.look() or len(study.trials()) == slow.trials)
    table = export(study.trials(), "csv")
    study.close()
    watching.end()

    assert before is None
    assert table == expected


def test_a_mark_is_removed_only_by_its_own_process(plan, marked) -> None:
    first = marked()
    second = RunMarker(plan.storage, "run")
    second.set()
    first.clear()
    during = under_way(plan.storage)
    second.clear()

    assert (during, under_way(plan.storage)) == (["run"], [])


def test_a_copied_database_has_no_active_run(plan, marked) -> None:
    marked()
    copy = plan.folder / "copy.db"
    shutil.copy(plan.folder / "study.db", copy)

    assert under_way(plan.storage) == ["run"]
    assert under_way(f"sqlite:///{copy}") == []


def test_a_mark_creates_no_database(plan) -> None:
    mark = RunMarker(f"sqlite:///{plan.folder / 'none.db'}", "run")
    mark.set()
    mark.clear()

    assert not (plan.folder / "none.db").exists()


def test_a_missing_database_has_no_active_run(plan) -> None:
    assert under_way(f"sqlite:///{plan.folder / 'none.db'}") == []
    assert not (plan.folder / "none.db").exists()


def test_run_names_in_redis_start_no_process(plan, marked, connection: Redis) -> None:
    connection.sadd("tradeschool:runs", *(f"made-up-{number}" for number in range(40)), "x" * 300)
    connection.hset("tradeschool:studies", "made-up-L1-a1", '{"v": 1, "seen": 1, "trials": 9}')
    marked()
    starts = Starts(connection, plan.storage, "sleep")
    for _ in range(5):
        starts.pass_time(1.0)
    starts.standby.end()

    assert starts.runs == ["run"]


def test_runs_are_taken_over_one_at_a_time(plan, marked, connection: Redis) -> None:
    marked("one")
    marked("two")
    starts = Starts(connection, plan.storage, "sleep")
    starts.pass_time(1.0)
    starts.pass_time(1.0)
    before = list(starts.runs)
    leadership = acquire_leadership(plan.storage, "one")  # what the first coordinator does when it is at work
    assert leadership is not None
    starts.pass_time(1.0)
    leadership.release()
    starts.standby.end()

    assert before == ["one"]
    assert starts.runs == ["one", "two"]


def test_a_run_that_does_not_start_delays_the_next_only_for_a_while(plan, marked, connection: Redis) -> None:
    marked("one")
    marked("two")
    starts = Starts(connection, plan.storage, "sleep")
    starts.pass_time(1.0)
    starts.pass_time(module.START_SECONDS)
    starts.standby.end()

    assert starts.runs == ["one", "two"]


def test_a_run_is_taken_over_within_ten_seconds(plan, marked, connection: Redis) -> None:
    marked()
    leadership = acquire_leadership(plan.storage, "run")
    assert leadership is not None
    starts = Starts(connection, plan.storage, "sleep")
    starts.standby.look()
    leadership.release()
    waited = 0.0
    while not starts.runs:
        starts.now += module.LOOK_SECONDS
        waited += module.LOOK_SECONDS
        starts.standby.look()
        assert waited <= 10.0
    starts.standby.end()


def test_a_failing_coordinator_is_restarted_with_growing_delays(plan, marked, connection: Redis) -> None:
    marked()
    starts = Starts(connection, plan.storage)
    pauses = []
    for _ in range(3):
        starts.pass_time(0.5)
        starts.standby.look()
        standby_run = starts.standby._runs["run"]
        pauses.append(standby_run.due - starts.now)
        starts.now = standby_run.due

    assert pauses == pytest.approx([2.0, 4.0, 8.0])


def test_a_run_that_cannot_be_resumed_is_left_to_others(plan, marked, connection: Redis) -> None:
    marked()
    starts = Starts(connection, plan.storage)
    for _ in range(3 * module.MAX_FAILURES):
        starts.pass_time(1_000.0)
    left = len(starts.runs)
    marked_still = under_way(plan.storage)
    RunMarker(plan.storage, "run").set()  # a person, or another machine, has gone on with it, and was killed
    starts.pass_time(1_000.0)

    assert (left, marked_still) == (module.MAX_FAILURES, ["run"])
    assert len(starts.runs) == left + 1


def test_a_run_that_this_machine_refuses_is_left_alone_at_once(
    plan, marked, connection: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """`optimize resume` ends with exit code 2 where the run is not in its database, or belongs to another release."""
    marked()
    starts = Starts(connection, plan.storage, "refuse")
    for _ in range(2 * module.MAX_FAILURES):
        starts.pass_time(1_000.0)
    starts.standby.end()
    left = [record for record in caplog.records if record.action == "run_left_alone"]

    assert starts.runs == ["run"]
    assert [(record.run, record.code) for record in left] == [("run", 2)]


def test_runs_of_another_database_are_logged_once_and_skipped(
    plan, marked, connection: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    marked("ours")
    for study in ("ours-L1-a1", "theirs-L1-a1", f"{'x' * 300}-L1-a1"):
        publish_announcement(connection, study, Announcement(v=1, seen=0.0, trials=9))
    starts = Starts(connection, plan.storage, "sleep")
    for _ in range(3):
        starts.standby.log_unknown()
        starts.pass_time(1.0)
    starts.standby.end()
    told = [record.run for record in caplog.records if record.action == "run_unknown"]

    assert sorted(told) == ["theirs", "x" * 80]
    assert starts.runs == ["ours"]


def test_a_standby_survives_an_unreachable_database(plan, connection: Redis, caplog: pytest.LogCaptureFixture) -> None:
    naps = []

    def nap(_: float) -> None:
        naps.append(1)
        if len(naps) == 3:
            watching._stop()

    away = "postgresql+psycopg://me@127.0.0.1:1/x?connect_timeout=1"
    watching = Standby(connection, away, lambda run: ["true"], sleep=nap)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        watching.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert len(naps) == 3
    assert [record.action for record in caplog.records] == ["standby_blind"], "once an outage"
