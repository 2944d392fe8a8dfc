"""Backtest chart: prices with entries and exits, equity with buy-and-hold, and drawdown."""

import html
import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimizer.backtest.result import DatasetBacktest
from optimizer.objective.portfolio import Portfolio, portfolio
from optimizer.report.plots.style import BLUE, GREEN, GREY, RED, styled

DOTS_AN_INCH = 200
WIDTH, PRICE_HEIGHT, ACCOUNT_HEIGHT = 10.0, 2.8, 4.2  # inches
MAX_PICTURES = 6
"""Maximum number of datasets with a price panel; the equity panel includes all."""
COLUMNS = 1_500
"""Number of horizontal price segments, about the visible resolution."""
MANY = 400
"""Number of trades from which markers are rasterised, to limit the file size."""


@styled()
def draw(title: str, drawn: Sequence[DatasetBacktest]) -> bytes:
    """Render an SVG: one price panel per dataset, then the portfolio's equity and drawdown."""
    shown = drawn[:MAX_PICTURES]
    heights = [*[PRICE_HEIGHT] * len(shown), ACCOUNT_HEIGHT * 2 / 3, ACCOUNT_HEIGHT / 3]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, height_ratios=heights)
    for axes, each in zip(panels, shown, strict=False):
        _draw_prices(axes, each)
    _draw_account(
        panels[-2], panels[-1], portfolio([each.run for each in drawn]), portfolio([each.benchmark for each in drawn])
    )
    left_out = f" (prices of {len(shown)} of {len(drawn)} datasets)" if len(shown) < len(drawn) else ""
    figure.suptitle(f"{title}, after costs{left_out}")
    return _svg(figure)


def page(title: str, picture: bytes, figures: Mapping[str, float]) -> bytes:
    """Render the chart and the metrics as one self-contained HTML file."""
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{value:.6g}</td></tr>" for name, value in figures.items())
    drawing = picture[picture.index(b"<svg") :].decode()
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:14px system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "svg{width:100%;height:auto}th{text-align:left;padding-right:2rem;font-weight:normal}"
        "td{text-align:right;font-variant-numeric:tabular-nums}</style>"
        f"<h1>{html.escape(title)}</h1>{drawing}<table>{rows}</table></html>\n"
    ).encode()


def _draw_prices(axes: Axes, drawn: DatasetBacktest) -> None:
    prepared, tick = drawn.prepared, drawn.prepared.dataset.instrument.tick
    starts = np.unique(np.linspace(0, len(prepared) - 1, min(COLUMNS, len(prepared))).astype(int))
    time = prepared.time.astype("datetime64[s]")
    lows, highs = np.minimum.reduceat(prepared.low, starts), np.maximum.reduceat(prepared.high, starts)
    axes.fill_between(time[starts], lows * tick, highs * tick, color=GREY, linewidth=0.6)
    trades = drawn.run.trades
    many = len(trades) > MANY
    for side, marker, name in ((1, "^", "long"), (-1, "v", "short")):
        mine = trades[trades["side"] == side]
        entered, left = time[mine["entry_bar"]], time[mine["exit_bar"]]
        size = 2 if many else 5
        axes.plot(
            entered,
            mine["entry_price"] * tick,
            marker,
            color=BLUE,
            markersize=size,
            label=f"{name} entry",
            rasterized=many,
        )
        for won, colour in ((True, GREEN), (False, RED)):
            chosen = (mine["net"] > 0) == won
            axes.plot(
                left[chosen], mine["exit_price"][chosen] * tick, "x", color=colour, markersize=size, rasterized=many
            )
    axes.axvspan(time[0], time[prepared.first_evaluated], color=GREY, alpha=0.2, linewidth=0)
    axes.set(ylabel=prepared.dataset.instrument.quote)
    axes.set_title(
        f"{prepared.dataset}: {len(trades):,} trades (x: exit, green with a profit, red with a loss)", loc="left"
    )
    axes.legend(frameon=False, loc="upper left")


def _draw_account(equity: Axes, drawdown: Axes, account: Portfolio, passive: Portfolio) -> None:
    days = account.days.astype("datetime64[D]")
    equity.plot(days, account.equity, color=BLUE, linewidth=1.2, label="strategy")
    equity.plot(passive.days.astype("datetime64[D]"), passive.equity, color=GREY, linewidth=1.0, label="buy and hold")
    equity.axhline(1.0, color=GREY, linewidth=0.6)
    equity.set(ylabel="start = 1")
    equity.set_title("Portfolio, equally weighted datasets", loc="left")
    equity.legend(frameon=False)
    drawdown.fill_between(days, -100 * account.drawdowns, step="mid", color=RED, alpha=0.6, linewidth=0)
    drawdown.set(ylabel="drawdown, %")
    drawdown.sharex(equity)


def _svg(figure: Figure) -> bytes:
    """Render without date and with fixed ids, so that equal plots give equal files."""
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tradeschool", "font.size": 9}):
        figure.savefig(content, format="svg", dpi=DOTS_AN_INCH, metadata={"Date": None})
    return content.getvalue()
