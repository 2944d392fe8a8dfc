"""Plots of an account: monthly returns, trade results, walk-forward windows, and the power of the evidence."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.stats import norm

from optimizer.report.plots.style import AMBER, BLUE, GREEN, GREY, INK, RED, SIZE, SOFT, styled, svg
from optimizer.validation.checks.skill import SOME, STRONG

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
YEAR = "year"
PART_COLOURS = {"train": BLUE, "validation": AMBER, "test": GREEN, "holdout": RED}
BINS = 40
DAYS_A_YEAR = 365
SHARPES = np.linspace(0.0, 4.0, 81)
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def monthly_returns(days: Sequence[int], parts: Sequence[str], equity: Sequence[float]) -> dict[tuple[int, int], float]:
    """Return the compounded return of each calendar month; each part starts at 1."""
    found: dict[tuple[int, int], float] = {}
    before = [1.0, *(old if part == last else 1.0 for old, (last, part) in zip(equity, pairwise(parts), strict=False))]
    for day, start, end in zip(days, before, equity, strict=True):
        when = date.fromordinal(day + EPOCH_ORDINAL)
        growth = end / start if start > 0 else 0.0
        found[when.year, when.month] = (1 + found.get((when.year, when.month), 0.0)) * growth - 1
    return found


@styled()
def draw_monthly(returns: Mapping[tuple[int, int], float], title: str) -> bytes:
    """Plot a table of monthly returns: green gains, red losses, and the year's return."""
    years = sorted({year for year, _ in returns}, reverse=True)
    figure = Figure(figsize=(SIZE[0], 0.75 + 0.36 * len(years)), layout="constrained")
    axes = figure.subplots()
    largest = max((abs(value) for value in returns.values()), default=0.0) or 1.0
    for row, year in enumerate(years):
        mine = {month: returns[year, month] for month in range(1, 13) if (year, month) in returns}
        for month, value in mine.items():
            strength = 0.08 + 0.6 * abs(value) / largest
            colour = GREEN if value >= 0 else RED
            axes.add_patch(Rectangle((month - 1, row), 0.96, 0.92, color=colour, alpha=strength, linewidth=0))
            axes.text(month - 0.52, row + 0.46, f"{100 * value:.1f}", ha="center", va="center", color=INK)
        whole = math.prod(1 + value for value in mine.values()) - 1
        axes.text(12.72, row + 0.46, f"{100 * whole:.1f}", ha="center", va="center", color=INK, weight="bold")
    axes.set_xticks([*(month + 0.48 for month in range(12)), 12.72], [*MONTHS, YEAR])
    axes.set_yticks([row + 0.46 for row in range(len(years))], [str(year) for year in years])
    axes.set(xlim=(0, 13.3), ylim=(len(years), 0), title=f"{title}, %")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return svg(figure)


@styled()
def draw_trades(trades: Mapping[str, Sequence[float]]) -> bytes:
    """Plot the distribution of the trades' net results, by part; `trades`: fractions of the starting account."""
    figure = Figure(figsize=(SIZE[0], 3.4), layout="constrained")
    axes = figure.subplots()
    columns = {part: 100 * np.array(found) for part, found in trades.items() if len(found)}
    both = np.concatenate([*columns.values()])
    low, high = np.quantile(both, (0.005, 0.995))
    edges = np.linspace(min(low, 0.0), max(high, low + 1e-9), BINS + 1)
    for part, column in columns.items():
        share = np.full(len(column), 100 / len(column))
        inside = np.clip(column, edges[0], edges[-1])
        won = 100 * float(np.mean(column > 0))
        name = f"{part}: {len(column):,} trades, {won:.0f} % with a profit, mean {column.mean():+.3f} %"
        colour = PART_COLOURS.get(part, GREY)
        axes.hist(inside, bins=list(edges), weights=share, histtype="stepfilled", color=colour, alpha=0.28)
        axes.hist(inside, bins=list(edges), weights=share, histtype="step", color=colour, linewidth=1.3, label=name)
        axes.axvline(float(column.mean()), color=colour, linewidth=1.2, linestyle="--")
    axes.axvline(0.0, color=SOFT, linewidth=0.8)
    axes.set(
        title="Distribution of trade results (dashed: mean)",
        xlabel="net result of a trade, % of the starting account; the end bars hold the lowest and highest 0.5 %",
        ylabel="share of trades, %",
    )
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=1)
    return svg(figure)


@styled()
def draw_windows(windows: Sequence[Mapping[str, Any]]) -> bytes:
    """Plot the Sharpe ratio of each walk-forward window's choice: where it was searched, and out of sample."""
    figure = Figure(figsize=(SIZE[0], 3.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(windows), dtype=np.float64)
    for shift, key, colour, name in (
        (-0.2, "train", GREY, "days of its search (in sample)"),
        (0.2, "validation", BLUE, "out of sample"),
    ):
        values = np.array([_sharpe(each, key) for each in windows], dtype=np.float64)
        bars = axes.bar(places + shift, np.nan_to_num(values), width=0.38, color=colour, label=name)
        axes.bar_label(bars, ["" if math.isnan(value) else f"{value:.2f}" for value in values], padding=2, color=INK)
    for place, each in zip(places, windows, strict=True):
        if each.get("trial") is None:
            axes.text(place, 0.05, "cash", ha="center", va="bottom", color=SOFT)
    axes.axhline(0.0, color=SOFT, linewidth=0.8)
    axes.margins(y=0.14)
    names = [f"{each['window']}\n{each['first_day']}\nto {each['end']}" for each in windows]
    axes.set_xticks(places, names)
    axes.set(title="Walk-forward windows", ylabel="Sharpe ratio, annualised")
    figure.legend(loc="outside lower center", ncols=2)
    return svg(figure)


@styled()
def draw_power(days: int, sharpe: float | None) -> bytes:
    """Plot the probability of evidence against the true Sharpe ratio of alpha, for the days seen and for more."""
    figure = Figure(figsize=(SIZE[0], 3.4), layout="constrained")
    axes = figure.subplots()
    years = days / DAYS_A_YEAR
    for factor, line in ((1, "-"), (4, ":")):
        for bound, colour, strength in ((SOME, BLUE, "some"), (STRONG, AMBER, "strong")):
            name = f"{strength} evidence (p <= {bound:g}), {_span(days * factor)}"
            axes.plot(SHARPES, 100 * power(SHARPES, years * factor, bound), line, color=colour, label=name)
    axes.axhline(80, color=SOFT, linewidth=0.8, linestyle="--")
    axes.text(SHARPES[0], 81, "80 %", ha="left", va="bottom", color=SOFT)
    if sharpe is not None and SHARPES[0] <= sharpe <= SHARPES[-1]:
        axes.axvline(sharpe, color=SOFT, linewidth=1, label=f"out of sample: {sharpe:.2f}")
    axes.set(
        title="Power: how often skill of a given size would show out of sample",
        xlabel="true Sharpe ratio of alpha, a year",
        ylabel="probability of evidence, %",
        ylim=(0, 103),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


def power(sharpes: NDArray[np.float64], years: float, bound: float) -> NDArray[np.float64]:
    """Return the probability that a one-sided test at `bound` rejects, for normal returns without autocorrelation.

    The t-statistic over T years of an annual Sharpe ratio S is about normal with mean S sqrt(T) and variance 1.
    """
    found: NDArray[np.float64] = norm.sf(norm.isf(bound) - sharpes * math.sqrt(years))
    return found


def _span(days: int) -> str:
    """Return a number of days in words: years from one year on."""
    return f"{days:,} days" if days < DAYS_A_YEAR else f"{days / DAYS_A_YEAR:.1f} years"


def _sharpe(window: Mapping[str, Any], key: str) -> float:
    value = (window.get(key) or {}).get("sharpe")
    return float(value) if isinstance(value, int | float) else math.nan
