"""`tradeschool backtest`: backtest a strategy with fixed parameters, with the same engine as the search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.result import TradingRules
from optimizer.bars.preparation import prepare
from optimizer.level.spec import Costs, Direction, Part
from optimizer.strategies.protocol import Strategy, load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.winner_setup import BacktestSetup, WinnerSetup
from tradeschool.app.context import candles_of, load_settings
from tradeschool.cli.options.parameters import ChosenParameters, parameter_options, parameters_of
from tradeschool.cli.strategies.backtest_comparison import compare
from tradeschool.cli.strategies.backtest_recorded_trial import TrialSelection, show_replayed_trial
from tradeschool.errors import DataIncomplete, SettingsError
from tradeschool.markets.catalogue import INSTRUMENTS, find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window, merge, parse_timerange
from tradeschool.store import Store
from tradeschool.views.backtest_result import DatasetBacktest, OutputFiles, as_object, show
from tradeschool.views.terminal import print_json, say

OF_A_RUN = ("level_name", "attempt", "part", "trial")
"""Options that select a trial of a run; they require --run."""
OUTPUTS = ("run_name", "trades_file", "plot_file", "as_json")
"""Options that are allowed together with --run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingTerms:
    """Direction, costs and position size; the same for every dataset."""

    direction: Direction
    costs: Costs
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOptions:
    """Command-line options for candles, direction and costs; None or empty for options that were not given."""

    datasets: Sequence[str]
    timerange: str | None
    direction: str | None
    fraction: float | None
    fee_bps: float | None
    slippage_bps: float | None
    financing_bps: float | None

    def terms(self, given: ChosenParameters) -> TradingTerms:
        """Return the options' values, else the parameter file's, else the defaults."""
        return TradingTerms(
            direction=Direction(self.direction or given.direction or Direction.BOTH.value),
            costs=self._costs(given.setup),
            fraction=self.fraction or (given.setup.position_fraction if given.setup else 1.0),
        )

    def _costs(self, setup: WinnerSetup | None) -> Costs:
        """Return the run's or the default costs, overridden for both markets by the options."""
        named = {"fee": self.fee_bps, "slippage": self.slippage_bps, "financing": self.financing_bps}
        given = {name: value for name, value in named.items() if value is not None}
        changes = {f"{market}_{name}_bps": value for name, value in given.items() for market in ("crypto", "fx")}
        return (setup.costs if setup else Costs()).model_copy(update=changes)

    def windows(self, store: Store, setup: WinnerSetup | None) -> list[tuple[Dataset, Window]]:
        """Return the dataset windows to trade.

        Without options, these are the train windows of the run, else everything that is sealed.

        Raises:
            DataIncomplete: If a window is not sealed, or nothing is.
        """
        known = [each.source for each in setup.datasets] if setup else _sealed(store)
        asked = [parse_timerange(self.timerange)] if self.timerange else None
        found = []
        for dataset in [find_dataset(name) for name in self.datasets] or list(dict.fromkeys(known)):
            chosen = asked or _own_windows(setup, dataset) or merge([seal.window for seal in store.seals(dataset)])
            for window in chosen:
                store.require(dataset, window)
            found += [(dataset, window) for window in chosen]
        if not found:
            named = ", ".join(self.datasets) or "any dataset"
            raise DataIncomplete(f"{named}: no sealed candles in {store.root}; run: tradeschool fetch")
        return found


@click.command()
@click.argument("strategy_name", metavar="[STRATEGY]", default=None, required=False)
@parameter_options
@click.option("--run", "run_name", help="Repeat a trial of this run with the run's own settings.")
@click.option("--level", "level_name", help="With --run: level of the trial. [default: the first]")
@click.option("--attempt", type=click.IntRange(1), help="With --run: attempt of the trial. [default: the latest]")
@click.option("--trial", type=click.IntRange(0), help="With --run: trial number. [default: the winner]")
@click.option(
    "--part",
    type=click.Choice([part.value for part in Part]),
    help="With --run: part of the data. Access to validation or test is logged. [default: train]",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="Dataset, for example coinbase/BTC-USD/M5; repeatable. [default: all sealed datasets]",
)
@click.option("--timerange", help="Time range, for example 20200101-20220101. [default: everything sealed]")
@click.option("--direction", type=click.Choice([each.value for each in Direction]), help="Sides to trade.")
@click.option(
    "--fraction", type=click.FloatRange(0, min_open=True), help="Position size: notional / equity. [default: 1]"
)
@click.option("--fee-bps", type=click.FloatRange(0), help="Fee per side, in bps of notional. [default: the market's]")
@click.option(
    "--slippage-bps", type=click.FloatRange(0), help="Slippage per side, in bps of price. [default: the market's]"
)
@click.option("--financing-bps", type=click.FloatRange(0), help="Financing per night, in bps of notional. [default: 0]")
@click.option("--trades", "trades_file", type=click.Path(path_type=Path), help="Write all trades: .parquet or .csv.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Write a chart: .svg or .html.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def backtest(
    strategy_name: str | None,
    parameter_file: Path | None,
    chosen: tuple[str, ...],
    run_name: str | None,
    trades_file: Path | None,
    plot_file: Path | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Backtest a strategy with fixed parameters.

    STRATEGY is a built-in name or module:NAME. Costs are applied by default.

    With --run, the command repeats a recorded trial: same bars, warm-up, costs and position sizes, therefore the
    same metrics.

    With --parameters best_params.json, options that are not given have the run's values; differences from the run
    are printed.
    """
    outputs = OutputFiles(trades=trades_file, plot=plot_file)
    outputs.check()
    _check_options(click.get_current_context(), run_name)
    selection = {name: options.pop(name) for name in OF_A_RUN}
    if run_name is not None:
        show_replayed_trial(_selected(run_name, **selection), outputs, as_json=as_json)
        return
    given = parameters_of(strategy_name, parameter_file, chosen)
    _trade(given, BacktestOptions(**options), outputs, as_json=as_json)


def _selected(
    run: str, *, level_name: str | None, attempt: int | None, part: str | None, trial: int | None
) -> TrialSelection:
    return TrialSelection(run=run, level=level_name, attempt=attempt, part=Part(part or Part.TRAIN), trial=trial)


def _trade(given: ChosenParameters, asked: BacktestOptions, outputs: OutputFiles, *, as_json: bool) -> None:
    strategy, setup, terms = load(given.strategy), given.setup, asked.terms(given)
    parameters = repaired(strategy, given.parameters)
    settings = load_settings()
    store = candles_of(settings)
    windows = asked.windows(store, setup)
    warm_ups = [_warm_up(strategy, parameters, setup, dataset) for dataset, _ in windows]
    traded = BacktestSetup(
        strategy=given.strategy,
        direction=terms.direction,
        parameters=parameters,
        position_fraction=terms.fraction,
        costs=terms.costs,
        windows=windows,
        warm_ups=warm_ups,
    )
    remarks = compare(settings, store, setup, traded) if setup else []
    tested = [
        _backtest(strategy, parameters, store, window, warm_up, terms)
        for window, warm_up in zip(windows, warm_ups, strict=True)
    ]
    outputs.write(f"{given.strategy}, {terms.direction}", tested)
    if as_json:
        head = {"strategy": given.strategy, "direction": terms.direction.value, "parameters": parameters}
        print_json({**head, **as_object(tested)})
    else:
        show(strategy, parameters, tested)
    for line in remarks:
        say(line)


def _check_options(ctx: click.Context, run_name: str | None) -> None:
    """Refuse options that exclude each other.

    Raises:
        SettingsError: If a trial is selected without --run, or --run is given with options that it replaces.
    """
    flags = {each.name: each.opts[0] for each in ctx.command.params}
    given = [name for name, value in ctx.params.items() if value not in (None, (), False)]
    if run_name is None and (lost := [flags[name] for name in given if name in OF_A_RUN]):
        raise SettingsError(f"{', '.join(lost)}: these options need a run; add --run RUN")
    if run_name is not None and (other := [flags[name] for name in given if name not in (*OF_A_RUN, *OUTPUTS)]):
        raise SettingsError(
            f"--run {run_name} cannot be combined with {', '.join(other)}: a repeated trial has the run's settings; "
            "use --parameters best_params.json instead of --run to change them"
        )


def _sealed(store: Store) -> list[Dataset]:
    every = [Dataset(instrument=instrument, timeframe=each) for instrument in INSTRUMENTS for each in Timeframe]
    return [each for each in every if store.seals(each)]


def _own_windows(setup: WinnerSetup | None, dataset: Dataset) -> list[Window]:
    """Return the run's train windows of a dataset; empty without a run."""
    return [window for source, window in setup.windows(Part.TRAIN) if source == dataset] if setup else []


def _warm_up(strategy: Strategy, parameters: dict[str, float], setup: WinnerSetup | None, dataset: Dataset) -> int:
    """Return the warm-up in bars: the run's, or more if these parameters need more."""
    needed = warm_up_bars(strategy, {name: (value, value) for name, value in parameters.items()}, dataset.timeframe)
    return max(needed, setup.warm_up(dataset) if setup else 0)


def _backtest(
    strategy: Strategy,
    parameters: dict[str, float],
    store: Store,
    what: tuple[Dataset, Window],
    warm_up: int,
    terms: TradingTerms,
) -> DatasetBacktest:
    dataset, window = what
    prepared = prepare(store.arrays(dataset, window), window, warm_up)
    rules = TradingRules.of(terms.direction, terms.costs, terms.fraction, dataset, TradeManagement.of(parameters))
    run = run_strategy(strategy, prepared, parameters, rules)
    return DatasetBacktest(prepared=prepared, run=run, benchmark=buy_and_hold(prepared, 1, rules.rates))
