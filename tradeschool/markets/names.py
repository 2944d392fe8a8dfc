"""Names of instruments as users write them: `BTC/USD`, `coinbase:SOL/USD`, `SOL-USD`, `EUR_USD`, `SOLUSD`, `XBTUSD`."""

import difflib
import re
from collections.abc import Iterable, Sequence

from tradeschool.errors import SettingsError
from tradeschool.markets import registry
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.shipped import INSTRUMENTS

ALIASES = {"XBT": "BTC"}
"""Other names of a currency, and the one that providers use."""
NEAREST = 5
"""Names that an error message suggests."""
LEAST_SIMILAR = 0.75
SEPARATORS = re.compile(r"[/\-_ ]")


def find_instrument(text: str, provider: str | None = None) -> Instrument:
    """Return the instrument of a name; the case is ignored.

    A shipped instrument comes first for a name without a provider, so the default datasets keep their names.

    Raises:
        SettingsError: if no such instrument is known, with the nearest names, or if several are, with their full names.
        ForeignFile: if the file of the data folder cannot be read.
    """
    if found := matching(INSTRUMENTS, text, provider):  # without reading a file
        return found[0]
    source, name = (provider, text) if provider else split_provider(text)
    if found := matching(INSTRUMENTS, name, source):
        return found[0]
    found = _known(source, name)
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(each.full_name for each in found)
        raise SettingsError(f"pair {text!r} is ambiguous: name its provider, one of {choices}")
    raise SettingsError(f"unknown pair {text!r}{_advice(source, name)}")


def matching(instruments: Iterable[Instrument], name: str, provider: str | None = None) -> list[Instrument]:
    """Return the instruments that a name without a provider means."""
    parts = [ALIASES.get(part, part) for part in SEPARATORS.split(name.strip().upper())]
    of_provider = [each for each in instruments if provider in (None, each.provider)]
    if len(parts) > 1:
        return [each for each in of_provider if [each.base, each.quote] == parts]
    wanted = {parts[0]}
    wanted |= {known + parts[0].removeprefix(alias) for alias, known in ALIASES.items() if parts[0].startswith(alias)}
    return [each for each in of_provider if each.base + each.quote in wanted]


def split_provider(text: str) -> tuple[str | None, str]:
    """Split a name such as `coinbase:SOL/USD` or `coinbase/SOL-USD` into provider and pair; None without a provider."""
    for separator in (":", "/"):
        provider, found, name = text.strip().partition(separator)
        if found and (separator == ":" or (_is_provider(provider.lower()) and SEPARATORS.search(name))):
            return provider.strip().lower(), name
    return None, text


def nearest(name: str, instruments: Sequence[Instrument]) -> list[Instrument]:
    """Return the instruments whose names are most similar to a name, then those with the same base."""
    compact = "".join(letter for letter in name.upper() if letter.isalnum())
    by_name: dict[str, list[Instrument]] = {}
    for each in instruments:
        by_name.setdefault(each.base + each.quote, []).append(each)
    similar = difflib.get_close_matches(compact, by_name, n=NEAREST, cutoff=LEAST_SIMILAR)
    base = SEPARATORS.split(name.strip().upper())[0]
    same = [each for each in instruments if each.base == ALIASES.get(base, base)]
    return list(dict.fromkeys([*(each for found in similar for each in by_name[found]), *same]))[:NEAREST]


def _known(provider: str | None, name: str) -> list[Instrument]:
    """Return the known instruments of a name; missing product lists are requested first if the process may do that."""
    known = registry.current()
    found = matching(known.all(), name, provider)
    if known.loader is not None and known.loader(provider, not found):
        found = matching(known.all(), name, provider)
    return found


def _is_provider(name: str) -> bool:
    return any(name == each.provider for each in INSTRUMENTS) or name in _providers()


def _providers() -> set[str]:
    known, stored = registry.current(), registry.current().stored()
    return {each.provider for each in (*INSTRUMENTS, *known.defined, *stored.defined)} | set(stored.lists)


def _advice(provider: str | None, name: str) -> str:
    everything = registry.current().all()
    base = SEPARATORS.split(name.strip())[0]
    search = f"find others with: tradeschool markets search {base}"
    of_provider = [each for each in everything if each.provider == provider]
    near = matching(everything, name) or nearest(name, of_provider) or nearest(name, everything)
    return f": did you mean {' or '.join(each.full_name for each in near)}? {search}" if near else f"; {search}"
