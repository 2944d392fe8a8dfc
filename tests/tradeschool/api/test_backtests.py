"""Tests of `tradeschool.backtest`: the figures of the command, as frames and a chart."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import tradeschool
from tradeschool.errors import SettingsError

BTC, EUR = "coinbase/BTC-USD/M5", "oanda/EUR-USD/H1"
PARAMETERS = {"fast": 7, "slow": 30}
SIDES = """
from dataclasses import dataclass
import numpy as np
from optimizer.strategies.protocol import CategoricalParameter

@dataclass(frozen=True)
class Sides:
    name: str = "sides"
    parameters: tuple = (CategoricalParameter(name="side", choices=("up", "down"), default=0, meaning="Side."),)

    def warm_up(self, bounds, timeframe):
        return 1

    def repair(self, parameters):
        return dict(parameters)

    def signals(self, candles, parameters, direction):
        found = np.zeros(len(candles), dtype=np.int8)
        found[5] = -1 if parameters["side"] else 1
        return found

SIDES = Sides()
"""
"""A strategy with one categorical parameter: one long or short trade."""


@pytest.fixture(autouse=True)
def sealed(seal_random_walk) -> None:
    seal_random_walk(BTC, "20210104-20210115")
    seal_random_walk(EUR, "20210104-20210131")


@pytest.fixture
def command_result(command: Callable[..., tuple[int, str, str]]) -> Callable[..., dict]:
    """The JSON of `tradeschool backtest` with these parameters."""

    def run(*options: str) -> dict:
        return json.loads(command("backtest", "-p", "fast=7", "-p", "slow=30", *options, "--json")[1])

    return run


def test_metrics_are_those_of_the_command(command_result: Callable[..., dict]) -> None:
    found = tradeschool.backtest("sma_cross", PARAMETERS)
    told = command_result()

    assert found.parameters == told["parameters"]
    assert found.metrics == {name: told["metrics"][name] for name in found.metrics}
    assert found.buy_and_hold == {name: told["buy_and_hold"][name] for name in found.buy_and_hold}
    assert list(found.metrics_by_dataset) == [BTC, EUR]
    assert found.metrics_by_dataset[EUR]["trades"] == told["datasets"][1]["trades"]


def test_options_are_those_of_the_command(command_result: Callable[..., dict]) -> None:
    found = tradeschool.backtest(
        *("sma_cross", PARAMETERS, BTC, "20210105-20210112"), direction="long", position_fraction=0.5, fee_bps=1
    )
    told = command_result(
        *("--dataset", BTC, "--timerange", "20210105-20210112"),
        *("--direction", "long", "--fraction", "0.5", "--fee-bps", "1"),
    )
    assert found.metrics == {name: told["metrics"][name] for name in found.metrics}


def test_trades_and_equity_agree_with_the_metrics() -> None:
    found = tradeschool.backtest("sma_cross", PARAMETERS, BTC)
    trades, equity = found.trades, found.equity

    assert len(trades) == found.metrics["trades"]
    assert 10_000 + trades["net"].sum() == pytest.approx(10_000 * equity["equity"][-1])
    assert (equity["day"].dtype, len(equity)) == (pl.Date, found.metrics["days"])
    assert equity["drawdown"].max() == pytest.approx(found.metrics["max_drawdown_intrabar"])


def test_a_chart_is_shown_and_saved(tmp_path) -> None:
    chart = tradeschool.backtest("sma_cross", PARAMETERS, BTC).plot()
    chart.save(tmp_path / "chart.svg")

    assert "<svg" in chart._repr_svg_()
    assert (tmp_path / "chart.svg").read_text() == chart.svg


def test_a_categorical_parameter_takes_the_name_of_its_choice() -> None:
    Path("sides.py").write_text(SIDES)

    by_name = tradeschool.backtest("sides:SIDES", {"side": "down"}, BTC)

    assert by_name.parameters == {"side": 1}
    assert set(by_name.trades["side"]) == {"short"}
    with pytest.raises(SettingsError, match="parameter side of sides: expected up, down, was 'left'"):
        tradeschool.backtest("sides:SIDES", {"side": "left"}, BTC)


@pytest.mark.parametrize(
    ("strategy", "parameters", "options", "told"),
    [
        ("sma_cros", {}, {}, "unknown strategy 'sma_cros'"),
        ("sma_cross", {"fst": 3}, {}, "parameter 'fst' of sma_cross: expected one of fast, slow"),
        ("sma_cross", {"fast": "ten"}, {}, "parameter fast of sma_cross: expected a number, was 'ten'"),
        ("sma_cross", {}, {"direction": "up"}, "direction 'up': expected one of"),
        ("sma_cross", {}, {"datasets": "coinbase/BTC-USD/M7"}, "M7"),
    ],
)
def test_invalid_input_is_one_line(strategy: str, parameters: dict, options: dict, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        tradeschool.backtest(strategy, parameters, **options)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_result_shows_its_main_figures() -> None:
    found = tradeschool.backtest("sma_cross", PARAMETERS, BTC)
    assert repr(found).startswith(f"<BacktestResult sma_cross, both: {found.metrics['trades']:.0f} trades, CAGR")
