"""Tests of `tradeschool backtest` over sealed candles."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import prepare
from optimizer.bars.random_walk import random_walk
from optimizer.level.costs import Costs
from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Direction
from optimizer.objective.metrics import summarise
from optimizer.strategies.protocol import completed, load
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.timerange import parse_timerange

BTC, EUR = "coinbase/BTC-USD/M5", "oanda/EUR-USD/H1"
TIMERANGE = "20210104-20210115"
WINDOW = parse_timerange(TIMERANGE)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sealed(seal_random_walk: Callable[..., object]) -> None:
    """Seal eleven days of a synthetic market."""
    seal_random_walk(BTC, TIMERANGE)


def test_backtest_uses_the_engine_of_the_search(command: Command, sealed: None) -> None:
    parameters = completed(load("sma_cross"), {"fast": 7, "slow": 30})
    dataset = find_dataset(BTC)
    bounds = {name: (value, value) for name, value in parameters.items()}
    prepared = prepare(
        random_walk(dataset, WINDOW, seed=5), WINDOW, warm_up_bars(load("sma_cross"), bounds, dataset.timeframe)
    )
    rules = TradingRules.of(Direction.LONG, Costs(), 1.0, dataset, TradeManagement.of(parameters))
    expected = summarise([run_strategy(load("sma_cross"), prepared, parameters, rules)])

    code, out, _ = command("backtest", "-p", "fast=7", "-p", "slow=30", "--direction", "long", "--json")
    told = json.loads(out)

    assert code == 0
    assert tuple(told["metrics"]) == (*METRICS, "infinite")
    assert {name: told["metrics"][name] for name in METRICS} == pytest.approx(expected)
    assert told["datasets"][0]["dataset"] == BTC
    assert told["buy_and_hold"]["trades"] == 1


def test_best_params_set_strategy_and_direction(command: Command, sealed: None) -> None:
    file = Path("best_params.json")
    content = {"strategy": "donchian_breakout", "direction": "short", "parameters": {"channel": 30}}
    file.write_text(json.dumps(content))

    told = json.loads(command("backtest", "--parameters", str(file), "--json")[1])

    assert (told["strategy"], told["direction"], told["parameters"]["channel"]) == ("donchian_breakout", "short", 30)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("run", "../../elsewhere", "run: String should match pattern"),
        ("attempt", 0, "attempt: Input should be greater than or equal to 1"),
        ("datasets", [], "datasets: Tuple should have at least 1 item"),
        ("datasets.train", "20230205-20230101", "is empty"),
        ("datasets.dataset", "nobody/BTC-USD/M5", "did you mean coinbase:BTC/USD"),
        ("datasets.end", "2022-01-01", "must come before end"),
        ("datasets.warm_up_bars", -1, "greater than or equal to 0"),
    ],
)
def test_an_invalid_best_params_file_is_one_line(command: Command, field: str, value: object, told: str) -> None:
    days = {"train": "20230101-20230205", "validation": "20230206-20230217", "test": "20230218-20230301"}
    dataset = {"dataset": BTC, "warm_up_bars": 9, **days, "candles": "d", "start": "2023-01-01", "end": "2023-03-01"}
    given: dict[str, object] = {"run": "r1", "level": "1", "attempt": 1, "trial": 3, "strategy": "sma_cross"}
    given |= {"direction": "both", "parameters": {"fast": 3}, "position_fraction": 1.0, "costs": {}, "code": "c"}
    given |= {"datasets": [dataset]}
    outer, _, inner = field.partition(".")
    Path("best_params.json").write_text(json.dumps(given | {outer: [dataset | {inner: value}] if inner else value}))

    code, _, said = command("backtest", "--parameters", "best_params.json")

    assert code == 2
    assert told in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_trades_are_written_with_times_and_prices(command: Command, sealed: None, ending: str) -> None:
    code, out, _ = command("backtest", "-p", "fast=5", "-p", "slow=20", "--trades", f"trades.{ending}", "--json")
    table = pl.read_parquet("trades.parquet") if ending == "parquet" else pl.read_csv("trades.csv")

    assert code == 0
    assert table.height == json.loads(out)["metrics"]["trades"] > 10
    assert table.columns[:6] == ["dataset", "entry_time", "entry_price", "exit_time", "exit_price", "side"]
    assert set(table["side"]) == {"long", "short"}
    assert set(table["reason"]) <= {"stop", "target", "signal", "end"}


@pytest.mark.parametrize(("name", "start"), [("picture.svg", b"<?xml"), ("picture.html", b"<!doctype html>")])
def test_a_chart_is_written_without_external_resources(command: Command, sealed: None, name: str, start: bytes) -> None:
    code, _, told = command("backtest", "--plot", name)
    content = Path(name).read_bytes()

    assert code == 0
    assert "chart written to" in told
    assert content.startswith(start)
    assert b"<script" not in content
    assert b"src=" not in content


def test_given_costs_override_market_costs(command: Command, sealed: None) -> None:
    chosen = ("backtest", "-p", "fast=5", "-p", "slow=20", "--json")
    usual, free, dear = (
        json.loads(command(*chosen, *flags)[1])["metrics"]["cagr"]
        for flags in ((), ("--fee-bps", "0", "--slippage-bps", "0"), ("--financing-bps", "50"))
    )

    assert dear < usual < free


def test_a_table_is_printed_on_a_terminal(command: Command, sealed: None) -> None:
    code, out, _ = command("backtest", "rsi_reversion", "-p", "period=5", "-p", "max_bars=30")

    assert code == 0
    assert "rsi_reversion: period 5, oversold 30, overbought 70" in out
    assert "max_bars 30" in out
    assert "buy and hold" in out
    assert "hour_length" not in out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing"], 2, "unknown strategy 'nothing': expected one of band_reversion"),
        (["-p", "speed=3"], 2, "expected name=value, the name one of fast, slow"),
        (["-p", "fast"], 2, "expected name=value"),
        (["-p", "fast=many"], 2, "expected a number, was 'many'"),
        (["-p", "fast=500"], 2, "fast: expected 2..100, was 500"),
        (["-p", "fast=nan"], 2, "fast: expected a number, was nan"),
        (["--parameters", "gone.json"], 2, "gone.json: not readable as JSON"),
        (["--trades", "trades.txt"], 2, "expected a file name that ends in .parquet or .csv"),
        (["--plot", "picture.gif"], 2, "expected a file name that ends in .svg or .html"),
        (["--timerange", "20200101-20200201"], 4, "is not sealed"),
        (["--dataset", EUR], 4, "oanda/EUR-USD/H1: no sealed candles in"),
        (["--timerange", "20210104-20210105", "-p", "slow=250", "-p", "trend=1"], 4, "but the warm-up takes"),
        (["--trades", "gone/trades.csv"], 1, "cannot write gone/trades.csv"),
        (["--plot", "gone/picture.svg"], 1, "cannot write gone/picture.svg"),
    ],
)
def test_bad_input_is_a_one_line_error(
    command: Command, sealed: None, words: list[str], code: int, message: str
) -> None:
    ended, _, told = command("backtest", *words)

    assert ended == code
    assert message in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "expected an object, was list"),
        ('{"fast": "five"}', "fast: expected a number, was 'five'"),
        ('{"parameters": 3}', "parameters: expected an object, was 3"),
        ('{"parameters": {}, "direction": "up"}', "direction: expected long, short, both, was 'up'"),
    ],
)
def test_a_file_without_parameters_is_refused(command: Command, content: str, message: str) -> None:
    Path("wrong.json").write_text(content)

    code, _, told = command("backtest", "--parameters", "wrong.json")

    assert code == 2
    assert message in told
