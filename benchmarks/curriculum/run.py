"""Measure the whole curriculum on this machine: `python benchmarks/curriculum/run.py [--trials N]`.

The four levels of the project, all 550 trials, no retries, gates opened so that every level is climbed, on twelve made
datasets of 2020-2023, by two workers; from the command's first moment to its last. Printed beside it: how long the
trials' backtests took, spread over the cores, and where the rest went. Seconds are this machine's.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fetch"))
sys.path.insert(0, str(Path(__file__).parent))

import candles
from table import Row, machine, markdown, write

from optimizer.curriculum.level_files import load_levels
from optimizer.level.spec import Gate, Level, MinTrades
from optimizer.search.study import read_trials
from tradeschool.app.search.search_run import context_of
from tradeschool.settings.loading import load
from workers.coordinator.context import RunContext
from workers.coordinator.run.run_persistence import begin, read_run

WORKERS = 2
WANTED_SECONDS = 60.0
GATE_NOT_MET = 3
ROWS = 7 + 2 * 4
"""Of the whole, and of each of four levels."""
OPEN = Gate(win_rate=0.0, sharpe=-99, max_drawdown_intrabar=1.0, profit_factor=1e-9)


def main() -> None:
    """Print the table and write both files."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--trials", type=int, help="Of each level, instead of its own number.")
    trials = options.parse_args().trials
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        began = time.monotonic()
        candles.make(Path("data"))
        about["candles generated in"] = f"{time.monotonic() - began:.0f} s"
        place = context_of(load())
        levels = tuple(opened(level, trials) for level in load_levels())
        run = begin(place, "bench", levels, 7, datetime.now(UTC)).name
        command = [sys.executable, "-m", "tradeschool", "optimize", "resume", run, "-j", str(WORKERS)]
        began = time.monotonic()
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        rows = measured(place, run, time.monotonic() - began)
        # On candles without skill the last level's stress tests may find no Sharpe ratio to keep a share of.
        assert done.returncode in {0, GATE_NOT_MET} and len(rows) == ROWS, f"exit code {done.returncode}"
    print(markdown(rows, about))
    print(f"written to {write(rows, about, 'curriculum')} and beside it as JSON")


def opened(level: Level, trials: int | None) -> Level:
    """The level with a gate that any winner passes, stress tests and analyses kept; no retries, so that none is run."""
    stress = level.stress and level.stress.model_copy(
        update={
            "window_drawdown": 1.0,
            "costs_profit_factor": 1e-9,
            "shuffled_drawdown": 1.0,
        }
    )
    changes = {"gate": OPEN, "retries": 0, "drawdown_limit": 1.0, "min_trades": MinTrades(train=1, validation=1)}
    return level.model_copy(update=changes | {"stress": stress} | ({"trials": trials} if trials else {}))


def measured(place: RunContext, run: str, wall: float) -> list[Row]:
    """The whole, the trials in it, and each level's search and verdict."""
    record = read_run(place, run)
    told = [json.loads(line) for line in (place.folder(run) / "events.jsonl").read_text().splitlines()]
    moments = {(each["event"], each.get("level")): datetime.fromisoformat(each["time"]).timestamp() for each in told}
    rows, evaluating, searching, judging, count = [], 0.0, 0.0, 0.0, 0
    for attempt in record.attempts:
        trials = read_trials(place.storage_url, record.study(attempt.level, attempt.number))
        seconds = sum(trial.user_attrs["seconds"] for trial in trials)
        start, ended = moments["level_started", attempt.level], max(ends(trials))
        verdict = moments.get(("level_passed", attempt.level)) or moments["level_failed", attempt.level]
        evaluating, searching, judging = evaluating + seconds, searching + ended - start, judging + verdict - ended
        count += len(trials)
        said = f"{ended - start:.1f} s for {len(trials)} trials, backtests {seconds / WORKERS:.1f} s per core"
        rows.append(Row(target=2, what=f"level {attempt.level}: search", wanted="", reached=said))
        rows.append(
            Row(
                target=2,
                what=f"level {attempt.level}: verdict and files",
                wanted="",
                reached=f"{verdict - ended:.1f} s",
            )
        )
    pure = evaluating / WORKERS
    concluding = moments["run_finished", None] - verdict
    rest = wall - searching - judging - concluding
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime
    return [
        Row(
            target=1,
            what=f"whole run, {len(record.attempts)} levels, {count} trials, {WORKERS} workers",
            wanted=f"<= {WANTED_SECONDS:.0f} s",
            reached=f"{wall:.1f} s",
            met=wall <= WANTED_SECONDS,
        ),
        Row(
            target=1,
            what="CPU time of all processes; per core",
            wanted="",
            reached=f"{spent:.1f} s, {spent / (os.cpu_count() or 1):.1f} s per core",
        ),
        Row(
            target=1,
            what="backtests of the trials, per worker",
            wanted="",
            reached=f"{pure:.1f} s, {pure / wall:.0%} of the whole",
        ),
        Row(
            target=1,
            what="rest of the searches (sampling, queue, storing)",
            wanted="",
            reached=f"{searching - pure:.1f} s",
        ),
        Row(target=1, what="verdicts (validation, stress, test, files, plots)", wanted="", reached=f"{judging:.1f} s"),
        Row(
            target=1,
            what=f"null test of the curriculum in {record.surrogates} surrogate markets, final checks, report",
            wanted="",
            reached=f"{concluding:.1f} s",
        ),
        Row(target=1, what="start and end of command, server and workers", wanted="", reached=f"{rest:.1f} s"),
        *rows,
    ]


def ends(trials: list) -> list[float]:
    """When each trial's evaluation was over, as Unix time."""
    return [trial.user_attrs["started"] + trial.user_attrs["seconds"] for trial in trials]


if __name__ == "__main__":
    main()
