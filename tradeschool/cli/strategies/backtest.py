"""`tradeschool backtest`: backtest a strategy with fixed parameters, with the same engine as the search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from optimizer.level.costs import costs_of
from optimizer.level.spec import Direction, Part
from optimizer.objective.sizing import WHOLE
from tradeschool.app.backtesting import BacktestRequest, adjusted_costs, run_backtest
from tradeschool.app.context import candles_of, load_settings
from tradeschool.cli.options.parameters import ChosenParameters, parameter_options, parameters_of
from tradeschool.cli.options.timerange import timerange_options
from tradeschool.cli.strategies.backtest_comparison import compare
from tradeschool.cli.strategies.backtest_recorded_trial import TrialSelection, show_replayed_trial
from tradeschool.errors import SettingsError
from tradeschool.views.backtest_result import OutputFiles, as_object, costs_as_json, show, show_costs, show_size
from tradeschool.views.terminal import print_json, say

OF_A_RUN = ("level_name", "attempt", "part", "trial")
"""Options that select a trial of a run; they require --run."""
OUTPUTS = ("run_name", "trades_file", "plot_file", "as_json")
"""Options that are allowed together with --run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOptions:
    """Command-line options for candles, direction and costs; None or empty for options that were not given."""

    datasets: Sequence[str]
    timerange: str | None
    days: int | None
    direction: str | None
    fraction: float | None
    size: float | None
    fee_bps: float | None
    slippage_bps: float | None
    financing_bps: float | None
    presets: str | None

    def request(self, given: ChosenParameters, default_costs: str) -> BacktestRequest:
        """Return the options' values, else the parameter file's, else the defaults."""
        own = given.setup.costs if given.setup and not self.presets else costs_of(self.presets or default_costs)
        return BacktestRequest(
            strategy=given.strategy,
            parameters=given.parameters,
            direction=Direction(self.direction or given.direction or Direction.BOTH.value),
            costs=adjusted_costs(
                own,
                fee=self.fee_bps,
                slippage=self.slippage_bps,
                financing=self.financing_bps,
            ),
            position_fraction=self.fraction or (given.setup.position_fraction if given.setup else 1.0),
            size=self.size or (given.setup.size if given.setup else WHOLE),
            datasets=self.datasets,
            timerange=self.timerange,
            days=self.days,
            setup=given.setup,
        )


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
@timerange_options("everything sealed")
@click.option("--direction", type=click.Choice([each.value for each in Direction]), help="Sides to trade.")
@click.option(
    "--fraction", type=click.FloatRange(0, min_open=True), help="Position size: notional / equity. [default: 1]"
)
@click.option(
    "--size",
    type=click.FloatRange(0, min_open=True),
    help="Share of the account that is traded, restored daily. [default: the run's, else 1]",
)
@click.option(
    "--costs",
    "presets",
    help="Cost presets, for example coinbase.taker.10k,oanda.spread (see: tradeschool costs list). [default: settings]",
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
    settings = load_settings()
    store = candles_of(settings)
    found = run_backtest(store, asked.request(given, settings.costs))
    remarks = compare(settings, store, given.setup, found.setup) if given.setup else []
    outputs.write(found.title, found.tested)
    if as_json:
        head = {
            "strategy": found.setup.strategy,
            "direction": found.setup.direction.value,
            "size": found.setup.size,
        }
        costs = costs_as_json(found.setup.costs, found.trading_costs)
        print_json({**head, "parameters": found.setup.parameters, **as_object(found.tested), "costs": costs})
    else:
        show(found.strategy, found.setup.parameters, found.tested)
        show_size(found.setup.size, given.setup.leverage if given.setup else None)
        show_costs(found.setup.costs, found.trading_costs)
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
