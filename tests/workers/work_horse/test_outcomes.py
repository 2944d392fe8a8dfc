"""Outcomes of trial, search and worker for misbehaving strategies, as in the table of the docs."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState
from redis import Redis

from optimizer.search.sampler import SearchSpace
from optimizer.search.study import StudyFacts, open_study
from optimizer.search.trial_table import export
from tests.factories.folders import memory_folder
from tests.factories.levels import level_of
from tests.fork_server import Forked, ForkServer
from tests.workers.misbehaving import UNLUCKY
from tests.workers.strategy_worker_process import Candles
from tradeschool.errors import StrategyNotImported
from workers.coordinator.study.coordinator import StudyRun
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.queue.dispatch import JobKey, QueueDispatcher
from workers.queue.job_allowlist import TrialQueue
from workers.queue.messages import TrialBatch, level_digests

HERE = Path(__file__).parents[1]
ROOT = HERE.parent.parent
STUDY = "run-L1-a1"
COMPLETE, FAIL = TrialState.COMPLETE, TrialState.FAIL
POINTS = tuple({"fast": fast} for fast in (10, UNLUCKY, 20, 8))
"""The second trial is the unlucky one."""


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    forking = ForkServer(["tests.workers.warmed", "workers.worker.worker", "tests.factories.levels"])
    yield forking
    forking.close()


class ShortTimeoutDispatcher(QueueDispatcher):
    """Gives the misbehaving trial its own limit and the others no practical limit."""

    seconds = 600

    def send(self, job_key: JobKey, batch: TrialBatch) -> bool:
        self._timeout = self.seconds if UNLUCKY in {each["fast"] for each in batch.parameters} else 600
        return super().send(job_key, batch)


@dataclass(kw_only=True)
class QueueSetup:
    """Where searches with misbehaving strategies take place."""

    folder: Path
    url: str
    forks: ForkServer
    strategy: str = "misbehaving:EXIT"
    import_fault: str = "none"
    import_seconds: int = 600
    unlucky_seconds: int = 2
    """Time limit of the misbehaving trial."""
    said: str = ""
    """By its workers, on standard error."""

    @property
    def left(self) -> list[int]:
        """The processes that strategies have started and that live."""
        pids = self.folder / "pids"
        noted = [int(line) for line in pids.read_text().split()] if pids.exists() else []
        return [pid for pid in noted if pid and is_alive(pid)]

    def start(self, *strategies: str, has_errors: bool = True) -> Forked:
        """Start a worker that may evaluate these strategies."""
        words = [str(HERE / "strategy_worker_process.py"), "--url", self.url, "--arrays", str(self.folder / "arrays")]
        words += ["--import-seconds", str(self.import_seconds)]
        words += [word for each in strategies or [self.strategy] for word in ("--strategy", each)]
        environment = {
            **os.environ,
            "STRATEGY_PIDS": str(self.folder / "pids"),
            "IMPORT_FAULT": self.import_fault,
        }
        return self.forks.start(words, cwd=self.folder, env=environment, has_errors=has_errors)

    def search(self) -> list[FrozenTrial]:
        """Search with a separate worker, which must stay alive."""
        Redis.from_url(self.url).flushdb()
        worker = self.start()
        try:
            return coordinate(self, lambda: None)[1]
        finally:
            lived = worker.poll() is None
            worker.terminate()
            out, self.said = worker.communicate(timeout=120)
            assert out == "", "standard output is for a command's own words"
            assert (lived, worker.returncode) == (True, 0), self.said


def coordinate(queue_setup: QueueSetup, tend: Callable[[], None]) -> tuple[bytes, list[FrozenTrial]]:
    """Trial table and trials."""
    queue = TrialQueue(connection=Redis.from_url(queue_setup.url))
    dispatcher = ShortTimeoutDispatcher(queue, study=STUDY, url=queue_setup.url, job_timeout_seconds=600)
    dispatcher.seconds = queue_setup.unlucky_seconds
    level = level_of(
        ("coinbase/BTC-USD/H1",), strategy=queue_setup.strategy, ranges={"fast": (5, 30)}, trials=len(POINTS), lag=2
    )
    facts = StudyFacts(level=level, seed=7, fingerprints={"data": "d1"}, first_points=POINTS)
    study = open_study(f"sqlite:///{queue_setup.folder / f'{uuid4().hex}.db'}", STUDY, facts)
    run = StudyRun(
        study=study,
        facts=facts,
        space=SearchSpace(
            seed=7,
            lag=level.lag,
            distributions={"fast": IntDistribution(5, 30)},
            repair=lambda parameters: parameters,
            first_points=POINTS,
        ),
        digests=level_digests(level, Candles()),
        dispatcher=dispatcher,
        settings=CoordinatorSettings(reconcile_seconds=0.2, orphan_seconds=2.0, attempts=2, losses=1),
    )
    with closing(study):
        end = time.monotonic() + 300
        while not run.reconcile(wait_seconds=0.1).is_done:
            assert time.monotonic() < end, "the search does not end"
            tend()
        return export(study.trials(), "csv"), study.trials()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def queue_setup(server: str, folder: Path, forks: ForkServer) -> QueueSetup:
    return QueueSetup(folder=folder, url=f"{server}?db=5", forks=forks)


class ProcessGroup:
    """Workers that serve test after test, whatever a strategy does."""

    def __init__(self, queue_setup: QueueSetup, count: int) -> None:
        self._strategies = [f"misbehaving:{name}" for name in [*OUTCOMES, *FATAL]]
        self.queue_setup = queue_setup
        self.workers = [self._start() for _ in range(count)]

    def _start(self) -> Forked:
        return self.queue_setup.start(*self._strategies, has_errors=False)

    def search(self, name: str) -> tuple[bytes, list[FrozenTrial]]:
        """Trial table and trials."""
        self.queue_setup.strategy = f"misbehaving:{name}"
        Redis.from_url(self.queue_setup.url).flushdb()
        return coordinate(self.queue_setup, self._start_again if name in FATAL else lambda: None)

    def _start_again(self) -> None:
        for place, worker in enumerate(self.workers):
            if worker.poll() is not None:
                worker.close()
                self.workers[place] = self._start()

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self.workers if worker.poll() is None]

    def end(self) -> None:
        """Stop all workers; each must end."""
        for worker in self.workers:
            worker.terminate()
        codes = [worker.wait(timeout=120) for worker in self.workers]
        for worker in self.workers:
            worker.close()
        assert set(codes) == {0}


@pytest.fixture(scope="module")
def worker_groups(server: str, forks: ForkServer) -> Iterator[tuple[ProcessGroup, ProcessGroup]]:
    """Groups of one and of two workers."""
    with memory_folder() as folder:
        made = tuple(
            ProcessGroup(QueueSetup(folder=folder, url=f"{server}?db={5 + count}", forks=forks), count)
            for count in (1, 2)
        )
        yield made
        for process_group in made:
            process_group.end()


OUTCOMES = {
    "EXIT": (FAIL, r"SystemExit: enough, on coinbase/BTC-USD/H1"),
    "OS_EXIT": (FAIL, r"2 attempts: its process ended with code 3"),
    "SEGFAULT": (FAIL, r"2 attempts: its process was killed by SIGSEGV"),
    "LOOP": (FAIL, r"2 attempts: JobTimeoutException: .*2 seconds.*"),
    "LOCKED": (FAIL, r"2 attempts: it did not end within its 2 s, and was killed"),
    "UNLOCKED": (FAIL, r"2 attempts: it did not end within its 2 s, and was killed"),
    "CONSUME": (FAIL, r"2 attempts: it did not end within its 2 s, and was killed"),
    "LEAK": (FAIL, r"2 attempts: MemoryError"),
    "OUTPUT": (COMPLETE, None),
    "PRINT": (COMPLETE, None),
    "FORK": (COMPLETE, None),
    "FORK_BACK": (COMPLETE, None),
    "FORK_BACK_C": (COMPLETE, None),
    "THREAD": (COMPLETE, None),
    "DAEMON": (COMPLETE, None),
    "PROGRAM": (COMPLETE, None),
    "BASE": (FAIL, r"BaseException: as low as it goes, on coinbase/BTC-USD/H1"),
    "INTERRUPT": (FAIL, r"KeyboardInterrupt: by myself, on coinbase/BTC-USD/H1"),
    "UGLY": (FAIL, r"ValueError: one\\n12:00:00 ERROR workers.worker.worker: forged \\x1b\[31m \\ud800 end, on .*"),
    "UNTOLD": (FAIL, r"Untold: its text cannot be told: RuntimeError, on coinbase/BTC-USD/H1"),
    "STOP": (COMPLETE, None),
    "NAN": (
        FAIL,
        r"SettingsError: strategy 'misbehaving' on coinbase/BTC-USD/H1: "
        r"signals must be int8 .*, NaN from bar 0 on, on .*",
    ),
    "VIEW": (COMPLETE, None),
    "WRITE": (FAIL, r"ValueError: assignment destination is read-only, on coinbase/BTC-USD/H1"),
    "UNLOCK": (FAIL, r"ValueError: cannot set WRITEABLE flag to True of this array, on coinbase/BTC-USD/H1"),
    "UNLOCK_SMALL": (FAIL, r"ValueError: cannot set WRITEABLE flag to True of this array, on coinbase/BTC-USD/H1"),
    "CLOSE": (FAIL, r"2 attempts: it closed the channel to its worker"),
    "CLOSE_SLEEP": (FAIL, r"2 attempts: it closed the channel to its worker"),
    "CHDIR": (COMPLETE, None),
    "HANDLERS": (COMPLETE, None),
    "MUCH": (COMPLETE, None),
}


FATAL = {"KILL_PARENT": (FAIL, r"2 workers were lost with it: the worker's lease expired")}
"""These end their worker, and another is started."""


@pytest.mark.parametrize("name", [*OUTCOMES, *FATAL])
def test_a_trial_has_the_documented_outcome(worker_groups: tuple[ProcessGroup, ProcessGroup], name: str) -> None:
    before = [process_group.pids for process_group in worker_groups]
    state, reason = {**OUTCOMES, **FATAL}[name]
    (one, trials), (two, _) = (process_group.search(name) for process_group in worker_groups)

    assert one == two
    assert [trial.state for trial in trials if trial.number != 1] == [COMPLETE] * 3
    assert trials[1].state is state
    if reason is not None:
        assert re.fullmatch(reason, trials[1].user_attrs["failure"]), trials[1].user_attrs
    assert worker_groups[0].queue_setup.left == []
    if name not in FATAL:
        assert [process_group.pids for process_group in worker_groups] == before, (
            "a worker outlives whatever it evaluates"
        )


def test_strategy_output_is_limited_and_forges_no_log_line(queue_setup: QueueSetup) -> None:
    queue_setup.strategy = "misbehaving:OUTPUT"
    queue_setup.search()
    assert "action=strategy_wrote_more bytes_left_out=" in queue_setup.said
    assert len(queue_setup.said) < 200_000

    queue_setup.strategy = "misbehaving:PRINT"
    queue_setup.search()
    lines = queue_setup.said.splitlines()
    assert any(line.endswith('text={"forged": true}') for line in lines)
    assert any(
        "action=strategy_wrote text=12:00:00 ERROR workers.worker.worker: forged \\x1b[31m" in line for line in lines
    )
    assert any(line.endswith("text=on standard error") for line in lines)
    assert not any(line.startswith("12:00:00") for line in lines)


def test_a_traceback_forges_no_log_line(queue_setup: QueueSetup) -> None:
    queue_setup.strategy = "misbehaving:UGLY"
    queue_setup.search()

    assert "workers.work_horse.evaluator: trial failed" in queue_setup.said
    assert "\x1b" not in queue_setup.said
    assert not any(line.startswith("12:00:00") for line in queue_setup.said.splitlines())


@pytest.mark.parametrize("name", ["CHDIR", "HANDLERS", "MUCH", "THREAD", "DAEMON", "CLOSE"])
def test_a_work_horse_changed_by_a_batch_is_replaced(queue_setup: QueueSetup, name: str) -> None:
    queue_setup.strategy = f"misbehaving:{name}"
    queue_setup.search()
    told = {
        "CHDIR": "left_behind=working folder",
        "HANDLERS": "left_behind=signal handlers, signals and umask",
        "MUCH": "left_behind=signals and umask, limits, standard streams, interpreter, numpy's errors",
        "THREAD": "left_behind=threads",
        "DAEMON": "left_behind=1 processes",
        "CLOSE": "reason=it closed the channel to its worker",
    }

    assert told[name] in queue_setup.said


IMPORT_FAULTS = {
    "exit": "SystemExit: enough",
    "os exit": "its process ended with code 1",
    "segfault": "its process was killed by SIGSEGV",
    "loop": "JobTimeoutException: Task exceeded maximum timeout value (1 seconds)",
    "native loop": "it did not end within its 1 s, and was killed",
    "leak": "MemoryError",
    "exception": "ValueError: one\\n12:00:00 ERROR workers.worker.worker: forged \\x1b[31m \\ud800 end",
}


@pytest.mark.parametrize("import_fault", IMPORT_FAULTS)
def test_an_unimportable_strategy_ends_the_search(queue_setup: QueueSetup, import_fault: str) -> None:
    queue_setup.strategy, queue_setup.import_fault = "unimportable:STRATEGY", import_fault
    queue_setup.import_seconds, queue_setup.unlucky_seconds = 1 if "loop" in import_fault else 600, 600

    with pytest.raises(StrategyNotImported) as told:
        queue_setup.search()

    said = re.escape(f"strategy unimportable:STRATEGY cannot be imported: {IMPORT_FAULTS[import_fault]}")
    assert re.fullmatch(rf"{said}( \(misbehaving.py, line \d+\))? \(2 attempts\)", str(told.value))
    assert queue_setup.left == []
    failures = [line for line in queue_setup.said.splitlines() if "worker: job failed" in line]
    assert len(failures) >= 2
    assert [" WARNING " in line for line in failures] == [True] + [False] * (len(failures) - 1), (
        "one warning per worker"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MEMORY_TAKING_WARM_UP", r"MemoryError \(misbehaving.py, line \d+\)"),
        ("ENDLESS_WARM_UP", r"JobTimeoutException: Task exceeded maximum timeout value \(1 seconds\)"),
    ],
)
def test_a_warm_up_has_the_limits_of_an_import(queue_setup: QueueSetup, name: str, said: str) -> None:
    """A worker's limit is 268 MB; candles are loaded without it."""
    queue_setup.strategy, queue_setup.unlucky_seconds = f"misbehaving:{name}", 600
    queue_setup.import_seconds = 1 if name == "ENDLESS_WARM_UP" else 600

    with pytest.raises(StrategyNotImported) as told:
        queue_setup.search()

    begin = f"strategy misbehaving:{name} cannot be imported: at warm-up: "
    assert re.fullmatch(rf"{begin}{said} \(2 attempts\)", str(told.value))


def test_a_stopping_worker_does_not_wait_for_an_import(queue_setup: QueueSetup, eventually) -> None:
    queue_setup.strategy, queue_setup.import_fault, queue_setup.import_seconds = (
        "unimportable:STRATEGY",
        "noted loop",
        6000,
    )
    Redis.from_url(queue_setup.url).flushdb()
    worker = queue_setup.start()

    def end_once_it_imports() -> None:
        if queue_setup.left and worker.poll() is None:
            worker.terminate()
            worker.communicate(timeout=120)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        coordinate(queue_setup, end_once_it_imports)

    assert worker.returncode == 0
    assert queue_setup.left == []
    connection = Redis.from_url(queue_setup.url)
    assert connection.zcard("rq:wip:trials") == 0
    assert connection.lindex("rq:queue:trials", 0) == f"{STUDY}-0-0-a1".encode()


def test_a_fork_during_an_import_leaves_no_process(queue_setup: QueueSetup) -> None:
    queue_setup.strategy, queue_setup.import_fault = "unimportable:STRATEGY", "fork"
    trials = queue_setup.search()

    assert trials[0].state is COMPLETE
    assert queue_setup.left == []
