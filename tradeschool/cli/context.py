"""What every command starts from: settings, log, store, clock, and how it prints."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console

from tradeschool import log, settings
from tradeschool.interpreter import python_command
from tradeschool.market import INSTRUMENTS, SEALED_WINDOW, Dataset, Timeframe, find_dataset
from tradeschool.settings import Settings
from tradeschool.store import Store, sealed_store
from tradeschool.store.cached import CachedStore

WIDTH = 140
"""Columns of a table that does not go to a terminal."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings of the running command, its log configured."""
    given = click.get_current_context().find_root().obj
    chosen = dict(flags or {})
    if given["log_format"]:
        chosen["log_format"] = given["log_format"]
    loaded = settings.load(chosen, file=given["settings_file"])
    log.configure(loaded.log_format, level=logging.INFO if given["verbose"] else logging.WARNING)
    return loaded


def candles_of(loaded: Settings) -> Store:
    """The store of the curriculum's candles."""
    return Store(loaded.data_dir)


def searched_candles_of(loaded: Settings) -> Store:
    """The same for a search, whichever process runs it: decoded once a machine, and the sealed period is closed."""
    return CachedStore(loaded.data_dir, loaded.state_dir / "columns", closed=SEALED_WINDOW)


def sealed_candles_of(loaded: Settings) -> Store:
    """The store of the sealed period."""
    return sealed_store(loaded.data_dir)


@contextmanager
def redis_url_of(loaded: Settings) -> Iterator[str]:
    """URL of the configured Redis; without one, of the embedded server, which runs as long as it is used.

    What the embedded server knows of the queue's past is kept for whoever looks after its end.
    """
    if loaded.redis_url:
        yield loaded.redis_url.get_secret_value()
        return
    # Most commands need no server, and what starts one is slow to import.
    from tradeschool.embedded import Valkey
    from workers.history import keep

    with Valkey.of(loaded.state_dir).running() as valkey:
        try:
            yield valkey.url
        finally:
            keep(valkey.url, valkey.folder)


def own_command(*words: str) -> list[str]:
    """The command line of one of this program's own commands, with the options that this process was given."""
    given = click.get_current_context().find_root().obj
    options = ["--config", str(given["settings_file"])] if given["settings_file"] else []
    options += ["--log-format", given["log_format"]] if given["log_format"] else []
    options += ["--verbose"] if given["verbose"] else []
    return python_command("-m", "tradeschool", *options, *words)


def chosen_datasets(names: Sequence[str]) -> list[Dataset]:
    """The datasets of those names; every one that is known where none is named."""
    every = [Dataset(instrument=instrument, timeframe=each) for instrument in INSTRUMENTS for each in Timeframe]
    return [find_dataset(name) for name in names] or every


def now() -> datetime:
    """The clock of the command line."""
    return datetime.now(UTC)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def console() -> Console:
    """For what a person reads on standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def say(line: str) -> None:
    """One line for a person, on standard error, where progress goes."""
    click.echo(line, err=True)


Say = Callable[[str], None]
