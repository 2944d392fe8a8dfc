"""A user strategy is evaluated only by workers whose settings name it."""

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


def test_only_workers_of_the_search_allow_its_strategy_by_default(fetched, connected: Callable[..., None]) -> None:
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
def test_a_search_with_an_unimportable_strategy_does_not_start(fetched, body: str, said: str) -> None:
    done = fetched.run("optimize", "run", "--curriculum", curriculum_of(fetched, "mine", body), "-j", "1")

    assert done.returncode == 1
    assert done.stderr == f"tradeschool: strategy mine:STRATEGY {said}\n"
    assert not (fetched.folder / "results").exists()


def test_a_crash_in_repair_ends_the_search_and_names_the_trial(fetched) -> None:
    words = ("--curriculum", curriculum_of(fetched, "mine", DYING), "--seed", "7", "-j", "1", "--run", "r")
    done = fetched.run("optimize", "run", *words)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tradeschool: strategy mine:STRATEGY failed at repair of trial ")
    assert last.endswith(": its process ended with exit code 9 (3 attempts)")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("backtest",), ("strategy", "check")])
def test_an_import_error_of_a_strategy_is_one_line_in_every_command(program, words) -> None:
    (program.folder / "mine.py").write_text("import os; os._exit(1)")

    done = program.run(*words, "mine:STRATEGY")

    assert done.returncode == 1
    said = "strategy mine:STRATEGY cannot be imported: its process ended with exit code 1 (3 attempts)"
    assert done.stderr == f"tradeschool: {said}\n"


def test_files_of_the_working_folder_shadow_no_module(fetched) -> None:
    for name in SHADOWS:
        (fetched.folder / f"{name}.py").write_text(f"raise RuntimeError('shadowed by {name}')")
    words = ("optimize", "run", "--curriculum", curriculum_of(fetched, "mine"), "--seed", "7", "-j", "1")

    done = fetched.in_interpreters().run(*words, "--run", "shadowed")
    listed = fetched.run_through(("env",), "-m", "tradeschool", "strategy", "check", "mine:STRATEGY")

    assert done.returncode == 0, done.stderr
    assert listed.returncode == 0, listed.stderr
    assert "shadowed by" not in done.stderr + listed.stderr


def test_a_user_strategy_gives_the_same_table_for_any_number_of_workers(fetched) -> None:
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


def test_an_unknown_strategy_name_is_refused_in_one_line(program) -> None:
    done = program.run("worker", "start", "--strategy", "mine")

    assert done.returncode == 2
    assert "work.strategies.0" in done.stderr
    assert "Traceback" not in done.stderr
