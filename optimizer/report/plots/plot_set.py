"""The plots of a report by name, from its JSON alone; the page shows them and `--svg` writes them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from optimizer.report.plots.account import draw_monthly, draw_power, draw_trades, draw_windows, monthly_returns
from optimizer.report.plots.curves import draw_account
from optimizer.report.plots.search import (
    draw_contour,
    draw_importance,
    draw_parallel,
    draw_slices,
    has_contour,
    is_plottable,
)


class Plot(NamedTuple):
    """One plot."""

    name: str
    title: str
    """What it shows, for readers who do not see it."""
    svg: bytes


def report_plots(report: Mapping[str, Any]) -> Iterator[Plot]:
    """Yield every plot of a report; names are unique and can be file names."""
    for level in report["levels"]:
        for plot in (*account_plots(level), *search_plots(level)):
            yield Plot(f"level-{level['level']}-{plot.name}", plot.title, plot.svg)
    yield from evidence_plots(report)


def account_plots(level: Mapping[str, Any]) -> Iterator[Plot]:
    """Yield the plots of a level's winner: equity, monthly returns, windows and trades; none without a winner."""
    equity, name = level.get("equity"), f"level {level['level']}"
    if equity:
        told = (
            "the winner before the first window, then all windows out of sample"
            if level.get("windows")
            else ("the winner on " + ", ".join(dict.fromkeys(equity["part"])))
        )
        yield Plot(
            "equity", f"Equity and drawdown of {name}", draw_account(f"L{name[1:]}: {told}, after costs", equity)
        )
        returns = monthly_returns(equity["days"], equity["part"], equity["equity"])
        yield Plot("monthly", f"Monthly returns of {name}", draw_monthly(returns, "Monthly returns after costs"))
    if level.get("windows"):
        yield Plot("windows", f"Walk-forward windows of {name}", draw_windows(level["windows"]["windows"]))
    if any((level.get("trades") or {}).values()):
        yield Plot("trades", f"Distribution of the trade results of {name}", draw_trades(level["trades"]))


def search_plots(level: Mapping[str, Any]) -> Iterator[Plot]:
    """Yield the plots of a level's search; none with too few complete trials."""
    found, name = level.get("search"), f"level {level['level']}"
    if not is_plottable(found):
        return
    assert found is not None
    if found["importance"]:
        yield Plot("importance", f"Parameter importance of {name}", draw_importance(found))
    yield Plot("slices", f"Slices of {name}", draw_slices(found))
    if has_contour(found):
        yield Plot("contour", f"Contour of {name}", draw_contour(found))
    yield Plot("parallel", f"Parallel coordinates of {name}", draw_parallel(found))


def evidence_plots(report: Mapping[str, Any]) -> Iterator[Plot]:
    """Yield the equity of the holdout period and the power of the evidence."""
    look = (report.get("evidence") or {}).get("holdout")
    if look and look.get("equity"):
        drawn = draw_account("Holdout period, after costs", look, benchmark=look["benchmark"])
        yield Plot("holdout", "Equity and drawdown in the holdout period", drawn)
    seen = ((report["recommendation"].get("skill")) or {}).get("out_of_sample")
    if seen and seen["days"] > 1:
        yield Plot("power", "Power of the evidence of skill", draw_power(seen["days"], seen["sharpe"]))
