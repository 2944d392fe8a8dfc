"""`tradeschool backtest`: one strategy, one set of parameters, chosen datasets, by the search's own engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import polars as pl
from rich.table import Table

from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.hold import hold
from optimizer.backtest.prepare import Prepared, prepare
from optimizer.backtest.run import Rules, Run
from optimizer.backtest.trades import trade_table
from optimizer.evaluation import finite_or_none
from optimizer.level import Costs, Direction
from optimizer.management import Management
from optimizer.metrics import summarise
from optimizer.strategy import Strategy, load, repaired
from tradeschool.cli.context import candles_of, console, load_settings, print_json, say
from tradeschool.cli.parameters import parameter_options, parameters_of
from tradeschool.errors import DataIncomplete, SettingsError, StoreUnwritable
from tradeschool.market import INSTRUMENTS, Dataset, Timeframe, Window, find_dataset, merge, parse_timerange
from tradeschool.store import Store

TRADE_FORMATS = (".parquet", ".csv")
PLOT_FORMATS = (".svg", ".html")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One dataset and what came of it."""

    prepared: Prepared
    run: Run
    held: Run
    """Bought and held instead."""


@click.command()
@click.argument("strategy_name", metavar="[STRATEGY]", default=None, required=False)
@parameter_options
@click.option("--dataset", "datasets", multiple=True, help="Such as coinbase/BTC-USD/M5; all that are sealed if none.")
@click.option("--timerange", help="Such as 20200101-20220101; all that is sealed when not given.")
@click.option("--direction", type=click.Choice([each.value for each in Direction]), help="Long, short or both sides.")
@click.option("--fraction", type=click.FloatRange(0, min_open=True), default=1.0, help="Notional over equity.")
@click.option("--fee-bps", type=click.FloatRange(0), help="Of the notional, a side; instead of the market's own.")
@click.option("--slippage-bps", type=click.FloatRange(0), help="Of the price, a side; instead of the market's own.")
@click.option("--financing-bps", type=click.FloatRange(0), help="Of the notional, a night; none when not given.")
@click.option("--trades", "trades_file", type=click.Path(path_type=Path), help="Write each trade: .parquet or .csv.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw it: .svg or .html.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def backtest(
    strategy_name: str | None,
    parameter_file: Path | None,
    chosen: tuple[str, ...],
    datasets: tuple[str, ...],
    timerange: str | None,
    direction: str | None,
    fraction: float,
    fee_bps: float | None,
    slippage_bps: float | None,
    financing_bps: float | None,
    trades_file: Path | None,
    plot_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Trade STRATEGY (a name, or module:NAME) with one set of parameters; costs are on unless you say otherwise."""
    _check_ending("--trades", trades_file, TRADE_FORMATS)
    _check_ending("--plot", plot_file, PLOT_FORMATS)
    given = parameters_of(strategy_name, parameter_file, chosen)
    strategy = load(given.strategy)
    parameters = repaired(strategy, given.parameters)
    side = Direction(direction or given.direction or Direction.BOTH.value)
    costs = _costs(fee_bps, slippage_bps, financing_bps)
    store = candles_of(load_settings())
    tested = [
        _test(strategy, parameters, store, dataset, window, (side, costs, fraction))
        for dataset, window in _windows(store, datasets, timerange)
    ]
    if trades_file:
        _write_trades(tested, trades_file)
    if plot_file:
        _draw(f"{given.strategy}, {side}", tested, plot_file)
    if as_json:
        print_json(_as_object(given.strategy, side, parameters, tested))
    else:
        _show(strategy, parameters, tested)


def _check_ending(option: str, path: Path | None, endings: Sequence[str]) -> None:
    if path and path.suffix not in endings:
        raise SettingsError(f"{option} {path}: expected a name that ends in {' or '.join(endings)}")


def _costs(fee: float | None, slippage: float | None, financing: float | None) -> Costs:
    """The default costs, with what was given in their place for both markets."""
    named = {"fee": fee, "slippage": slippage, "financing": financing}
    given = {name: value for name, value in named.items() if value is not None}
    return Costs(**{f"{market}_{name}_bps": value for name, value in given.items() for market in ("crypto", "fx")})


def _windows(store: Store, names: Sequence[str], timerange: str | None) -> list[tuple[Dataset, Window]]:
    every = [Dataset(instrument=instrument, timeframe=each) for instrument in INSTRUMENTS for each in Timeframe]
    datasets = [find_dataset(name) for name in names] or [each for each in every if store.seals(each)]
    asked = parse_timerange(timerange) if timerange else None
    found = []
    for dataset in datasets:
        sealed = [asked] if asked else merge([seal.window for seal in store.seals(dataset)])
        for window in sealed:
            store.require(dataset, window)
        found += [(dataset, window) for window in sealed]
    if not found:
        named = ", ".join(names) or "any dataset"
        raise DataIncomplete(f"nothing of {named} is sealed in {store.root}; run: tradeschool fetch")
    return found


def _test(
    strategy: Strategy,
    parameters: dict[str, float],
    store: Store,
    dataset: Dataset,
    window: Window,
    terms: tuple[Direction, Costs, float],
) -> Tested:
    bounds = {name: (value, value) for name, value in parameters.items()}
    warm_up = warm_up_bars(strategy, bounds, dataset.timeframe)
    prepared = prepare(store.arrays(dataset, window), window, warm_up)
    rules = Rules.of(*terms, dataset, Management.of(parameters))
    run = run_strategy(strategy, prepared, parameters, rules)
    return Tested(prepared=prepared, run=run, held=hold(prepared, 1, rules.rates))


def _as_object(name: str, side: Direction, parameters: dict[str, float], tested: list[Tested]) -> dict[str, object]:
    return {
        "strategy": name,
        "direction": side.value,
        "parameters": parameters,
        "datasets": [
            {"dataset": each.run.dataset.name, "window": each.prepared.window.name, **_metrics([each.run])}
            for each in tested
        ],
        "metrics": _metrics([each.run for each in tested]),
        "buy_and_hold": _metrics([each.held for each in tested]),
    }


def _metrics(runs: list[Run]) -> dict[str, object]:
    """By the names of `METRICS`; null where there is no finite number, `infinite` names those without bound."""
    figures = summarise(runs)
    infinite = sorted(name for name, value in figures.items() if value == float("inf"))
    return {name: finite_or_none(value) for name, value in figures.items()} | {"infinite": infinite}


def _show(strategy: Strategy, parameters: dict[str, float], tested: list[Tested]) -> None:
    quiet = {each.name for each in strategy.parameters if each.fixed and parameters[each.name] == each.default}
    chosen = ", ".join(f"{each} {value:g}" for each, value in parameters.items() if each not in quiet)
    console().print(f"{strategy.name}: {chosen}", soft_wrap=True, highlight=False)
    columns = {each.run.dataset.name + f"\n{each.prepared.window}": summarise([each.run]) for each in tested}
    if len(tested) > 1:
        columns["together"] = summarise([each.run for each in tested])
    columns["buy and hold"] = summarise([each.held for each in tested])
    table = Table("", *columns)
    for metric in next(iter(columns.values())):
        table.add_row(metric, *(_readable(figures[metric]) for figures in columns.values()))
    console().print(table)


def _readable(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _write_trades(tested: list[Tested], path: Path) -> None:
    table = pl.concat([trade_table(each.run, each.prepared) for each in tested])
    try:
        if path.suffix == ".csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror or error}") from error
    say(f"{table.height:,} trades in {path}")


def _draw(title: str, tested: list[Tested], path: Path) -> None:
    from optimizer.report.trading import Drawn, draw, page  # matplotlib takes a second to import

    drawn = [Drawn(prepared=each.prepared, run=each.run, held=each.held) for each in tested]
    picture = draw(title, drawn)
    content = page(title, picture, summarise([each.run for each in tested])) if path.suffix == ".html" else picture
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror or error}") from error
    say(f"drawn in {path}")
