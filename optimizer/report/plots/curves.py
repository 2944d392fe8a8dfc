"""Plots of a run as SVG, with matplotlib."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from optimizer.level.spec import Part
from optimizer.objective.portfolio import Portfolio
from optimizer.report.plots.style import AMBER, BLUE, GREEN, GREY, RED, SIZE, SOFT, styled, svg
from optimizer.report.windows_file import window_starts
from optimizer.search.pareto import pareto_front
from optimizer.search.trials import is_feasible
from optimizer.validation.analyses.regimes import TREND_DAYS, Trend, trends
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.labels import label

LOWEST = 1e-12
"""Equity below which a return is taken from this value, so that it is finite."""
SHADED_DAYS = 5
"""Shortest trend that is shaded."""
COLOURS = {Part.TRAIN: BLUE, Part.VALIDATION: AMBER, Part.TEST: GREEN}


@styled()
def draw_equity(accounts: Mapping[Part, Portfolio], borders: Sequence[int] = ()) -> bytes:
    """Plot equity and intrabar drawdown of each part; each part starts at 1. `borders`: first days of windows."""
    figure = Figure(figsize=SIZE, layout="constrained")
    equity, drawdown = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for part, account in accounts.items():
        drawdowns = -100 * account.drawdowns
        for number, run in enumerate(_neighbours(account.days)):
            days, colour = account.days[run].astype("datetime64[D]"), COLOURS[part]
            label = part if number == 0 else None
            equity.plot(days, account.equity[run], ".-", markersize=2, linewidth=1, color=colour, label=label)
            drawdown.fill_between(days, drawdowns[run], step="mid", color=colour, alpha=0.6)
    _mark_windows((equity, drawdown), borders)
    equity.axhline(1.0, color=SOFT, linewidth=0.8)
    equity.set(title="Winner's equity, after costs", ylabel="equity, start of each part = 1")
    equity.legend()
    drawdown.set(ylabel="drawdown, %")
    _date_axis(drawdown)
    return svg(figure)


@styled()
def draw_account(title: str, found: Mapping[str, Any], benchmark: str = "buy and hold") -> bytes:
    """Plot daily equity, benchmark and drawdown, with the benchmark's trend as shading.

    `found`: the columns of `equity.json`. Lines break between parts and over days that are not judged; dashed lines
    mark the first day of each walk-forward window.
    """
    days = np.array(found["days"], dtype=np.int64)
    equity, held, drawdown = (
        np.array(found[name], dtype=np.float64) for name in ("equity", "buy_and_hold", "drawdown")
    )
    parts = [str(part) for part in found.get("part") or [HOLDOUT] * len(days)]
    figure = Figure(figsize=SIZE, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    shades = _shade_trend(above, days, _moves(held, parts))
    moved = np.flatnonzero((np.diff(days) != 1) | _starts(parts)) + 1
    for number, run in enumerate(np.split(np.arange(len(days)), moved)):
        shown = days[run].astype("datetime64[D]")
        above.plot(shown, held[run], color=GREY, linewidth=1, label=benchmark if number == 0 else None)
        above.plot(shown, equity[run], color=BLUE, linewidth=1.4, label="winner" if number == 0 else None)
        below.fill_between(shown, -100 * drawdown[run], step="mid", color=RED, alpha=0.6, linewidth=0)
    borders = window_starts(days.tolist(), found.get("window") or ())
    _mark_windows((above, below), borders)
    above.axhline(1.0, color=SOFT, linewidth=0.6)
    above.set(title=title, ylabel="equity, start of each part = 1")
    below.set(ylabel="drawdown, %")
    _date_axis(below)
    marks = (
        [Line2D([], [], color=SOFT, linestyle="--", linewidth=0.8, label="first day of a window")] if borders else []
    )
    lines, _ = above.get_legend_handles_labels()
    figure.legend(handles=[*lines, *marks, *shades], loc="outside lower center", ncols=6)
    return svg(figure)


def _starts(parts: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each day after the first one begins a part."""
    return np.array([one != other for one, other in pairwise(parts)], dtype=bool)


def _moves(equity: NDArray[np.float64], parts: Sequence[str]) -> NDArray[np.float64]:
    """Return the daily log returns after the first day; the first day of each part starts from 1."""
    before = np.where(_starts(parts), 1.0, equity[:-1])
    moves: NDArray[np.float64] = np.log(np.maximum(equity[1:], LOWEST) / np.maximum(before, LOWEST))
    return moves


def _shade_trend(axes: Axes, days: NDArray[np.int64], moves: NDArray[np.float64]) -> list[Patch]:
    """Shade bull and bear markets of at least `SHADED_DAYS`; return the legend's entries."""
    found = trends(moves)
    entries = []
    for trend, colour in ((Trend.BULL, GREEN), (Trend.BEAR, RED)):
        places = np.array([place for place, each in enumerate(found) if each is trend], dtype=np.int64)
        runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
        shaded = [run for run in runs if len(run) >= SHADED_DAYS]
        for run in shaded:
            first, last = (days[place].astype("datetime64[D]") for place in (run[0], run[-1]))
            axes.axvspan(first, last + np.timedelta64(1, "D"), color=colour, alpha=0.13, linewidth=0)
        if shaded:
            entries.append(Patch(color=colour, alpha=0.25, label=f"{trend} market ({TREND_DAYS} days)"))
    return entries


def _date_axis(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


@styled()
def draw_search(trials: Sequence[FrozenTrial], objectives: Sequence[str] = ("sharpe",)) -> bytes:
    """Plot each trial's value on train and the best feasible value so far; one panel per objective."""
    figure = Figure(figsize=SIZE, layout="constrained")
    panels = figure.subplots(len(objectives), 1, sharex=True, squeeze=False)[:, 0]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    pruned = [trial.number for trial in trials if trial.state is TrialState.PRUNED]
    for place, (axes, name) in enumerate(zip(panels, objectives, strict=True)):
        feasible = {trial.number: trial.values[place] for trial in complete if is_feasible(trial)}
        others = {trial.number: trial.values[place] for trial in complete if not is_feasible(trial)}
        axes.plot(list(others), list(others.values()), ".", color=GREY, label="infeasible")
        axes.plot(list(feasible), list(feasible.values()), "o", color=BLUE, label="feasible")
        if feasible:
            best = np.maximum.accumulate(list(feasible.values()))
            axes.step(list(feasible), best, where="post", color=RED, label="best feasible so far")
        axes.plot(pruned, [0.0] * len(pruned), "|", color=RED, transform=axes.get_xaxis_transform(), label="pruned")
        axes.set(ylabel="Sharpe ratio, annualised" if name == "sharpe" else label(name))
    panels[0].set(title="Optimization history on train")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    panels[-1].set(xlabel="trial")
    return svg(figure)


@styled()
def draw_front(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> bytes:
    """Plot the Pareto front on train among the feasible trials, for each pair of neighbouring objectives."""
    figure = Figure(figsize=SIZE, layout="constrained")
    feasible = [trial for trial in trials if trial.state is TrialState.COMPLETE and is_feasible(trial)]
    front = pareto_front(trials)
    for place, axes in enumerate(figure.subplots(1, len(objectives) - 1, squeeze=False)[0]):
        for shown, mark, colour, name in ((feasible, ".", GREY, "feasible"), (front, "o", BLUE, "Pareto front")):
            across, up = ([trial.values[place + each] for trial in shown] for each in (0, 1))
            axes.plot(across, up, mark, color=colour, label=name)
        axes.set(xlabel=label(objectives[place]), ylabel=label(objectives[place + 1]))
        axes.legend()
    return svg(figure)


def _mark_windows(panels: Sequence[Axes], borders: Sequence[int]) -> None:
    """Mark the first day of each window of a walk-forward."""
    for axes in panels:
        for day in borders:
            axes.axvline(np.datetime64(day, "D"), color=GREY, linewidth=0.8, linestyle="--")  # type: ignore[arg-type]  # matplotlib takes dates


def _neighbours(days: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Group indices of consecutive days, so that lines break over days that are not judged."""
    return np.split(np.arange(len(days)), np.flatnonzero(np.diff(days) != 1) + 1)
