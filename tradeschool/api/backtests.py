"""Backtests with their trades, equity, metrics and chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from optimizer.backtest.trade_table import trade_table
from optimizer.level.costs import costs_of
from optimizer.level.spec import Direction
from optimizer.objective.break_even import TradingCosts
from optimizer.objective.metrics import figures
from optimizer.objective.portfolio import portfolio
from optimizer.strategies.protocol import CategoricalParameter, Strategy
from tradeschool.app.backtesting import Backtest, BacktestRequest, adjusted_costs, run_backtest, typed_parameters
from tradeschool.app.context import candles_of, read_settings
from tradeschool.app.search.strategy_isolation import load_here
from tradeschool.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as SVG; a notebook shows it."""

    svg: str

    def save(self, path: Path | str) -> None:
        """Write the SVG to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg


class BacktestResult:
    """Result of a backtest of one or several datasets, after costs."""

    def __init__(self, backtest: Backtest) -> None:
        self._backtest = backtest

    @property
    def parameters(self) -> dict[str, float]:
        """The parameters traded, with the strategy's defaults and repairs."""
        return dict(self._backtest.setup.parameters)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the equally weighted portfolio of all datasets; as in docs/explanation/backtest.md."""
        return dict(figures([each.run for each in self._backtest.tested]))

    @property
    def costs(self) -> TradingCosts:
        """Charged and break-even costs per side, in basis points; formulas as in docs/explanation/backtest.md."""
        return self._backtest.trading_costs

    @property
    def metrics_by_dataset(self) -> dict[str, dict[str, float]]:
        """Metrics of each dataset by its name; several windows of a dataset count as one."""
        names = dict.fromkeys(each.run.dataset.name for each in self._backtest.tested)
        runs = {name: [each.run for each in self._backtest.tested if each.run.dataset.name == name] for name in names}
        return {name: dict(figures(found)) for name, found in runs.items()}

    @property
    def buy_and_hold(self) -> dict[str, float]:
        """Metrics of the buy-and-hold benchmark on the same bars."""
        return dict(figures([each.benchmark for each in self._backtest.tested]))

    @property
    def trades(self) -> pl.DataFrame:
        """One row per trade: dataset, times and prices of entry and exit, side, units, fees, net and exit reason.

        Prices are in quote per base; fees and net are in the quote currency.
        """
        return pl.concat([trade_table(each.run, each.prepared) for each in self._backtest.tested])

    @property
    def equity(self) -> pl.DataFrame:
        """Portfolio at the end of each judged day (UTC): `day`, `equity`, `drawdown`, `buy_and_hold`; 1 at the start.

        `drawdown` is the fall of the day's low from the highest close so far, as a fraction of it.
        """
        traded = portfolio([each.run for each in self._backtest.tested])
        held = portfolio([each.benchmark for each in self._backtest.tested])
        return pl.DataFrame(
            {
                "day": pl.Series(traded.days.astype(np.int32)).cast(pl.Date),
                "equity": traded.equity,
                "drawdown": traded.drawdowns,
                "buy_and_hold": held.equity,
            }
        )

    def plot(self) -> Chart:
        """Return a chart: prices with entries and exits, equity with buy-and-hold, and drawdown."""
        from optimizer.report.backtest_page import draw  # matplotlib takes a second to import

        return Chart(draw(self._backtest.title, self._backtest.tested).decode())

    def __repr__(self) -> str:
        """Return the strategy and the main metrics in one line."""
        found = self.metrics
        return (
            f"<BacktestResult {self._backtest.title}: {found['trades']:,.0f} trades, "
            f"CAGR {found['cagr']:.2%}, Sharpe {found['sharpe']:.2f}, "
            f"maximum drawdown {found['max_drawdown']:.2%}>"
        )


def backtest(
    strategy: str,
    parameters: Mapping[str, float | str] | None = None,
    datasets: str | Sequence[str] = (),
    timerange: str | None = None,
    *,
    direction: str = "both",
    position_fraction: float = 1.0,
    costs: str | None = None,
    fee_bps: float | None = None,
    slippage_bps: float | None = None,
    financing_bps: float | None = None,
    config: Path | str | None = None,
) -> BacktestResult:
    """Backtest a strategy with fixed parameters on sealed candles, by the engine of the search.

    `strategy` is a built-in name or `module:NAME`. `parameters` overrides the strategy's defaults; a categorical
    parameter takes the name of its choice. `datasets` is a name or several, by default all sealed ones. `timerange`
    is by default everything that is sealed. `position_fraction` is notional over equity. `costs` names cost presets,
    such as `coinbase.taker.10k`, by default those of the settings. The other costs are in bps a side (financing: a
    night), by default those of the presets or of the market.

    Raises:
        SettingsError: If a name, a parameter or the time range is not valid.
        DataIncomplete: If candles are not sealed.
    """
    settings = read_settings(Path(config) if config is not None else None)
    own_costs = costs_of(costs or settings.costs)
    request = BacktestRequest(
        strategy=strategy,
        parameters=_complete(load_here(strategy, settings), parameters or {}),
        direction=_direction(direction),
        costs=adjusted_costs(own_costs, fee=fee_bps, slippage=slippage_bps, financing=financing_bps),
        position_fraction=position_fraction,
        datasets=[datasets] if isinstance(datasets, str) else datasets,
        timerange=timerange,
    )
    return BacktestResult(run_backtest(candles_of(settings), request))


def _direction(name: str) -> Direction:
    if name not in list(Direction):
        raise SettingsError(f"direction {name!r}: expected one of {', '.join(Direction)}")
    return Direction(name)


def _complete(strategy: Strategy, given: Mapping[str, float | str]) -> dict[str, float]:
    """Return all parameters that are not fixed, with the given values, else the defaults."""
    known = {parameter.name: parameter for parameter in strategy.parameters}
    values = {name: float(parameter.default) for name, parameter in known.items()}
    for name, value in given.items():
        if name not in known:
            raise SettingsError(f"parameter {name!r} of {strategy.name}: expected one of {', '.join(known)}")
        parameter = known[name]
        if isinstance(value, str):
            if not isinstance(parameter, CategoricalParameter) or value not in parameter.choices:
                choices = ", ".join(getattr(parameter, "choices", ())) or "a number"
                raise SettingsError(f"parameter {name} of {strategy.name}: expected {choices}, was {value!r}")
            values[name] = parameter.choices.index(value)
        else:
            values[name] = value
    return typed_parameters(strategy, values)
