"""Output of a backtest: a table, JSON, a trade file, or a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from rich.table import Column, Table

from optimizer.backtest.result import DatasetBacktest
from optimizer.backtest.trade_table import trade_table
from optimizer.level.costs import Costs
from optimizer.level.metric_names import COUNTS
from optimizer.objective.break_even import TradingCosts
from optimizer.objective.metrics import figures
from optimizer.objective.sizing import WHOLE
from optimizer.objective.trial_result import finite_or_none
from optimizer.strategies.protocol import Strategy
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.views.terminal import console, say

TRADE_FORMATS = (".parquet", ".csv")
PLOT_FORMATS = (".svg", ".html")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFiles:
    """Optional output files of a backtest."""

    trades: Path | None
    plot: Path | None

    def check(self) -> None:
        """Check the file formats before the backtest starts.

        Raises:
            SettingsError: If a file name has an unsupported suffix.
        """
        _check_ending("--trades", self.trades, TRADE_FORMATS)
        _check_ending("--plot", self.plot, PLOT_FORMATS)

    def write(self, title: str, tested: Sequence[DatasetBacktest]) -> None:
        """Write the requested files.

        Raises:
            StoreUnwritable: If a file cannot be written.
        """
        if self.trades:
            _write_trades(tested, self.trades)
        if self.plot:
            _draw(title, tested, self.plot)


def as_object(tested: Sequence[DatasetBacktest]) -> dict[str, object]:
    """Return the metrics per dataset, of the portfolio of all datasets, and of buy-and-hold, for JSON."""
    return {
        "datasets": [
            {
                "dataset": each.run.dataset.name,
                "window": each.prepared.window.name,
                "warm_up_bars": each.prepared.first_evaluated,
                **figures_as_json(figures([each.run])),
            }
            for each in tested
        ],
        "metrics": figures_as_json(figures([each.run for each in tested])),
        "buy_and_hold": figures_as_json(figures([each.benchmark for each in tested])),
    }


def figures_as_json(found: Mapping[str, float]) -> dict[str, object]:
    """Return metrics by the names of `METRICS`; non-finite ones are None, and `infinite` lists the infinite ones."""
    infinite = sorted(name for name, value in found.items() if value == float("inf"))
    return {name: finite_or_none(value) for name, value in found.items()} | {"infinite": infinite}


def show(strategy: Strategy, parameters: Mapping[str, float], tested: Sequence[DatasetBacktest]) -> None:
    """Print the parameters, and a table with one column of metrics per dataset."""
    quiet = {each.name for each in strategy.parameters if each.fixed and parameters[each.name] == each.default}
    chosen = ", ".join(f"{each} {value:g}" for each, value in parameters.items() if each not in quiet)
    console().print(f"{strategy.name}: {chosen}", soft_wrap=True, highlight=False)
    columns = {each.run.dataset.name + f"\n{each.prepared.window}": figures([each.run]) for each in tested}
    if len(tested) > 1:
        columns["portfolio"] = figures([each.run for each in tested])
    columns["buy and hold"] = figures([each.benchmark for each in tested])
    table = Table(Column("metric", no_wrap=True), *columns)
    for metric in next(iter(columns.values())):
        table.add_row(metric, *(_readable(metric, found[metric]) for found in columns.values()))
    console().print(table)


def costs_as_json(costs: Costs, charged: TradingCosts) -> dict[str, object]:
    """Return presets and rates, and the charged and the break-even costs per side, in basis points."""
    return {"preset": list(costs.preset), "rates": costs.rates, **asdict(charged)}


def show_size(size: float, leverage: float | None) -> None:
    """Print the share of the account that is traded, if it is not the whole account."""
    if size != WHOLE or leverage is not None:
        console().print(size_line(size, leverage), soft_wrap=True, highlight=False)


def size_line(size: float, leverage: float | None) -> str:
    """Return size and leverage in words, such as `size 0.231 of the account, leverage up to 0.231`."""
    limit = f", leverage up to {leverage:.4g}" if leverage is not None else ""
    return f"size {size:.4g} of the account{limit}"


def show_costs(costs: Costs, charged: TradingCosts) -> None:
    """Print the presets and the break-even costs."""
    console().print(f"costs: {costs.sentence}", soft_wrap=True, highlight=False)
    console().print(f"break-even cost: {charged.sentence}", soft_wrap=True, highlight=False)


def _readable(metric: str, value: float) -> str:
    return f"{value:,.0f}" if metric in COUNTS else f"{value:.4f}"


def _check_ending(option: str, path: Path | None, endings: Sequence[str]) -> None:
    if path and path.suffix not in endings:
        raise SettingsError(f"{option} {path}: expected a file name that ends in {' or '.join(endings)}")


def _write_trades(tested: Sequence[DatasetBacktest], path: Path) -> None:
    table = pl.concat([trade_table(each.run, each.prepared) for each in tested])
    try:
        if path.suffix == ".csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror or error}") from error
    say(f"{table.height:,} trades written to {path}")


def _draw(title: str, tested: Sequence[DatasetBacktest], path: Path) -> None:
    from optimizer.report.backtest_page import draw, page  # matplotlib takes a second to import

    picture = draw(title, tested)
    content = page(title, picture, figures([each.run for each in tested])) if path.suffix == ".html" else picture
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StoreUnwritable(f"cannot write {path}: {error.strerror or error}") from error
    say(f"chart written to {path}")
