"""Restart policy: a worker that cannot start is given up; one that is killed occasionally is restarted."""

import sys
from collections.abc import Collection
from pathlib import Path

import pytest
from redis import Redis

from tradeschool.errors import WorkersFailed
from workers.connection.brief_connection import connect_briefly
from workers.processes.pool import Pool, PoolSettings
from workers.processes.restart_policy import FailedStarts, Restarts, connected_here
from workers.worker.worker import worker_name

BROKEN = [sys.executable, "-c", "import sys; print('IndexError: out of range', file=sys.stderr); sys.exit(1)"]
QUICK = PoolSettings(first_pause_seconds=0.01, longest_pause_seconds=0.01, look_seconds=0.01)


LEAVING = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(1e6)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def failures(connected: Collection[int] | None, *codes: int, others: Collection[int] = ()) -> FailedStarts:
    counted = FailedStarts(lambda: connected)
    for pid, code in enumerate(codes, start=1):
        counted.note(pid, code, f"reason {pid}", others)
    return counted


@pytest.mark.parametrize(
    ("counted", "is_hopeless"),
    [
        (failures((), 1, 1, 1, 1, 1), True),
        (failures((), -9, -9, -9, -9, -9), True),
        (failures((), 1, 1, 1, 1), False),
        (failures((), 0, 0, 0, 0, 0, 0), False),
        (failures(None, 5, 5, 5, 5, 5, 5), False),
        (failures((3,), 1, 1, -9, 1, 1), False),
        (failures((77,), 1, 1, 1, 1, 1, others=(77,)), False),
    ],
    ids=["all fail", "killed at start", "too few", "told to end", "redis away", "one got up", "another works"],
)
def test_only_workers_that_never_start_with_redis_up_are_given_up(counted: FailedStarts, is_hopeless: bool) -> None:
    assert counted.is_hopeless(workers=2) is is_hopeless


def test_the_first_exit_reason_or_code_is_kept() -> None:
    assert failures((), 1, 1).first_reason == "reason 1"
    silent = FailedStarts(lambda: ())
    silent.note(1, -9, "", ())
    assert silent.first_reason == "killed by signal 9"


def test_a_pool_without_startable_workers_reports_the_first_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pool = Pool(BROKEN, 2, QUICK, connected=lambda: ())

    with pytest.raises(WorkersFailed, match=r"no worker can start: [56] consecutive starts failed") as ended:
        pool.run()

    assert "the first worker reported: IndexError: out of range" in str(ended.value)
    assert ended.value.exit_code == 5
    assert pool.pids == []
    assert capfd.readouterr().err.count("IndexError") >= 5


def test_a_pool_survives_an_outage_with_many_worker_deaths() -> None:
    now = [0.0]
    pool = Pool(BROKEN, 1, PoolSettings(), connected=lambda: None, clock=lambda: now[0])
    for _ in range(8):
        pool.tend()
        process = pool._slots[0].process
        assert process is not None
        process.wait(timeout=60)
        pool.tend()
        now[0] = pool._slots[0].due

    assert not pool._failures.is_hopeless(1)


def test_workers_of_this_machine_are_identified_by_process(url: str) -> None:
    connection = Redis.from_url(url)
    name = worker_name()
    connection.sadd("rq:workers:trials", f"rq:worker:{name}", "rq:worker:elsewhere-12-ab34ef", "rq:worker:else")

    assert connected_here(connection) == {int(name.rsplit("-", 2)[1])}
    assert connected_here(connect_briefly("unix:///nowhere/v")) is None


def test_restart_delays_grow_and_reset_after_a_stable_minute() -> None:
    now = [0.0]
    restarts, pauses = Restarts(lambda: now[0]), []
    for _ in range(5):
        restarts.note_start()
        restarts.note_death()
        pauses.append(restarts.due - now[0])
        assert not restarts.is_due
        now[0] = restarts.due
        assert restarts.is_due
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert not restarts.is_over
    restarts.note_death()
    assert restarts.is_over
    restarts.note_start()
    now[0] += 60
    restarts.note_death()
    assert not restarts.is_over


def test_child_processes_of_a_killed_worker_end(tmp_path: Path) -> None:
    """A daemon in a new session, as a strategy may start before it kills its worker."""
    pids = tmp_path / "pids"

    with pytest.raises(WorkersFailed):
        Pool([sys.executable, "-c", LEAVING, str(pids)], 1, QUICK, connected=lambda: ()).run()

    assert [pid for pid in map(int, pids.read_text().split()) if not is_gone(pid)] == []


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
