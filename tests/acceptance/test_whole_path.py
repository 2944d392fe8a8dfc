"""The path from an empty folder to a verdict, with real processes."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

GATE_NOT_MET, INTERRUPTED = 3, 130
IMPOSSIBLE = 1.0  # a win rate that no winner has
MANY = 120  # trials: enough to be interrupted among them


@pytest.fixture(scope="module")
def up(make_lasting):
    """A folder in which `up` has run, and its result."""
    made = make_lasting("up").with_environment({"TRADESCHOOL_SERVE__PORT": "0"}).in_interpreters()
    curriculum = str(made.write_curriculum())
    done = made.run("up", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--json")
    assert not made.processes()
    return made, done


def test_up_runs_from_an_empty_folder_to_a_verdict(up) -> None:
    program, done = up
    assert done.returncode == 0, done.stderr
    assert "monitoring page: http://127.0.0.1:" in done.stderr
    assert "left out" not in done.stderr, "its own signed announcements are read as what they are"
    verdict = json.loads(done.stdout)
    (level,) = verdict["levels"]
    assert (level["level"], level["attempt"], level["trials"], level["passed"]) == ("1", 1, 16, True)
    assert level["complete"] + level["pruned"] + level["failed"] == 16
    assert {reading["name"] for reading in level["gate"]} >= {
        "win_rate",
        "sharpe",
        "max_drawdown_intrabar",
        "profit_factor",
    }
    assert verdict["recommendation"]["action"] in {"paper_trade", "do_not_deploy"}
    assert verdict["recommendation"]["parameters"] == level["best_params"]
    page = (program.folder / "results" / verdict["run"] / "report.html").read_text()
    assert {"Equity and drawdown of level 1", "Monthly returns of level 1"} <= {
        *re.findall(r'<svg role="img" aria-label="([^"]*)"', page)
    }
    files = {path.name for path in (program.folder / "results" / verdict["run"] / "1").rglob("*") if path.is_file()}
    assert files >= {"trials.csv", "trials.parquet", "gate.json", "best_params.json", "metrics.json", "equity.svg"}


def test_up_serves_no_page_with_the_option_off(up) -> None:
    program, _ = up
    curriculum = str(program.write_curriculum(trials=4))
    done = program.run("up", "--curriculum", curriculum, "--seed", "8", "-j", "1", "--no-page")

    assert done.returncode == 0, done.stderr
    assert "monitoring page:" not in done.stderr


def test_a_missed_gate_is_a_verdict_with_exit_code_3(fetched) -> None:
    curriculum = fetched.write_curriculum(win_rate=IMPOSSIBLE, trials=8)

    done = fetched.run("optimize", "run", "--curriculum", str(curriculum), "--seed", "7", "-j", "1", "--json")

    assert done.returncode == GATE_NOT_MET, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["levels"][0]["passed"] is False
    assert verdict["exit_reason"] == "the gate of level 1 is not met"
    assert verdict["recommendation"]["action"] == "do_not_deploy"


def test_the_trial_table_is_the_same_for_any_number_of_workers(up, fetched) -> None:
    """One worker, after its own download, and three workers."""
    program, done = up
    with_one = table(program, json.loads(done.stdout)["run"], "csv")
    curriculum = str(fetched.write_curriculum())
    done = fetched.run("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "3", "--run", "with-3")
    assert done.returncode == 0, done.stderr

    assert table(fetched, "with-3", "csv") == with_one
    assert with_one.count(b"\n") == 17


def test_workers_of_another_terminal_evaluate_the_trials(fetched, connected: Callable[..., None]) -> None:
    curriculum = str(fetched.write_curriculum())
    pool = fetched.start("worker", "start", "-n", "2")
    try:
        connected(fetched, 2)
        done = fetched.run("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "0", "--run", "theirs")
        status = fetched.json("queue", "status")
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.communicate(timeout=60)

    assert done.returncode == 0, done.stderr
    assert (status["queued"], status["started"], status["failed"]) == (0, 0, 0)
    assert sum(worker["done"] for worker in status["workers"]) == status["finished"] > 0


@pytest.fixture(scope="module")
def whole_table(candles: Path, make_lasting) -> bytes:
    """The trials of an undisturbed run."""
    undisturbed = make_lasting("undisturbed")
    shutil.copytree(candles, undisturbed.folder / "data")
    curriculum = str(undisturbed.write_curriculum(trials=MANY))
    done = undisturbed.run("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--run", "whole")
    assert done.returncode == 0, done.stderr
    return table(undisturbed, "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_resumes(fetched, number: int, eventually, whole_table) -> None:
    curriculum = str(fetched.write_curriculum(trials=MANY))
    search = fetched.start("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "1", "--run", "broken")
    eventually(lambda: fetched.trials() >= 3)

    os.kill(search.pid, number)
    _, said = search.communicate(timeout=60)

    assert search.returncode == INTERRUPTED, said
    assert not fetched.processes()
    assert fetched.run("optimize", "resume", "broken", "-j", "2").returncode == 0
    assert table(fetched, "broken") == whole_table


def test_killing_a_run_and_its_workers_loses_no_trial(fetched, eventually, whole_table) -> None:
    curriculum = str(fetched.write_curriculum(trials=MANY))
    search = fetched.start("optimize", "run", "--curriculum", curriculum, "--seed", "7", "-j", "2", "--run", "broken")
    eventually(lambda: fetched.trials() >= 3)

    for pid in fetched.processes():
        os.kill(pid, signal.SIGKILL)
    search.communicate(timeout=60)

    done = fetched.run("optimize", "resume", "broken", "-j", "2")
    assert done.returncode == 0, done.stderr
    assert table(fetched, "broken") == whole_table


def table(program, run: str, form: str = "parquet") -> bytes:
    """The exported trial table of a run."""
    out = program.folder / f"{run}.{form}"
    done = program.run("optimize", "export", run, "--format", form, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


def test_an_interrupted_demo_stops_all_its_processes(program, eventually) -> None:
    demo = program.start("demo")
    eventually(lambda: any((program.folder / "demo").glob("*/data/.ledger.sqlite3")))

    os.kill(demo.pid, signal.SIGINT)
    _, said = demo.communicate(timeout=60)

    assert demo.returncode == INTERRUPTED, said
    assert "Traceback" not in said
    eventually(lambda: not program.processes())
