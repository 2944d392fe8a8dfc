"""Backtests of fixed parameters, as the command `backtest` and the Python API run them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optimizer.backtest.buy_and_hold import buy_and_hold
from optimizer.backtest.engine import run_strategy, warm_up_bars
from optimizer.backtest.result import DatasetBacktest, TradingRules
from optimizer.bars.lead_in import JudgedWindow, prepare_judged
from optimizer.level.costs import Costs
from optimizer.level.spec import Direction, Part
from optimizer.objective.break_even import TradingCosts, trading_costs
from optimizer.objective.sizing import WHOLE, sized
from optimizer.strategies.protocol import FloatParameter, Strategy, load, repaired
from optimizer.strategies.trade_management import TradeManagement
from optimizer.validation.winner_setup import BacktestSetup, WinnerSetup
from tradeschool.app.context import sealed_datasets
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timerange import parse_days, window_among
from tradeschool.markets.windows import Window, merge
from tradeschool.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRequest:
    """A strategy, its parameters, and the terms of trading, which are the same for every dataset."""

    strategy: str
    """Built-in name or module:NAME."""
    parameters: Mapping[str, float]
    """Every parameter that is not fixed; `repair` of the strategy is applied."""
    direction: Direction = Direction.BOTH
    costs: Costs = field(default_factory=Costs)
    position_fraction: float = 1.0
    size: float = WHOLE
    """Share of the account that is traded."""
    datasets: Sequence[str] = ()
    """Empty: the datasets of `setup`, else every sealed dataset."""
    timerange: str | None = None
    """None: the train windows of `setup`, else everything that is sealed. An open end is that of the sealed candles."""
    days: int | None = None
    """Number of days, before the last sealed one or of `timerange`."""
    setup: WinnerSetup | None = None
    """Setup of the run that found the parameters; it sets the minimum warm-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """A finished backtest."""

    strategy: Strategy
    setup: BacktestSetup
    tested: Sequence[DatasetBacktest]
    """One for each dataset and window."""

    @property
    def trading_costs(self) -> TradingCosts:
        """Charged and break-even costs of all datasets."""
        fixed_size = TradeManagement.of(self.setup.parameters).position_units > 0
        return trading_costs([each.run for each in self.tested], fixed_size=fixed_size)

    @property
    def title(self) -> str:
        """Strategy and direction, for charts."""
        return f"{self.setup.strategy}, {self.setup.direction}"


def adjusted_costs(costs: Costs, *, fee: float | None, slippage: float | None, financing: float | None) -> Costs:
    """Return the costs with the given rates, in bps and for both markets; None keeps a rate.

    Changed costs no longer carry the names of presets.
    """
    named = {"fee": fee, "slippage": slippage, "financing": financing}
    given = {name: value for name, value in named.items() if value is not None}
    changes = {f"{market}_{name}_bps": value for name, value in given.items() for market in ("crypto", "fx")}
    return costs.model_copy(update={**changes, "preset": ()}) if changes else costs


def typed_parameters(strategy: Strategy, parameters: Mapping[str, float]) -> dict[str, float]:
    """Convert whole numbers to int, except for float parameters."""
    floats = {parameter.name for parameter in strategy.parameters if isinstance(parameter, FloatParameter)}
    return {
        name: int(value) if name not in floats and float(value).is_integer() else value
        for name, value in parameters.items()
    }


def run_backtest(store: Store, request: BacktestRequest) -> Backtest:
    """Run a backtest on sealed candles.

    Raises:
        SettingsError: If the strategy, a parameter, a dataset or the time range is not valid.
        DataIncomplete: If a window is not sealed, or nothing is.
    """
    strategy = load(request.strategy)
    parameters = repaired(strategy, request.parameters)
    windows = _windows(store, request)
    warm_ups = [_warm_up(strategy, parameters, request.setup, dataset) for dataset, _ in windows]
    setup = BacktestSetup(
        strategy=request.strategy,
        direction=request.direction,
        parameters=parameters,
        position_fraction=request.position_fraction,
        size=request.size,
        costs=request.costs,
        windows=windows,
        warm_ups=warm_ups,
    )
    judged = [_judged(request.setup, *window) for window in windows]
    tested = [_backtest(strategy, setup, store, each, warm_up) for each, warm_up in zip(judged, warm_ups, strict=True)]
    return Backtest(strategy=strategy, setup=setup, tested=tested)


def _windows(store: Store, request: BacktestRequest) -> list[tuple[Dataset, Window]]:
    """Return the dataset windows to trade.

    Raises:
        DataIncomplete: If a window is not sealed, or nothing is.
    """
    setup = request.setup
    known = [each.source for each in setup.datasets] if setup else sealed_datasets(store)
    asked = parse_days(request.timerange, request.days)
    found = []
    for dataset in [find_dataset(name) for name in request.datasets] or list(dict.fromkeys(known)):
        sealed = merge([seal.window for seal in store.seals(dataset)])
        chosen = ([window_among(asked, sealed)] if asked else _train_windows(setup, dataset)) or sealed
        for window in chosen:
            store.require(dataset, window)
        found += [(dataset, window) for window in chosen]
    if not found:
        named = ", ".join(request.datasets) or "any dataset"
        raise DataIncomplete(f"{named}: no sealed candles in {store}; run: tradeschool fetch")
    return found


def _train_windows(setup: WinnerSetup | None, dataset: Dataset) -> list[Window]:
    """Return the run's train windows of a dataset; empty without a run."""
    return [window for source, window in setup.windows(Part.TRAIN) if source == dataset] if setup else []


def _warm_up(strategy: Strategy, parameters: dict[str, float], setup: WinnerSetup | None, dataset: Dataset) -> int:
    """Return the warm-up in bars: the run's, or more if these parameters need more."""
    needed = warm_up_bars(strategy, {name: (value, value) for name, value in parameters.items()}, dataset.timeframe)
    return max(needed, setup.warm_up(dataset) if setup else 0)


def _judged(setup: WinnerSetup | None, dataset: Dataset, window: Window) -> JudgedWindow:
    """Return the window; inside the range of the run it warms up on the bars before it, as the run's own parts do."""
    return setup.judged(dataset, window) if setup else JudgedWindow(source=dataset, window=window)


def _backtest(
    strategy: Strategy, setup: BacktestSetup, store: Store, judged: JudgedWindow, warm_up: int
) -> DatasetBacktest:
    prepared = prepare_judged(judged, warm_up, None, store.arrays)
    management = TradeManagement.of(setup.parameters)
    rules = TradingRules.of(setup.direction, setup.costs, setup.position_fraction, judged.source, management)
    run = run_strategy(strategy, prepared, setup.parameters, rules)
    (run,) = sized([run], setup.size)
    return DatasetBacktest(prepared=prepared, run=run, benchmark=buy_and_hold(prepared, 1, rules.rates))
