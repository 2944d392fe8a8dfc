"""Tests of `tradeschool strategy`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]
REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
def written(command: Command, request: pytest.FixtureRequest) -> str:
    """Write a new strategy with a unique name to the working folder."""
    name = f"idea_{abs(hash(request.node.nodeid))}"
    assert command("strategy", "new", name)[0] == 0
    return name


def test_every_built_in_strategy_is_listed_with_its_parameters(command: Command) -> None:
    listed = {each["name"]: each["parameters"] for each in json.loads(command("strategy", "list", "--json")[1])}

    assert list(listed) == [
        *("band_reversion", "donchian_breakout", "hour_pullback", "momentum", "rsi_reversion", "sma_cross")
    ]
    assert {each["name"]: each["search"] for each in listed["momentum"] if each["search"]} == {
        "lookback": [24, 120],
        "hold": [4, 48],
        "atr_period": [7, 28],
    }
    assert [each["name"] for each in listed["sma_cross"] if not each["fixed"]] == [
        *("fast", "slow", "atr_period", "stop_atr", "target_atr")
    ]
    assert "Bars of the channel." in command("strategy", "list")[1]


def test_a_new_strategy_passes_its_own_tests_and_the_check(command: Command, written: str) -> None:
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{written}.py"],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}."},
        capture_output=True,
        text=True,
        check=False,
    )
    code, out, _ = command("strategy", "check", f"{written}:STRATEGY")

    assert "5 passed" in tests.stdout, tests.stdout
    assert code == 0
    assert "no findings" in out


def test_a_new_strategy_passes_the_project_checks(written: str) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--config", str(REPOSITORY / "pyproject.toml")]
    for words in (["format", "--check"], ["check", "--extend-ignore", "D1"]):
        told = subprocess.run([*ruff, *words, *options, "."], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout


def test_a_strategy_with_lookahead_is_reported_with_bar_and_column(command: Command, written: str) -> None:
    path = Path(f"{written}.py")
    honest = "candles.close[lookback:] - candles.close[:-lookback]"
    assert honest in path.read_text()
    path.write_text(path.read_text().replace(honest, "candles.close[lookback:] - candles.close.mean()"))

    code, out, told = command("strategy", "check", f"{written}:STRATEGY", "--json")
    findings = json.loads(out)["findings"]

    assert code == 1
    assert "failed: look-ahead, warm-up" in told
    assert findings[0].startswith("look-ahead: the signal at bar ")
    assert findings[0].endswith("the strategy uses column close")
    assert findings[1].startswith("warm-up: the signal at bar ")


def test_a_strategy_that_returns_nan_is_reported_with_the_bar(command: Command, written: str) -> None:
    path = Path(f"{written}.py")
    path.write_text(path.read_text().replace("return signals\n", "return np.where(signals == 1, np.nan, 0.0)\n"))

    code, _, told = command("strategy", "check", f"{written}:STRATEGY")

    assert code == 2
    assert "signals must be int8" in told
    assert "NaN from bar" in told


def test_an_existing_file_is_not_overwritten(command: Command, written: str) -> None:
    code, _, told = command("strategy", "new", written)

    assert code == 2
    assert "exists already" in told


@pytest.mark.parametrize("name", ["My-Idea", "2nd", "Idea", "../up", ""])
def test_an_invalid_module_name_is_refused(command: Command, name: str) -> None:
    code, _, told = command("strategy", "new", name)

    assert code == 2
    assert "expected a name of lower-case letters" in told


def test_a_check_without_candles_prints_the_fetch_command(command: Command) -> None:
    code, _, told = command("strategy", "check", "sma_cross", "--dataset", "oanda/EUR-USD/H1")

    assert code == 4
    assert "tradeschool fetch" in told
