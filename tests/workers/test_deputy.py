"""A run whose conductor was killed goes on; one that was stopped on purpose does not."""

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from optimizer.table import export
from tests.fork_server import Forked
from workers import deputy as module
from workers.board import RUNS_KEY, conducted, conducted_runs
from workers.deputy import Deputy

Start = Callable[..., Forked]
CONDUCTOR = str(Path(__file__).with_name("conductor_process.py"))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.3)


@pytest.fixture
def connection(plan) -> Redis:
    return plan.queue.connection


def test_a_run_is_marked_until_it_ends_or_is_stopped(connection: Redis) -> None:
    with conducted(connection, "run"):
        during = conducted_runs(connection)
    with pytest.raises(KeyboardInterrupt), conducted(connection, "run"):
        raise KeyboardInterrupt

    assert (during, conducted_runs(connection)) == (["run"], [])


def test_the_run_of_a_killed_conductor_goes_on(plan, connection: Redis, start: Start, start_worker, eventually) -> None:
    slow = replace(plan, title="sleep 0.05", trials=20)
    expected = slow.table_in_process()
    start_worker()
    study = slow.open()
    connection.sadd(RUNS_KEY, "run")
    holder = start("conductor_process.py", slow.as_json())
    watching = Deputy(connection, slow.storage, lambda run: [sys.executable, CONDUCTOR, slow.as_json()])
    eventually(lambda: len(study.trials()) >= 5)
    watching.look()
    before = watching._duties["run"].process
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=60)
    eventually(lambda: watching.look() or len(study.trials()) == slow.trials)
    table = export(study.trials(), "csv")
    study.close()
    watching.end()

    assert before is None
    assert table == expected


def test_a_conductor_that_fails_is_started_ever_later(plan, connection: Redis, eventually) -> None:
    now = [0.0]
    connection.sadd(RUNS_KEY, "run")
    watching = Deputy(connection, plan.storage, lambda run: ["false"], clock=lambda: now[0])
    starts = []
    for _ in range(3):
        watching.look()
        now[0] += 0.5
        watching.look()
        duty = watching._duties["run"]
        assert duty.process is not None
        duty.process.wait(timeout=60)
        watching.look()
        starts.append(duty.due - now[0])
        now[0] = duty.due

    assert starts == pytest.approx([2.0, 4.0, 8.0])


def test_a_run_that_cannot_be_gone_on_with_is_left_alone(plan, connection: Redis, eventually) -> None:
    now = [0.0]
    connection.sadd(RUNS_KEY, "run")
    watching = Deputy(connection, plan.storage, lambda run: ["false"], clock=lambda: now[0])

    def is_left() -> bool:
        now[0] += 100.0
        watching.look()
        return not conducted_runs(connection)

    eventually(is_left)
    watching.look()

    assert watching._duties == {}


def test_a_deputy_that_cannot_look_lives_on(plan, connection: Redis, caplog: pytest.LogCaptureFixture) -> None:
    connection.sadd(RUNS_KEY, "run")
    naps = []

    def nap(_: float) -> None:
        naps.append(1)
        if len(naps) == 3:
            watching._stop()

    away = "postgresql+psycopg://me@127.0.0.1:1/x?connect_timeout=1"
    watching = Deputy(connection, away, lambda run: ["true"], sleep=nap)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        watching.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert len(naps) == 3
    assert [record.action for record in caplog.records] == ["deputy_blind"], "once an outage"
