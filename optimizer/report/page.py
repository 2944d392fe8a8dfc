"""HTML report: renders a run's report as one self-contained file from its JSON alone."""

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from pydantic import JsonValue

from optimizer.report.plots.plot_set import Plot, account_plots, evidence_plots, search_plots
from optimizer.report.plots.style import themed
from optimizer.validation.labels import TERMS, label, meaning

TEMPLATE = "report.html"
NOTHING = "–"  # noqa: RUF001  # en dash for a missing value
FRACTIONS = ("win_rate", "drawdown", "exposure", "cagr", "total_return", "expectancy")
"""Parts of metric names that are shown in percent."""


def draw_page(report: Mapping[str, JsonValue]) -> bytes:
    """Render the HTML of `contents.report_json`."""
    return _environment().get_template(TEMPLATE).render(report, terms=TERMS.values(), whole_report=report).encode()


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
        "account_plots": account_plots,
        "search_plots": search_plots,
        "evidence_plots": evidence_plots,
        "drawn": drawn,
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


def drawn(plot: Plot) -> Markup:
    """Return a plot in the page's own colours, with its title for screen readers."""
    picture = themed(plot.svg.decode())
    title = escape(plot.title)
    body = picture[picture.index("<svg") + len("<svg") :]
    return Markup(f'<svg role="img" aria-label="{title}"{body}')  # noqa: S704  # matplotlib's output, which it escapes
