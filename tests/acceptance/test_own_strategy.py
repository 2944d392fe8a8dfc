"""A user's own strategy is evaluated where its user names it, and nowhere else."""

import shutil
import signal
from collections.abc import Callable

import pytest

STRATEGY = "from optimizer.strategies.built_in.sma_cross import STRATEGY\n"
DYING = """
import os
from optimizer.strategies.built_in.sma_cross import STRATEGY as BUILT_IN

class Mine:
    name, parameters = "mine", BUILT_IN.parameters
    warm_up, signals = BUILT_IN.warm_up, BUILT_IN.signals

    def repair(self, parameters):
        if parameters["fast"] > 10:
            os._exit(9)
        return BUILT_IN.repair(parameters)

STRATEGY = Mine()
"""
SHADOWS = ("fetcher", "json", "numpy", "optimizer", "redis", "rq", "signal", "socket", "workers")
"""Files of a working folder, each named as a module that the program imports."""


def curriculum_of(program, name: str, body: str = STRATEGY) -> str:
    (program.folder / f"{name}.py").write_text(body)
    path = program.write_curriculum(trials=8)
    path.write_text(path.read_text().replace('direction = "both"', f'direction = "both"\nstrategy = "{name}:STRATEGY"'))
    return str(path)


def test_workers_that_a_search_starts_know_its_strategy_and_others_have_to_be_told(
    fetched, connected: Callable[..., None]
) -> None:
    words = ("optimize", "run", "--curriculum", curriculum_of(fetched, "mine"), "--seed", "7")
    own = fetched.run(*words, "-j", "1", "--run", "own")
    pool = fetched.start("worker", "start", "-n", "1")
    try:
        connected(fetched, 1)
        refused = fetched.run(*words, "-j", "0", "--run", "refused")
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.communicate(timeout=60)

    assert own.returncode == 0, own.stderr
    assert refused.returncode == 2, refused.stderr
    assert "worker start --strategy mine:STRATEGY" in refused.stderr


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os._exit(1)", "cannot be imported: its process ended with exit code 1 (3 attempts)"),
        ("raise RuntimeError('no')", "cannot be imported: RuntimeError: no (mine.py, line 1) (1 attempt)"),
    ],
)
def test_a_search_whose_strategy_cannot_be_imported_begins_nothing(fetched, body: str, said: str) -> None:
    done = fetched.run("optimize", "run", "--curriculum", curriculum_of(fetched, "mine", body), "-j", "1")

    assert done.returncode == 1
    assert done.stderr == f"tradeschool: strategy mine:STRATEGY {said}\n"
    assert not (fetched.folder / "results").exists()


def test_a_search_whose_strategy_dies_at_a_repair_ends_and_names_the_trial(fetched) -> None:
    words = ("--curriculum", curriculum_of(fetched, "mine", DYING), "--seed", "7", "-j", "1", "--run", "r")
    done = fetched.run("optimize", "run", *words)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tradeschool: strategy mine:STRATEGY failed at repair of trial ")
    assert last.endswith(": its process ended with exit code 9 (3 attempts)")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("backtest",), ("strategy", "check")])
def test_a_command_that_runs_a_strategy_tells_in_a_line_why_it_cannot_be_imported(program, words) -> None:
    (program.folder / "mine.py").write_text("import os; os._exit(1)")

    done = program.run(*words, "mine:STRATEGY")

    assert done.returncode == 1
    said = "strategy mine:STRATEGY cannot be imported: its process ended with exit code 1 (3 attempts)"
    assert done.stderr == f"tradeschool: {said}\n"


def test_no_file_of_the_working_folder_stands_in_for_a_module(fetched) -> None:
    for name in SHADOWS:
        (fetched.folder / f"{name}.py").write_text(f"raise RuntimeError('shadowed by {name}')")
    words = ("optimize", "run", "--curriculum", curriculum_of(fetched, "mine"), "--seed", "7", "-j", "1")

    done = fetched.in_interpreters().run(*words, "--run", "shadowed")
    listed = fetched.run_through(("env",), "-m", "tradeschool", "strategy", "check", "mine:STRATEGY")

    assert done.returncode == 0, done.stderr
    assert listed.returncode == 0, listed.stderr
    assert "shadowed by" not in done.stderr + listed.stderr


def test_an_own_strategy_s_table_is_that_of_the_built_in_one_for_any_number_of_workers(fetched) -> None:
    own = curriculum_of(fetched, "mine")
    shutil.copy(own, fetched.folder / "own.toml")
    built_in = fetched.write_curriculum(trials=8)
    few = ("--seed", "7", "--surrogates", "0")

    for run, curriculum, workers in (("one", "own.toml", "1"), ("two", "own.toml", "2"), ("built", str(built_in), "1")):
        done = fetched.run("optimize", "run", "--curriculum", curriculum, *few, "-j", workers, "--run", run)
        assert done.returncode == 0, done.stderr

    one, two, built = (
        {name: (fetched.folder / "results" / run / name).read_bytes() for name in ("1/trials.csv", "1/metrics.json")}
        for run in ("one", "two", "built")
    )
    assert one == two == built


def test_a_name_that_is_no_strategy_s_is_refused_in_one_line(program) -> None:
    done = program.run("worker", "start", "--strategy", "mine")

    assert done.returncode == 2
    assert "work.strategies.0" in done.stderr
    assert "Traceback" not in done.stderr
