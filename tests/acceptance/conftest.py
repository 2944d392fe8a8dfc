"""Fixtures that run the command as a user does: in separate processes, against a loopback exchange, in a new folder."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.child_forks import MARK
from tests.fork_server import Forked, ForkServer

IMPORTED = (
    "tradeschool.cli.main",
    "tradeschool.cli.search.optimize",
    "tradeschool.cli.operations.up",
    "tradeschool.cli.operations.serve",
    "tradeschool.cli.strategies.strategy",
    "tradeschool.cli.candles.exchange",
    "tradeschool.cli.strategies.backtest",
    "optimizer.report.plots.curves",
    "fetcher.download.run_loop",
    "tests.warmed",
)
"""What the command imports for most of its words."""
SPECIAL_CHARACTERS = "ein Ordner =#%?;&'\"\\ü🦜{x}"
"""The folder of every program: with each character that something on the way could take for more than a letter."""
TIMEOUT = 300.0  # seconds; a command that takes longer is stuck
CURRICULUM = """
[[level]]
name = "1"
title = "Three weeks"
direction = "both"
trials = {trials}
lag = 4
datasets = [
  {{ dataset = "coinbase/BTC-USD/M5", start = 2023-01-01, end = 2023-01-22 }},
  {{ dataset = "coinbase/BTC-USD/M15", start = 2023-01-01, end = 2023-01-22 }},
  {{ dataset = "oanda/EUR-USD/M5", start = 2023-01-01, end = 2023-01-22 }},
]
gate = {{ win_rate = {win_rate}, sharpe = -99, max_drawdown_intrabar = 0.9, profit_factor = 0.01 }}
min_trades = {{ train = 1, validation = 1 }}
ranges = {{ fast = [3, 20], slow = [10, 60], atr_period = [5, 20], stop_atr = [1.0, 4.0], target_atr = [1.0, 6.0] }}
retries = 0
"""
FEW = ("--surrogates", "2")
"""What every search of a test is given that does not say otherwise: each market without skill costs another search."""
EASY = 0.0
"""A win rate that any winner has."""


@dataclass(frozen=True)
class Program:
    """`tradeschool` in a separate folder."""

    folder: Path
    forks: ForkServer
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command until it ends."""
        process = self.forks.start(self._words(arguments), cwd=self.folder, env=self._environment(environment))
        out, err = process.communicate(TIMEOUT)
        return subprocess.CompletedProcess(self._words(arguments), process.wait(), out, err)

    def run_through(self, shell: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command from a shell that gets the interpreter and the arguments."""
        return subprocess.run(
            [*shell, sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment(None),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def start(self, *arguments: str) -> Forked:
        """Start the command in the background, in a new session."""
        return self.forks.start(self._words(arguments), cwd=self.folder, env=self._environment(None))

    def with_environment(self, more: Mapping[str, str]) -> "Program":
        """Return the same command with additional environment variables."""
        return replace(self, environment={**self.environment, **more})

    def json(self, *arguments: str) -> object:
        """Parse the output of a command with `--json`."""
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout)

    def in_interpreters(self) -> "Program":
        """Return a copy whose command starts new interpreters instead of forks, as for a user."""
        return self.with_environment({MARK: "1"})

    def write_curriculum(self, *, win_rate: float = EASY, trials: int = 16) -> Path:
        path = self.folder / "curriculum.toml"
        path.write_text(CURRICULUM.format(win_rate=win_rate, trials=trials))
        return path

    def trials(self) -> int:
        """Number of committed trials of all runs."""
        try:
            with closing(sqlite3.connect(self.folder / ".tradeschool" / "study.sqlite3")) as study:
                return int(study.execute("SELECT count(*) FROM trials").fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    def processes(self) -> list[int]:
        """Every process that works in the folder, servers included."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                home = (entry / "cwd").readlink()
            except OSError:
                continue
            if home.is_relative_to(self.folder):
                found.append(int(entry.name))
        return found

    def _words(self, arguments: tuple[str, ...]) -> list[str]:
        is_search = arguments[:2] == ("optimize", "run") or arguments[:1] == ("up",)
        few = FEW if is_search and FEW[0] not in arguments else ()
        return ["-m", "tradeschool", *arguments, *few]

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(more or {})}


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Runs the command in forks of a process that has imported it."""
    server = ForkServer(IMPORTED)
    yield server
    server.close()


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[str]:
    """The URL of `tradeschool exchange`, fast, with generated candles."""
    program = Program(tmp_path_factory.mktemp("exchange"), forks)
    process = program.start("exchange", "--port", "0", "--coinbase-limit", "500", "--oanda-limit", "500")
    assert process.stderr is not None
    first = process.stderr.readline()
    found = re.search(r"http://[0-9.:]+", first)
    assert found, first
    yield found[0].rstrip(";")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


@pytest.fixture
def program(tmp_path: Path, exchange: str, forks: ForkServer) -> Iterator[Program]:
    """The command in an empty folder, connected to the exchange; at the end none of its processes may be left."""
    made = program_in(tmp_path / SPECIAL_CHARACTERS, exchange, forks)
    yield made
    left = made.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "processes were left running"


@pytest.fixture(scope="session")
def make_program(exchange: str, forks: ForkServer) -> Callable[[Path], Program]:
    """Creates the command in a folder."""
    return lambda folder: program_in(folder, exchange, forks)


def program_in(folder: Path, exchange: str, forks: ForkServer) -> Program:
    folder.mkdir(parents=True)
    return Program(
        folder,
        forks,
        {
            "TRADESCHOOL_FETCH__COINBASE_URL": exchange,
            "TRADESCHOOL_FETCH__OANDA_URL": exchange,
            "TRADESCHOOL_FETCH__COINBASE_RATE": "200",
            "TRADESCHOOL_FETCH__OANDA_RATE": "200",
            "OANDA_API_TOKEN": "s3cret-token",
        },
    )


@pytest.fixture(scope="session")
def make_lasting(
    make_program: Callable[[Path], Program], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Program]:
    """Makes the command at home in a folder with special characters, for several tests."""
    return lambda name: make_program(tmp_path_factory.mktemp(name) / SPECIAL_CHARACTERS)


@pytest.fixture(scope="session")
def candles(tmp_path_factory: pytest.TempPathFactory, exchange: str, forks: ForkServer) -> Path:
    """A data folder with the candles of the small curriculum."""
    program = program_in(tmp_path_factory.mktemp("candles") / "here", exchange, forks)
    days = ("--timerange", "20230101-20230122")
    done = program.run("fetch", "--pairs", "BTC/USD,EUR/USD", "--timeframes", "M5,M15", *days)
    assert done.returncode == 0, done.stderr
    return program.folder / "data"


@pytest.fixture
def fetched(program: Program, candles: Path) -> Program:
    """The command with the candles of the small curriculum."""
    shutil.copytree(candles, program.folder / "data")
    return program


def wait_until(is_so: Callable[[], bool], seconds: float = 300.0, pause: float = 0.05) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(pause)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


def wait_for_workers(program: Program, count: int) -> None:
    """Wait until a number of workers is connected; each poll runs a command, so it polls slowly."""
    wait_until(lambda: len(program.json("worker", "list")) == count, pause=0.5)  # type: ignore[arg-type]


@pytest.fixture
def connected() -> Callable[[Program, int], None]:
    return wait_for_workers


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """URL of a server that keeps the body of each message."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()
