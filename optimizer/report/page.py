"""HTML report: renders a run's report as one self-contained file from its JSON alone."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from pydantic import JsonValue

from optimizer.report.plots import draw_equity_curve
from optimizer.report.windows_file import window_starts
from optimizer.validation.holdout_log import HOLDOUT
from optimizer.validation.labels import TERMS, label, meaning

TEMPLATE = "report.html"
NOTHING = "–"  # noqa: RUF001  # en dash for a missing value
FRACTIONS = ("win_rate", "drawdown", "exposure", "cagr", "total_return", "expectancy")
"""Parts of metric names that are shown in percent."""


def draw_page(report: Mapping[str, JsonValue]) -> bytes:
    """Render the HTML of `contents.report_json`."""
    return _environment().get_template(TEMPLATE).render(report, terms=TERMS.values()).encode()


@cache
def _environment() -> Environment:
    """The template engine; it compiles the template once."""
    environment = Environment(
        loader=PackageLoader("optimizer.report", "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "percent": percent,
        "words": words,
        "label": label,
        "meaning": meaning,
        "equity_curve": equity_curve,
    }
    return environment


def figure(value: JsonValue, name: str = "") -> str:
    """Format a number such as `1.23`, in percent if the metric is a fraction; a dash without a value."""
    if not isinstance(value, int | float):
        return NOTHING
    if any(part in name for part in FRACTIONS):
        return percent(value)
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 2 else f"{value:.3g}"


def percent(value: JsonValue) -> str:
    """Format a fraction such as `12.3 %`."""
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else NOTHING


def words(value: JsonValue) -> str:
    """Replace underscores in a name by spaces."""
    return str(value).replace("_", " ")


def equity_curve(found: Mapping[str, Sequence[float | str]], title: str, benchmark: str) -> Markup:
    """Plot daily equity, benchmark and drawdown as SVG; `benchmark` is its name."""
    days = np.array(found["days"], dtype=np.int64)
    columns = {name: np.array(found[name], dtype=np.float64) for name in ("equity", "buy_and_hold", "drawdown")}
    parts = found.get("part") or [HOLDOUT] * len(days)
    named = [str(part) for part in parts]
    borders = window_starts(days.tolist(), found.get("window") or ())
    svg = draw_equity_curve(title, days, named, benchmark=benchmark, borders=borders, **columns).decode()
    return Markup(svg[svg.index("<svg") :])  # noqa: S704  # matplotlib's output, which it escapes
