"""Context of a command: settings, logging, candle stores and the URL of Redis."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tradeschool import log
from tradeschool.app.global_options import GLOBAL_OPTIONS
from tradeschool.interpreter import python_command
from tradeschool.markets import registry
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, INSTRUMENTS, find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.settings import loading
from tradeschool.settings.model import Settings
from tradeschool.store import Store, holdout_store
from tradeschool.store.cached_store import CachedStore
from tradeschool.store.inventory import stored_datasets
from tradeschool.views.terminal import say


def load_settings(flags: Mapping[str, Any] | None = None) -> Settings:
    """Load the settings of the running command and configure logging."""
    given = GLOBAL_OPTIONS.get()
    chosen = dict(flags or {})
    if given.log_format:
        chosen["log_format"] = given.log_format
    loaded = read_settings(given.settings_file, chosen)
    log.configure(loaded.log_format, level=logging.INFO if given.verbose else logging.WARNING)
    return loaded


def read_settings(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Load the settings of a file, by default `tradeschool.toml`, and make their instruments known to this process."""
    loaded = loading.load(flags, file=file)
    candles = candles_of(loaded)
    refresh = candles.bucket.refresh if candles.bucket else None
    registry.use(loaded.data_root, [each.instrument() for each in loaded.instruments], refresh=refresh)
    return loaded


def candles_of(loaded: Settings) -> Store:
    """Return the candle store of the curriculum."""
    return Store(loaded.data_location())


def searched_candles_of(loaded: Settings) -> Store:
    """Return the candle store for a search: decoded once per machine, without access to the holdout period."""
    return CachedStore(loaded.data_location(), columns_folder(loaded), closed=HOLDOUT_WINDOW)


def columns_folder(loaded: Settings) -> Path:
    """Return the folder of the candles that were decoded for a search."""
    return loaded.state_dir / "columns"


def holdout_candles_of(loaded: Settings) -> Store:
    """Return the candle store of the holdout period."""
    return holdout_store(loaded.data_location())


@contextmanager
def redis_url_of(loaded: Settings) -> Iterator[str]:
    """Yield the URL of the configured Redis server, or start the embedded server and yield its URL.

    The embedded server runs until its last user ends. The queue history is saved when the block ends.
    """
    if url := loaded.redis_server:
        yield url
        return
    # Imported here: most commands need no server, and these modules are slow to import.
    from tradeschool.embedded_valkey.server import EmbeddedValkey
    from workers.monitoring.queue_history import save_history

    with EmbeddedValkey.of(loaded.state_dir).running() as valkey:
        try:
            yield valkey.url
        finally:
            save_history(valkey.url, valkey.folder)


def own_command(*words: str) -> list[str]:
    """Return the command line of another tradeschool command, with the global options of this process."""
    given = GLOBAL_OPTIONS.get()
    options = ["--config", str(given.settings_file)] if given.settings_file else []
    options += ["--log-format", given.log_format] if given.log_format else []
    options += ["--verbose"] if given.verbose else []
    return python_command("-m", "tradeschool", *options, *words)


@asynccontextmanager
async def data_lock(store: Store) -> AsyncIterator[None]:
    """Hold the lock of a data folder; print a line while another fetcher holds it."""
    from fetcher.locks import exclusive, of_folder

    async with exclusive(
        of_folder(store.root), lambda: say(f"another fetcher uses {store.root}; waiting for it to finish")
    ):
        yield


def chosen_datasets(names: Sequence[str], store: Store) -> list[Dataset]:
    """Return the named datasets, or all stored and shipped ones if no name is given."""
    return [find_dataset(name) for name in names] or known_datasets(store)


def known_datasets(store: Store, tell: Callable[[str], None] = say) -> list[Dataset]:
    """Return the datasets of all shipped instruments, stored or not, and all others in a store.

    A line tells which stored datasets belong to no known instrument.
    """
    shipped = [Dataset(instrument=instrument, timeframe=each) for instrument in INSTRUMENTS for each in Timeframe]
    stored, unknown = stored_datasets(store)
    for name, reason in unknown.items():
        tell(f"{name}: {reason}; define it in an [[instruments]] table")
    return list(dict.fromkeys((*shipped, *stored)))


def sealed_datasets(store: Store) -> list[Dataset]:
    """Return the known datasets that have a seal."""
    return [each for each in known_datasets(store) if store.seals(each)]
