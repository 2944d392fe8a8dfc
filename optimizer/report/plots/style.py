"""Style of all plots: one palette, which a page replaces by its own colours, and SVG without dates."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

INK, SOFT, GRID, PAPER = "#1a202c", "#566074", "#d9dee7", "#fffffe"
BLUE, GREY, RED, GREEN, AMBER = "#2b6cb0", "#718096", "#c53030", "#2f855a", "#b7791f"
PALETTE = {
    INK: "ink",
    SOFT: "soft",
    GRID: "line",
    PAPER: "card",
    BLUE: "blue",
    GREY: "grey",
    RED: "red",
    GREEN: "green",
    AMBER: "amber",
}
"""Colour -> name of the page's CSS variable."""
SIZE = (9.0, 4.6)  # inches
STYLE = {
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.hashsalt": "tradeschool",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the report; a decorator of each plot."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # matplotlib's stubs want literals
        yield


def svg(figure: Figure) -> bytes:
    """Render without date and with fixed ids, so that equal plots give equal files."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def themed(picture: str) -> str:
    """Replace the palette by CSS variables, so that a page draws in its own light or dark colours."""
    for colour, name in PALETTE.items():
        picture = picture.replace(colour, f"var(--{name})")
    return picture
