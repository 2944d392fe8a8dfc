"""The optional package ccxt and its exchanges by their id. This is the only module that imports it."""

from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from tradeschool.errors import SettingsError

PACKAGE = "ccxt"
EXAMPLES = ("binance", "bitstamp", "bybit")
"""Exchanges that a message names if no id is similar."""


def library_for(exchange_id: str) -> Any:
    """Return the package, for an exchange that a message can name.

    Raises:
        SettingsError: if it is not installed.
    """
    if find_spec(PACKAGE) is None:
        raise SettingsError(
            f"provider ccxt.{exchange_id} needs the package {PACKAGE}: pip install 'tradeschool-curriculum[ccxt]'"
        )
    import ccxt  # optional, and it imports the modules of a hundred exchanges

    return ccxt


def class_of(exchange_id: str) -> Any:
    """Return ccxt's class of an exchange.

    Raises:
        SettingsError: if ccxt is not installed or has no exchange of this id.
    """
    library = library_for(exchange_id)
    if exchange_id in library.exchanges:
        return getattr(library, exchange_id)
    near = get_close_matches(exchange_id, library.exchanges, n=3) or EXAMPLES
    raise SettingsError(
        f"unknown provider 'ccxt.{exchange_id}': ccxt has {len(library.exchanges)} exchanges, such as "
        + ", ".join(f"ccxt.{each}" for each in near)
    )
