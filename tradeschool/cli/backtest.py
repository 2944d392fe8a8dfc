"""`tradeschool backtest`: one strategy, one set of parameters, chosen datasets, by the search's own engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.hold import hold
from optimizer.backtest.prepare import prepare
from optimizer.backtest.run import Rules
from optimizer.level import Costs, Direction, Part
from optimizer.management import Management
from optimizer.setup import Setup, Traded
from optimizer.strategy import Strategy, load, repaired
from tradeschool.cli.compared import compare
from tradeschool.cli.context import candles_of, load_settings, print_json, say
from tradeschool.cli.parameters import Given, parameter_options, parameters_of
from tradeschool.cli.retraded import Wanted, trade_again
from tradeschool.cli.tested import Outputs, Tested, as_object, show
from tradeschool.errors import DataIncomplete, SettingsError
from tradeschool.market import INSTRUMENTS, Dataset, Timeframe, Window, find_dataset, merge, parse_timerange
from tradeschool.store import Store

OF_A_RUN = ("level_name", "attempt", "part", "trial")
"""What says which trial of a run; nothing without one."""
OUTPUTS = ("run_name", "trades_file", "plot_file", "as_json")
"""What may be said beside those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How every dataset is traded."""

    direction: Direction
    costs: Costs
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the options say of candles and terms; None and empty where they say nothing."""

    datasets: Sequence[str]
    timerange: str | None
    direction: str | None
    fraction: float | None
    fee_bps: float | None
    slippage_bps: float | None
    financing_bps: float | None

    def terms(self, given: Given) -> Terms:
        """As asked, else as the file has it, else the default ones."""
        return Terms(
            direction=Direction(self.direction or given.direction or Direction.BOTH.value),
            costs=self._costs(given.setup),
            fraction=self.fraction or (given.setup.position_fraction if given.setup else 1.0),
        )

    def _costs(self, setup: Setup | None) -> Costs:
        """The run's costs, or the default ones, with what was given in their place for both markets."""
        named = {"fee": self.fee_bps, "slippage": self.slippage_bps, "financing": self.financing_bps}
        given = {name: value for name, value in named.items() if value is not None}
        changes = {f"{market}_{name}_bps": value for name, value in given.items() for market in ("crypto", "fx")}
        return (setup.costs if setup else Costs()).model_copy(update=changes)

    def windows(self, store: Store, setup: Setup | None) -> list[tuple[Dataset, Window]]:
        """What is traded: where nothing is said of it, the run's datasets and train days, else all that is sealed."""
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
            raise DataIncomplete(f"nothing of {named} is sealed in {store.root}; run: tradeschool fetch")
        return found


@click.command()
@click.argument("strategy_name", metavar="[STRATEGY]", default=None, required=False)
@parameter_options
@click.option("--run", "run_name", help="Trade a trial of this run again, as the run did; it says all the rest.")
@click.option("--level", "level_name", help="Of the run: of this level; the first when not given.")
@click.option("--attempt", type=click.IntRange(1), help="Of the run: of this attempt; the latest when not given.")
@click.option("--trial", type=click.IntRange(0), help="Of the run: this trial; the winner when not given.")
@click.option(
    "--part",
    type=click.Choice([part.value for part in Part]),
    help="Of the run: on this part, train when not given; a look at validation or test is logged.",
)
@click.option("--dataset", "datasets", multiple=True, help="Such as coinbase/BTC-USD/M5; all that are sealed if none.")
@click.option("--timerange", help="Such as 20200101-20220101; all that is sealed when not given.")
@click.option("--direction", type=click.Choice([each.value for each in Direction]), help="Long, short or both sides.")
@click.option("--fraction", type=click.FloatRange(0, min_open=True), help="Notional over equity; 1 when not given.")
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
    run_name: str | None,
    level_name: str | None,
    attempt: int | None,
    trial: int | None,
    part: str | None,
    trades_file: Path | None,
    plot_file: Path | None,
    *,
    as_json: bool,
    **asked: object,
) -> None:
    """Trade STRATEGY (a name, or module:NAME) with one set of parameters; costs are on unless you say otherwise.

    With --run, trade a trial of a run again: same bars, warm-up, costs and sizes, and so the same figures.
    With --parameters best_params.json, what no option says is as the run had it, and what differs is said.
    """
    outputs = Outputs(trades=trades_file, plot=plot_file)
    outputs.check()
    _check_options(click.get_current_context(), run_name)
    if run_name is not None:
        wanted = Wanted(run=run_name, level=level_name, attempt=attempt, part=Part(part or Part.TRAIN), trial=trial)
        trade_again(wanted, outputs, as_json=as_json)
        return
    given = parameters_of(strategy_name, parameter_file, chosen)
    _trade(given, Asked(**asked), outputs, as_json=as_json)  # type: ignore[arg-type]  # click has checked them


def _trade(given: Given, asked: Asked, outputs: Outputs, *, as_json: bool) -> None:
    strategy, setup, terms = load(given.strategy), given.setup, asked.terms(given)
    parameters = repaired(strategy, given.parameters)
    settings = load_settings()
    store = candles_of(settings)
    windows = asked.windows(store, setup)
    warm_ups = [_warm_up(strategy, parameters, setup, dataset) for dataset, _ in windows]
    traded = Traded(
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
        _test(strategy, parameters, store, window, warm_up, terms)
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
    """Refuse options that mean nothing together."""
    flags = {each.name: each.opts[0] for each in ctx.command.params}
    given = [name for name, value in ctx.params.items() if value not in (None, (), False)]
    if run_name is None and (lost := [flags[name] for name in given if name in OF_A_RUN]):
        raise SettingsError(f"{', '.join(lost)}: of which run? name it: --run RUN")
    if run_name is not None and (other := [flags[name] for name in given if name not in (*OF_A_RUN, *OUTPUTS)]):
        raise SettingsError(
            f"--run {run_name}: the run says how its trials are traded: leave out {', '.join(other)}, or take "
            "--parameters best_params.json in place of --run"
        )


def _sealed(store: Store) -> list[Dataset]:
    every = [Dataset(instrument=instrument, timeframe=each) for instrument in INSTRUMENTS for each in Timeframe]
    return [each for each in every if store.seals(each)]


def _own_windows(setup: Setup | None, dataset: Dataset) -> list[Window]:
    """The train days of a dataset of the run."""
    return [window for source, window in setup.windows(Part.TRAIN) if source == dataset] if setup else []


def _warm_up(strategy: Strategy, parameters: dict[str, float], setup: Setup | None, dataset: Dataset) -> int:
    """As many bars as the run took, or more where these parameters need them."""
    needed = warm_up_bars(strategy, {name: (value, value) for name, value in parameters.items()}, dataset.timeframe)
    return max(needed, setup.warm_up(dataset) if setup else 0)


def _test(
    strategy: Strategy,
    parameters: dict[str, float],
    store: Store,
    what: tuple[Dataset, Window],
    warm_up: int,
    terms: Terms,
) -> Tested:
    dataset, window = what
    prepared = prepare(store.arrays(dataset, window), window, warm_up)
    rules = Rules.of(terms.direction, terms.costs, terms.fraction, dataset, Management.of(parameters))
    run = run_strategy(strategy, prepared, parameters, rules)
    return Tested(prepared=prepared, run=run, held=hold(prepared, 1, rules.rates))
