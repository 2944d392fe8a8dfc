"""Plots of a run as SVG, with matplotlib."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from optimizer.level.spec import Part
from optimizer.objective.portfolio import Portfolio
from optimizer.search.pareto import pareto_front
from optimizer.search.trials import is_feasible
from optimizer.validation.labels import label

SIZE = (9.0, 5.0)  # inches
BLUE, GREY, RED = "#2b6cb0", "#a0aec0", "#c53030"
COLOURS = {Part.TRAIN: BLUE, Part.VALIDATION: "#b7791f", Part.TEST: "#2f855a"}


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
    equity.axhline(1.0, color=GREY, linewidth=0.8)
    equity.set(title="Winner's equity, after costs", ylabel="start of each part = 1")
    equity.legend(frameon=False)
    drawdown.set(ylabel="drawdown, %")
    return _svg(figure)


def draw_equity_curve(
    title: str,
    days: NDArray[np.int64],
    parts: Sequence[str],
    *,
    equity: NDArray[np.float64],
    buy_and_hold: NDArray[np.float64],
    drawdown: NDArray[np.float64],
    benchmark: str,
    borders: Sequence[int] = (),
) -> bytes:
    """Plot equity, benchmark and drawdown; lines break between parts and over days that are not judged.

    `borders`: first days of windows, marked by dashed lines.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    moved = np.flatnonzero((np.diff(days) != 1) | np.array([one != other for one, other in pairwise(parts)])) + 1
    for number, run in enumerate(np.split(np.arange(len(days)), moved)):
        shown = days[run].astype("datetime64[D]")
        above.plot(shown, buy_and_hold[run], color=GREY, linewidth=1, label=benchmark if number == 0 else None)
        above.plot(shown, equity[run], color=BLUE, linewidth=1.2, label="winner" if number == 0 else None)
        below.fill_between(shown, -100 * drawdown[run], step="mid", color=RED, alpha=0.6, linewidth=0)
    _mark_windows((above, below), borders)
    above.axhline(1.0, color=GREY, linewidth=0.6)
    above.set(title=title, ylabel="start of each part = 1")
    above.legend(frameon=False)
    below.set(ylabel="drawdown, %")
    return _svg(figure)


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
    panels[0].legend(frameon=False)
    panels[-1].set(xlabel="trial")
    return _svg(figure)


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
        axes.legend(frameon=False)
    return _svg(figure)


def _mark_windows(panels: Sequence[Axes], borders: Sequence[int]) -> None:
    """Mark the first day of each window of a walk-forward."""
    for axes in panels:
        for day in borders:
            axes.axvline(np.datetime64(day, "D"), color=GREY, linewidth=0.8, linestyle="--")  # type: ignore[arg-type]  # matplotlib takes dates


def _neighbours(days: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Group indices of consecutive days, so that lines break over days that are not judged."""
    return np.split(np.arange(len(days)), np.flatnonzero(np.diff(days) != 1) + 1)


def _svg(figure: Figure) -> bytes:
    """Render without date and with fixed ids, so that equal plots give equal files."""
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tradeschool", "font.size": 9}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
