"""The options `--timerange` and `--days`, and the range that they mean."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tradeschool.markets.timerange import EXAMPLES, TimeRange, parse_days

MOST_DAYS = 20_000
F = TypeVar("F", bound=Callable[..., Any])


def timerange_options(default: str) -> Callable[[F], F]:
    """Add `--timerange` and `--days` to a command; `default` describes the range without them."""

    def add(command: F) -> F:
        command = click.option(
            "--days", type=click.IntRange(1, MOST_DAYS), help="Number of days, before the last one or of the range."
        )(command)
        told = f"Time range in UTC, for example {EXAMPLES}. [default: {default}]"
        return click.option("--timerange", help=told)(command)

    return add


def chosen_range(timerange: str | None, days: int | None) -> TimeRange | None:
    """Return the range of the options; None if neither is given.

    Raises:
        SettingsError: If the range is malformed.
    """
    return parse_days(timerange, days)
