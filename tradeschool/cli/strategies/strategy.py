"""`tradeschool strategy`: list built-in strategies, create new ones, check them for look-ahead."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.lookahead_check import (
    LookAheadLeak,
    Signals,
    is_repeatable,
    look_ahead,
    short_warm_up,
    signals_of,
)
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import Prepared, prepare
from optimizer.bars.random_walk import random_walk
from optimizer.bars.slicing import head
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction
from optimizer.strategies.protocol import BarStrategy, CategoricalParameter, Parameter, load, repaired
from optimizer.strategies.registry import built_in_names
from optimizer.strategies.trade_management import TradeManagement
from tradeschool.app.context import candles_of, load_settings
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.parameters import parameter_options, parameters_of
from tradeschool.cli.options.timerange import chosen_range, timerange_options
from tradeschool.cli.strategies.strategy_publish import publish
from tradeschool.cli.strategies.strategy_template import write_strategy
from tradeschool.errors import DataIncomplete, TradeschoolError
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timerange import TimeRange, parse_timerange, window_among
from tradeschool.views.terminal import console, print_json, say

SAMPLE = "coinbase/BTC-USD/M5"
SAMPLE_WINDOW = parse_timerange("20210101-20210401")
SEED = 1
MAX_BARS_ASKED = 3_000
"""Most bars on which a decision engine is checked: the check evaluates it dozens of times."""


@click.group()
def strategy() -> None:
    """List, create, check and publish strategies."""


strategy.add_command(publish)


@strategy.command(name="list")
@json_option
def list_strategies(*, as_json: bool) -> None:
    """List the built-in strategies and their parameters."""
    found = [load(name) for name in built_in_names()]
    if as_json:
        print_json([{"name": each.name, "parameters": [_as_object(one) for one in each.parameters]} for each in found])
        return
    for each in found:
        table = Table("parameter", "from", "to", "default", "search range", "meaning", title=each.name)
        for one in each.parameters:
            low, high = one.search or (one.low, one.high)
            searched = "if a level enables it" if one.fixed else f"{low:g}..{high:g}"
            table.add_row(one.name, f"{one.low:g}", f"{one.high:g}", f"{one.default:g}", searched, one.meaning)
        console().print(table)


@strategy.command()
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="Target folder. [default: current folder]"
)
def new(name: str, folder: Path) -> None:
    """Write a strategy template and its tests.

    The template is NAME.py. Existing files are not overwritten.
    """
    module, tests = write_strategy(name, folder)
    say(f"written: {module} and {tests}")
    say(f"try it:  cd {folder}; tradeschool strategy check {name}:STRATEGY; tradeschool backtest {name}:STRATEGY")


@strategy.command()
@click.argument("strategy_name", metavar="STRATEGY")
@parameter_options
@click.option("--dataset", "dataset_name", help="Dataset to check on. [default: synthetic candles]")
@timerange_options("the first sealed range")
@click.option(
    "--direction",
    type=click.Choice([each.value for each in Direction]),
    default="both",
    show_default=True,
    help="Sides to trade.",
)
@json_option
def check(
    strategy_name: str,
    parameter_file: Path | None,
    chosen: tuple[str, ...],
    dataset_name: str | None,
    timerange: str | None,
    days: int | None,
    direction: str,
    *,
    as_json: bool,
) -> None:
    """Check a strategy for look-ahead and other errors.

    STRATEGY is a built-in name or module:NAME. The command checks for look-ahead, an insufficient warm-up, and signals
    that are not repeatable. Exit code 1: there is a finding.
    """
    given = parameters_of(strategy_name, parameter_file, chosen)
    checked = load(given.strategy)
    parameters = repaired(checked, given.parameters)
    dataset = find_dataset(dataset_name or SAMPLE)
    asked = chosen_range(timerange, days)
    warm_up = warm_up_bars(checked, {name: (value, value) for name, value in parameters.items()}, dataset.timeframe)
    prepared = _candles(dataset, dataset_name is not None, asked, warm_up)
    if isinstance(checked, BarStrategy):
        prepared = head(prepared, min(len(prepared), warm_up + MAX_BARS_ASKED))
    signals = signals_of(checked, parameters, Direction(direction))
    findings = _findings(signals, prepared, None if isinstance(checked, BarStrategy) else warm_up)
    rules = TradingRules.of(Direction(direction), Costs(), 1.0, dataset, TradeManagement.of(parameters))
    trades = len(run_strategy(checked, prepared, parameters, rules).trades)
    if as_json:
        print_json({"strategy": given.strategy, "bars": len(prepared), "trades": trades, "findings": findings})
    else:
        console().print(f"{given.strategy} on {len(prepared):,} bars of {dataset}: {trades:,} trades", highlight=False)
        console().print("\n".join(findings) or "no findings: no look-ahead, sufficient warm-up, repeatable signals")
    if findings:
        raise TradeschoolError(
            f"strategy {given.strategy} failed: {', '.join(each.split(':')[0] for each in findings)}"
        )


def _candles(dataset: Dataset, is_named: bool, asked: TimeRange | None, warm_up: int) -> Prepared:
    if not is_named:
        chosen = window_among(asked, [SAMPLE_WINDOW]) if asked else SAMPLE_WINDOW
        return prepare(random_walk(dataset, chosen, SEED), chosen, warm_up)
    store = candles_of(load_settings())
    sealed = [seal.window for seal in store.seals(dataset)]
    if not sealed and not asked:
        raise DataIncomplete(f"{dataset}: no sealed candles in {store}; run: tradeschool fetch")
    chosen = window_among(asked, sealed) if asked else sealed[0]
    store.require(dataset, chosen)
    return prepare(store.arrays(dataset, chosen), chosen, warm_up)


def _findings(signals: Signals, prepared: Prepared, warm_up: int | None) -> list[str]:
    """Return the findings of the checks.

    Without `warm_up` the signals come from a decision engine, which may use its position and earlier decisions.
    """
    found = []
    if not is_repeatable(signals, prepared):
        return ["not repeatable: the same candles gave different signals; look-ahead cannot be checked"]
    if leak := look_ahead(signals, prepared, SEED, is_asked=warm_up is None):
        columns = f"column {', '.join(leak.columns)}" if leak.columns else "the number of future bars"
        found.append(
            f"look-ahead: {_leak_text(leak, prepared)} without the bars from {leak.cut} on; the strategy uses {columns}"
        )
    if warm_up is not None and (leak := short_warm_up(signals, prepared, warm_up, SEED)):
        found.append(
            f"warm-up: {_leak_text(leak, prepared)} without the bars before {leak.cut}; "
            f"a warm-up of {warm_up} bars is too short"
        )
    return found


def _leak_text(leak: LookAheadLeak, prepared: Prepared) -> str:
    opened = datetime.fromtimestamp(int(prepared.time[leak.bar]), UTC)
    return f"the signal at bar {leak.bar} ({opened:%Y-%m-%d %H:%M} UTC) is {leak.signal}, but {leak.without}"


def _as_object(parameter: Parameter) -> dict[str, object]:
    described: dict[str, object] = {
        "name": parameter.name,
        "low": parameter.low,
        "high": parameter.high,
        "default": parameter.default,
        "fixed": parameter.fixed,
        "search": None if parameter.fixed else [*(parameter.search or (parameter.low, parameter.high))],
        "meaning": parameter.meaning,
    }
    return described | ({"choices": list(parameter.choices)} if isinstance(parameter, CategoricalParameter) else {})
