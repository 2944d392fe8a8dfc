"""Plots of a search: parameter importance, slices, contour and parallel coordinates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from optimizer.report.plots.style import AMBER, BLUE, GREY, INK, SIZE, SOFT, styled, svg
from optimizer.validation.labels import label

FEWEST_TRIALS = 10
"""Minimum number of complete trials for a plot of a search."""
FEWEST_FOR_CONTOUR = 20
COLUMNS = 3
LEVELS = 7
BEST_SHARE = 0.1
"""Share of the trials that parallel coordinates highlight."""
Search = Mapping[str, Any]
"""The content of `search.json`."""


def is_plottable(found: Search | None) -> bool:
    """Return whether a search has enough trials and parameters for its plots."""
    return found is not None and len(found["trials"]) >= FEWEST_TRIALS and bool(found["parameters"])


@styled()
def draw_importance(found: Search) -> bytes:
    """Plot each parameter's share of importance as a bar."""
    shares: Mapping[str, float] = found["importance"]
    figure = Figure(figsize=(SIZE[0], 0.9 + 0.34 * len(shares)), layout="constrained")
    axes = figure.subplots()
    rising = [*shares.items()][::-1]
    names = [name.replace("_", " ") for name, _ in rising]
    bars = axes.barh(names, [100 * share for _, share in rising], color=BLUE, height=0.62)
    axes.bar_label(bars, fmt="%.0f %%", padding=4, color=INK)
    axes.margins(x=0.1)
    axes.set(title="Parameter importance (PED-ANOVA)", xlabel="share of importance on train, %")
    return svg(figure)


@styled()
def draw_slices(found: Search) -> bytes:
    """Plot the objective against each parameter."""
    names, values, feasible = _columns(found)
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(SIZE[0], 0.7 + 2.1 * rows), layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.06))
    panels = figure.subplots(rows, min(COLUMNS, len(names)), squeeze=False, sharey=True)
    for axes, (name, column) in zip(panels.flat, names.items(), strict=False):
        _scatter(axes, column, values, feasible)
        _mark_winner(axes, found, column, values)
        axes.set(xlabel=name.replace("_", " "))
    for row in panels:
        row[0].set(ylabel=_axis_name(found))
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    figure.suptitle("Slices: objective by parameter, complete trials on train", x=0.01, ha="left", fontsize=10)
    figure.legend(handles=_legend(found), loc="outside upper right", ncols=3)
    return svg(figure)


@styled()
def draw_contour(found: Search) -> bytes:
    """Plot the objective over the two most important parameters."""
    names, values, feasible = _columns(found)
    ranked = [name for name in found["importance"] if name in names and len(np.unique(names[name])) > 2]
    across, up = (names[name] for name in ranked[:2])
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    steps = np.unique(np.quantile(values, np.linspace(0.0, 1.0, LEVELS)))
    if len(steps) > 2 and _spans_an_area(_unit(across), _unit(up)):
        shades = [(*_rgb(BLUE), alpha) for alpha in np.linspace(0.08, 0.75, len(steps) - 1)]
        filled = axes.tricontourf(_unit(across), _unit(up), values, levels=steps, colors=shades)
        bar = figure.colorbar(filled, ax=axes, label=_axis_name(found), pad=0.02)
        bar.ax.set_yticks(steps, [f"{step:.2g}" for step in steps])
        bar.outline.set_edgecolor(SOFT)
    _scatter(axes, _unit(across), values=_unit(up), feasible=feasible, size=9)
    _mark_winner(axes, found, _unit(across), _unit(up))
    for axis, name, column in ((axes.xaxis, ranked[0], across), (axes.yaxis, ranked[1], up)):
        axis.set_ticks(np.linspace(0, 1, 5), [f"{value:.3g}" for value in np.linspace(column.min(), column.max(), 5)])
        axis.set_label_text(name.replace("_", " "))
    axes.set(title="Contour: objective over the two most important parameters, on train")
    axes.legend(handles=_legend(found), loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    return svg(figure)


def _spans_an_area(across: NDArray[np.float64], up: NDArray[np.float64]) -> bool:
    """Return whether the points are not all on one line, which no triangle covers."""
    centred = np.column_stack([across - across.mean(), up - up.mean()])
    return bool(np.linalg.matrix_rank(centred, tol=1e-6) == 2)


def has_contour(found: Search) -> bool:
    """Return whether two important parameters vary over enough trials."""
    columns = found["parameters"]
    ranked = [name for name in found["importance"] if name in columns and len(set(columns[name])) > 2]
    return len(ranked) >= 2 and len(found["trials"]) >= FEWEST_FOR_CONTOUR


@styled()
def draw_parallel(found: Search) -> bytes:
    """Plot each trial as a line over all parameters and its objective; the best tenth of the feasible ones is blue."""
    names, values, feasible = _columns(found)
    columns = {**{name.replace("_", " "): column for name, column in names.items()}, _axis_name(found): values}
    lines = np.column_stack([_unit(column) for column in columns.values()])
    limit = np.quantile(values[feasible], 1 - BEST_SHARE) if feasible.any() else np.inf
    best = feasible & (values >= limit)
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(columns))
    for chosen, colour, alpha, width in ((~best, GREY, 0.25, 0.7), (best, BLUE, 0.8, 1.2)):
        paths = [np.column_stack([places, line]) for line in lines[chosen]]
        axes.add_collection(LineCollection(paths, colors=colour, alpha=alpha, linewidths=width))
    for number, line in zip(found["trials"], lines, strict=True):
        if number == found["winner"]:
            axes.plot(places, line, color=AMBER, linewidth=2.2)
    for place, column in enumerate(columns.values()):
        axes.vlines(place, 0, 1, color=SOFT, linewidth=0.8)
        for value, at, side in ((column.min(), -0.02, "top"), (column.max(), 1.02, "bottom")):
            axes.text(place, at, f"{value:.3g}", ha="center", va=side, color=INK)
    axes.set_xticks(places, list(columns))
    axes.tick_params(axis="x", length=0, pad=16)
    axes.set(xlim=(-0.2, len(columns) - 0.8), ylim=(-0.1, 1.1), yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title("Parallel coordinates: each line is a trial on train", pad=12)
    entries = (("best tenth of the feasible trials", BLUE), ("other trials", GREY), ("winner", AMBER))
    shown = entries if found["winner"] is not None else entries[:2]
    handles = [Line2D([], [], color=colour, label=name) for name, colour in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return svg(figure)


def _columns(found: Search) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64], NDArray[np.bool_]]:
    names = {name: np.array(column, dtype=np.float64) for name, column in found["parameters"].items()}
    return names, np.array(found["values"], dtype=np.float64), np.array(found["feasible"], dtype=bool)


def _scatter(
    axes: Axes,
    across: NDArray[np.float64],
    values: NDArray[np.float64],
    feasible: NDArray[np.bool_],
    size: float = 14,
) -> None:
    axes.scatter(across[~feasible], values[~feasible], s=size, color=GREY, alpha=0.6, linewidths=0)
    axes.scatter(across[feasible], values[feasible], s=size, color=BLUE, linewidths=0)


def _mark_winner(axes: Axes, found: Search, across: Sequence[float] | NDArray[Any], up: NDArray[Any]) -> None:
    for number, x, y in zip(found["trials"], across, up, strict=True):
        if number == found["winner"]:
            axes.scatter([x], [y], s=60, facecolors="none", edgecolors=AMBER, linewidths=2)


def _legend(found: Search) -> list[Line2D]:
    """Return the entries of the marks that are drawn."""
    dot = {"linestyle": "", "marker": "o", "markersize": 4}
    entries = [Line2D([], [], color=BLUE, label="feasible", **dot)]  # type: ignore[arg-type]
    if not all(found["feasible"]):
        entries.append(Line2D([], [], color=GREY, label="infeasible", **dot))  # type: ignore[arg-type]
    if found["winner"] in found["trials"]:
        ring = {"linestyle": "", "marker": "o", "markersize": 7, "markerfacecolor": "none", "markeredgewidth": 2}
        entries.append(Line2D([], [], color=AMBER, label="winner", **ring))  # type: ignore[arg-type]
    return entries


def _axis_name(found: Search) -> str:
    objective = str(found["objective"])
    return "Sharpe ratio, annualised" if objective == "sharpe" else label(objective)


def _unit(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale to 0 to 1; a constant column is in the middle."""
    width = column.max() - column.min()
    return (column - column.min()) / width if width > 0 else np.full(len(column), 0.5)


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue
