"""Definition of instruments by the user: by `data import`, or by `[[instruments]]` tables of the settings."""

from pathlib import Path

from tradeschool.markets import registry
from tradeschool.markets.instrument_file import instrument_of, store_defined
from tradeschool.markets.instruments import Instrument


def define_instrument(
    folder: Path,
    *,
    provider: str,
    base: str,
    quote: str,
    kind: str,
    tick: str,
    calendar: str = "",
    has_spread: bool | None = None,
) -> Instrument:
    """Store an instrument in `instruments.json` of a data folder and return it; every command then knows it.

    `provider` names the origin of its candles, such as `dukascopy`; `kind` is a value of `Market`, such as `fx`;
    `tick` is its price step as a decimal, such as `0.001`; `calendar` is a calendar code, empty for the kind's;
    `has_spread` tells whether its candles have a half-spread, None for the kind's rule. A second definition of the same
    provider, base and quote replaces the first.

    Raises:
        SettingsError: if a value is invalid; names the key, the expected value and the value.
        StoreUnwritable: if the file cannot be written.
        ForeignFile: if the existing file cannot be read.
    """
    entry: dict[str, str | bool] = {
        "provider": provider.lower(),
        "base": base.upper(),
        "quote": quote.upper(),
        "kind": kind,
        "tick": tick,
    }
    if calendar:
        entry["calendar"] = calendar
    if has_spread is not None:
        entry["spread"] = has_spread
    instrument = instrument_of(entry)
    store_defined(folder, [instrument])
    if registry.current().folder != folder.absolute():
        registry.use(folder, registry.current().defined, registry.current().loader)
    return instrument
