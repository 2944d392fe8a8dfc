"""`tradeschool config`: show and validate the settings."""

import click
from pydantic import SecretStr
from rich.table import Table

from fetcher.provider_registry import load
from tradeschool.app.context import load_settings
from tradeschool.cli.options.output import json_option
from tradeschool.settings.model import PROVIDERS, Settings, setting_names
from tradeschool.settings.urls import mask_url
from tradeschool.views.terminal import console, print_json


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
    for path, field in setting_names():
        table.add_row(".".join(path), values[".".join(path)], field.description or "")
    console().print(table)


@config.command()
def validate() -> None:
    """Validate the settings; exit code 2 if they are invalid."""
    load_settings()
    console().print("the settings are valid")


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
