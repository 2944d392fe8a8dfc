"""Writes the generated pages of docs/reference: `python -m docsite.reference`, which `scripts/docs` runs."""

from collections.abc import Callable, Mapping

from docsite.commands import command_page
from docsite.errors import ROOT, error_page
from docsite.monitoring import events_page, metrics_page
from docsite.python_api import api_page
from docsite.settings import settings_page

FOLDER = ROOT / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": command_page,
    "settings.md": settings_page,
    "errors.md": error_page,
    "metrics.md": metrics_page,
    "events.md": events_page,
    "api.md": api_page,
}
"""Page -> function that returns its text."""


def main() -> None:
    """Write every generated page."""
    for name, text in PAGES.items():
        (FOLDER / name).write_text(text())


if __name__ == "__main__":
    main()
