"""The worker pool of a command: restarts, errors and stall notices."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tradeschool.app.search.worker_pool import ELSEWHERE, OwnPool, PoolWatch
from tradeschool.errors import WorkersFailed
from workers.connection.brief_connection import connect_briefly
from workers.queue.job_allowlist import TrialQueue

LIVES = "import time; time.sleep(600)"
SAYS_WHY = "import os, sys; os.write(int(sys.argv[2]), b'no worker can start: IndexError'); sys.exit(5)"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def pool(program: str, clock: Callable[[], float]) -> Iterator[OwnPool]:
    made = OwnPool([sys.executable, "-c", program], os.environ, clock=clock)
    try:
        yield made
    finally:
        made.stop()


def wait_for_end(made: OwnPool) -> None:
    assert made._process is not None
    # Not reaped: the pool itself is to find out.
    os.waitid(os.P_PID, made._process.pid, os.WEXITED | os.WNOWAIT)


def kill(made: OwnPool) -> int:
    assert made._process is not None
    pid = made._process.pid
    os.kill(pid, signal.SIGKILL)
    wait_for_end(made)
    return pid


def test_a_killed_pool_is_restarted_after_a_pause(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with pool(LIVES, clock) as made:
        before = kill(made)
        made.tend()
        assert made._process is None
        clock.now += 0.5
        made.tend()
        assert made._process is not None
        assert made._process.pid != before

    assert capsys.readouterr().err == "restarting the worker pool of this command: killed by signal 9\n"


def test_a_repeatedly_killed_pool_ends_the_command() -> None:
    clock = Clock()
    with pool(LIVES, clock) as made:
        for _ in range(5):
            kill(made)
            made.tend()
            clock.now += 30
            made.tend()
        kill(made)
        with pytest.raises(WorkersFailed, match="died 6 times in a row, most recently: killed by signal 9") as ended:
            made.tend()

    assert ended.value.exit_code == 5


def test_a_pool_that_gives_up_reports_its_reason() -> None:
    with pool(SAYS_WHY, Clock()) as made:
        wait_for_end(made)
        with pytest.raises(WorkersFailed, match=r"^no worker can start: IndexError$"):
            made.tend()


def test_a_drained_pool_is_not_restarted(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with pool("", clock) as made:
        wait_for_end(made)
        made.tend()
        clock.now += 60
        made.tend()
        assert made._process is None

    assert ELSEWHERE in capsys.readouterr().err


def test_a_redis_outage_is_handled_by_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    PoolWatch(TrialQueue(connection=connect_briefly("unix:///nowhere/v")), None, clock=time.monotonic).look()

    assert capsys.readouterr().err == ""
