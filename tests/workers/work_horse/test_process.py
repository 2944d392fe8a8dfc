"""Work horse: it returns results or a reason, its death does not end the worker, and every wait is limited."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, os, signal, sys, time
from workers.work_horse.child import WorkHorseTask
from workers.work_horse.process import WorkHorse

def evaluate(batch):
    what = batch.decode()
    if what == "raise":
        raise ZeroDivisionError("no")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        sys.exit(7)
    if what == "leave":
        os._exit(9)
    if what == "sleep":
        time.sleep(1e6)
    if what == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(1e6)
    if what == "swallow":
        return b"x" * len(bytearray(1 << 30))
    if what == "chatter":
        print("hello")
    if what == "long":
        return b"y" * 5_000_000
    return f"{os.getpid()} {what}".encode()

def as_list(found):
    return None if found is None else [found.result and found.result.decode()[:40], found.failure, found.is_damaged]

timeout, patience = int(sys.argv[1]), float(sys.argv[2])
horse = WorkHorse(WorkHorseTask(evaluate=evaluate, close=lambda: None, memory_bytes=1 << 28))
found = [horse.pid]
for what in sys.argv[3:]:
    horse.send(what.encode(), timeout, 1)
    found.append(as_list(horse.wait(patience)))
horse.kill()
sys.stderr.write(json.dumps([*found, horse.trials]))
"""


@pytest.fixture
def evaluate_batches() -> Callable[..., list[object]]:
    """Sends batches to a work horse in a separate process and returns the results."""

    def one(timeout: int, *orders: str, patience: float = 60.0) -> list[object]:
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(timeout), str(patience), *orders]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
        found: list[object] = json.loads(done.stderr)
        return found

    return one


def test_one_work_horse_evaluates_many_batches(evaluate_batches) -> None:
    pid, first, second, trials = evaluate_batches(60, "a", "b")

    assert (first, second) == ([f"{pid} a", None, False], [f"{pid} b", None, False])
    assert trials == 2


def test_a_long_result_arrives_complete(evaluate_batches) -> None:
    _, reply, _ = evaluate_batches(60, "long")

    assert reply == ["y" * 40, None, False]


@pytest.mark.parametrize(
    ("batch", "failure"),
    [
        pytest.param("raise", "ZeroDivisionError: no", id="an exception"),
        pytest.param("kill", "its process was killed by SIGKILL", id="killed"),
        pytest.param("exit", "its process ended with code 1", id="an exit"),
        pytest.param("leave", "its process ended with code 9", id="a hard exit"),
        pytest.param("sleep", "JobTimeoutException: Task exceeded maximum timeout value (1 seconds)", id="too long"),
        pytest.param("swallow", "MemoryError", id="too much memory"),
    ],
)
def test_a_missing_result_has_a_reason(evaluate_batches, batch: str, failure: str) -> None:
    _, reply, _ = evaluate_batches(1 if batch == "sleep" else 60, batch)

    assert reply == [None, failure, True]


def test_native_code_that_blocks_signals_is_waited_for(evaluate_batches) -> None:
    """The code never returns; the test shows that the wait ends."""
    _, reply, _ = evaluate_batches(1, "hang", patience=1.5)

    assert reply is None


def test_a_batch_for_a_dead_work_horse_fails_at_once(evaluate_batches) -> None:
    _, _, again, _ = evaluate_batches(60, "leave", "a")

    assert again == [None, "its process is gone", True]


STEPS = """
import json, resource, sys
from workers.processes.memory_limit import default_limit
from workers.work_horse.child import PreparationStep, WorkHorseTask
from workers.work_horse.process import WorkHorse

taken, seen = [], []

def room():
    pages = int(open("/proc/self/statm").read().split()[5])
    return resource.getrlimit(resource.RLIMIT_DATA)[0] - pages * resource.getpagesize()

def take(size):
    def step(batch):
        seen.append(room())
        taken.append(bytearray(size))
    return step

def evaluate(batch):
    return json.dumps([*seen, room(), default_limit()]).encode()

limit = int(sys.argv[1]) or None
steps = [
    PreparationStep(run=take(int(size)), failure=name, is_trusted=name == "candles")
    for name, size in zip(sys.argv[2::2], sys.argv[3::2])
]
work_horse = WorkHorse(WorkHorseTask(evaluate=evaluate, close=lambda: None, memory_bytes=limit, steps=steps))
work_horse.send(b"x", 60, 1)
done = work_horse.wait(60)
work_horse.kill()
sys.stderr.write(json.dumps([done.failure, json.loads(done.result or "[]")]))
"""
LIMIT, MUCH, SLACK = 1 << 28, 1 << 29, 1 << 25


def prepared(limit: int, *steps: object) -> tuple[str | None, list[int]]:
    command = [sys.executable, "-c", textwrap.dedent(STEPS), str(limit), *map(str, steps)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    failure, seen = json.loads(done.stderr)
    return failure, seen


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts data in this way")
def test_only_trusted_steps_exceed_the_memory_limit_of_a_trial() -> None:
    failure, (warm_up, candles, trial, most) = prepared(LIMIT, "warm-up", 1, "candles", MUCH)

    assert failure is None
    assert warm_up == pytest.approx(LIMIT, abs=SLACK)
    assert candles == pytest.approx(most, abs=SLACK)
    assert trial == pytest.approx(LIMIT, abs=SLACK)
    assert prepared(LIMIT, "candles", 1, "warm-up", MUCH) == ("warm-up: MemoryError", [])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts data in this way")
def test_no_step_is_unlimited_without_a_setting() -> None:
    failure, (*rooms, most) = prepared(0, "import", 1, "candles", 1)

    assert failure is None
    assert rooms == pytest.approx([most] * 3, abs=SLACK)


def test_a_work_horse_ends_with_its_worker(plan, start_worker, eventually) -> None:
    slow = replace(plan, title="sleep 5", trials=1)
    worker, study = start_worker(), slow.open()
    run = slow.run(study)
    run.reconcile()
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    eventually(lambda: children.read_text().split())
    (work_horse,) = children.read_text().split()
    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=60)
    study.close()

    eventually(lambda: not Path(f"/proc/{work_horse}").exists() or "Z" in Path(f"/proc/{work_horse}/stat").read_text())
