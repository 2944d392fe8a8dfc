"""Process group: results equal those of one process, in order, and no process remains."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tradeschool.errors import TradeschoolError
from workers.processes import process_group as module
from workers.processes.process_group import cores, process_group

HERE = Path(__file__).parents[1]
ORPHANS = """
import sys
from functools import partial
from pathlib import Path
from process_group_work import sleep_with_a_name
from workers.processes.process_group import process_group

if __name__ == "__main__":
    with process_group(2, serial_seconds=0) as hands:
        for _ in hands.share(partial(sleep_with_a_name, Path(sys.argv[1])), [0, 1, 2, 3]):
            pass
"""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch):
    """The module `process_group_work`, importable by child processes."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("process_group_work")


def test_results_of_several_processes_are_in_order(work) -> None:
    with process_group(2, serial_seconds=0) as processes:
        found = list(processes.share(work.double, list(range(30))))
        again = list(processes.share(work.double, [7, 8]))

    assert [value for value, _ in found] == [2 * number for number in range(30)]
    assert [value for value, _ in again] == [14, 16]
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize(("count", "tasks"), [(1, [1, 2, 3]), (0, [1, 2]), (4, [1, 2, 3]), (4, [])])
def test_short_work_runs_in_the_calling_process(count: int, tasks: list[int], work) -> None:
    with process_group(count) as processes:
        assert list(processes.share(work.double, tasks)) == [(2 * number, os.getpid()) for number in tasks]


def test_a_killed_process_is_reported(work) -> None:
    with process_group(2, serial_seconds=0) as processes, pytest.raises(TradeschoolError, match="was killed"):
        list(processes.share(work.end_it, [1, 2, 3]))


def test_a_stopped_process_is_killed_and_reported(work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.05)
    with process_group(2, serial_seconds=0) as processes, pytest.raises(TradeschoolError, match="has stopped itself"):
        list(processes.share(work.stop_it, [1, 2, 3]))


def test_exceptions_of_the_work_are_raised(work) -> None:
    with process_group(2, serial_seconds=0) as processes, pytest.raises(ValueError, match="not 1"):
        list(processes.share(work.refuse, [1, 2]))


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_caller(tmp_path: Path, eventually, by: signal.Signals) -> None:
    program, names = tmp_path / "program.py", tmp_path / "names"
    program.write_text(ORPHANS)
    names.mkdir()
    paths = os.pathsep.join((str(HERE), str(HERE.parents[1])))
    asking = subprocess.Popen(
        [sys.executable, str(program), str(names)], env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL
    )
    eventually(lambda: len(list(names.iterdir())) == 2)

    asking.send_signal(by)
    asking.wait(timeout=60)

    eventually(lambda: not any(is_alive(int(path.name)) for path in names.iterdir()))


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1
