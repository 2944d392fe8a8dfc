"""Finds providers by name: every module of `fetcher.providers` with a `PROVIDER`, and the exchanges of ccxt."""

from functools import cache

from fetcher import providers
from fetcher.protocol.provider import Provider
from tradeschool.errors import SettingsError
from tradeschool.plugins import entries

CCXT = "ccxt."
"""First letters of the providers that ccxt describes, such as `ccxt.bitstamp`; they are made when they are named."""


@cache
def load() -> dict[str, Provider]:
    """Return all providers that have a module, by its name."""
    return entries(providers, "PROVIDER")


def find(name: str, source: str | None = None) -> Provider:
    """Return the provider with this name, optionally one of its other APIs (`source`).

    Raises:
        SettingsError: if the provider or the source is unknown, or if ccxt is needed and not installed.
    """
    if name.startswith(CCXT):
        from fetcher.providers.ccxt_exchanges.provider import provider_of  # imported here: most commands need no ccxt

        return provider_of(name)
    sources = {each.source: each for each in load().values() if each.name == name}
    if not sources:
        known = ", ".join(sorted({each.name for each in load().values()}))
        raise SettingsError(f"unknown provider {name!r}: expected one of {known}, or {CCXT} and an exchange of ccxt")
    if source is None:
        return load()[name]
    if source not in sources:
        raise SettingsError(f"unknown source {source!r} of {name}: expected one of {', '.join(sources)}")
    return sources[source]
