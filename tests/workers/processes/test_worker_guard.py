"""Tests the guard of a worker without a pool: it ends what a strategy has started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.work_horse.test_outcomes import is_alive

ROOT = Path(__file__).parents[3]
WORKER = """
import os, signal, sys, time
from workers.processes.parent_death import die_with_parent
from workers.processes.worker_guard import continue_guarded

continue_guarded()

def note():
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()}\\n")

def leave(number, frame):
    os._exit(7)

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, leave)
note()
worker = os.getpid()
if os.fork() == 0:  # its work horse
    die_with_parent(worker, signal.SIGKILL)
    if os.fork() == 0:  # a strategy starts a daemon
        os.setsid()
        if os.fork() == 0:
            note()
            time.sleep(1e6)
        os._exit(0)
    time.sleep(1e6)
time.sleep(1e6)
"""


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "pids")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        yield process
        process.kill()


def pids(tmp_path: Path) -> list[int]:
    file = tmp_path / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
@pytest.mark.parametrize(
    ("is_guard", "number", "code"),
    [(False, signal.SIGKILL, 137), (True, signal.SIGTERM, 7), (True, signal.SIGINT, 7)],
)
def test_descendants_of_a_work_horse_end_with_its_worker(
    guard: subprocess.Popen[bytes], tmp_path: Path, eventually, is_guard: bool, number: signal.Signals, code: int
) -> None:
    eventually(lambda: len(pids(tmp_path)) == 2)
    worker, _ = pids(tmp_path)
    assert worker != guard.pid
    assert os.getpgid(worker) == worker, "Ctrl-C reaches it once, through the guard"

    os.kill(guard.pid if is_guard else worker, number)

    assert guard.wait(timeout=120) == code
    assert [pid for pid in pids(tmp_path) if is_alive(pid)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux notifies a process of its parent's end")
def test_the_worker_ends_with_its_guard(guard: subprocess.Popen[bytes], tmp_path: Path, eventually) -> None:
    eventually(lambda: len(pids(tmp_path)) == 2)
    worker, sleeper = pids(tmp_path)

    guard.kill()

    eventually(lambda: not is_alive(worker))
    os.kill(sleeper, signal.SIGKILL)
