"""Output to the terminal: lines on standard error, tables and JSON on standard output."""

import json
import sys
from datetime import UTC, datetime

import click
from rich.console import Console

WIDTH = 140
"""Table width in columns when standard output is not a terminal."""


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def console() -> Console:
    """Return the console for tables and text on standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def say(line: str) -> None:
    """Print one line on standard error, where progress is shown."""
    click.echo(line, err=True)
