"""The file `instruments.json` of a data folder: the instruments of each provider and those that the user defined.

    {"version": 1,
     "providers": {"coinbase": {"fetched_at": "2026-11-30T12:00:00Z",
                                "instruments": [{"base": "SOL", "quote": "USD", "kind": "crypto", "tick": "0.01"}]}},
     "defined": [{"provider": "files", "base": "ES", "quote": "USD", "kind": "index", "tick": "0.25"}]}

Every change replaces the whole file atomically, under a lock, so that concurrent commands lose no entry. Readers need
no lock.
"""

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tradeschool.atomic_files import publish_text
from tradeschool.errors import ForeignFile, SettingsError, StoreUnwritable
from tradeschool.markets.instruments import Instrument, Market

FILE_NAME = "instruments.json"
LOCK_NAME = ".instruments.lock"
VERSION = 1
MAX_DECIMALS = 12
"""Decimal places at most; a price of one unit then still has fewer than 2^40 ticks."""
LARGEST_TICK = 10**6
LONGEST_NAME = 24
OPTIONAL_TEXTS = {"calendar": "calendar_code", "symbol": "symbol", "status": "status"}
"""Optional entries of an instrument in the file, and the attribute of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductList:
    """The instruments of one provider, as of a time."""

    fetched_at: datetime
    instruments: tuple[Instrument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstruments:
    """Content of `instruments.json`."""

    lists: Mapping[str, ProductList] = field(default_factory=dict)
    """Product lists by provider."""
    defined: tuple[Instrument, ...] = ()
    """Instruments that the user defined; they take precedence over those of a provider."""


def read(folder: Path) -> StoredInstruments:
    """Read the instruments of a data folder; a missing file is an empty one.

    Raises:
        ForeignFile: if the file cannot be read or has another format.
    """
    path = folder / FILE_NAME
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return StoredInstruments()
    except OSError as error:
        raise _damaged(path, str(error)) from error
    return _parsed(body, path)


def _parsed(body: bytes, path: Path) -> StoredInstruments:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if isinstance(content, dict) and content.get("version") != VERSION:
        raise ForeignFile(f"{path}: version {content.get('version')!r}, expected {VERSION}: update tradeschool")
    try:
        return StoredInstruments(
            lists={name: _list_of(name, each) for name, each in content["providers"].items()},
            defined=tuple(instrument_of(each) for each in content["defined"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, SettingsError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def store_list(folder: Path, provider: str, instruments: Iterable[Instrument], fetched_at: datetime) -> None:
    """Replace the product list of one provider.

    A tick that became coarser keeps its finer decimal places, because stored candles may need them. Delisted
    instruments stay, because their candles may be stored.

    Raises:
        StoreUnwritable: if the file cannot be written.
        ForeignFile: if the existing file cannot be read.
    """
    with _locked(folder):
        stored = read(folder)
        known = {each: each for each in stored.lists[provider].instruments} if provider in stored.lists else {}
        listed = {each: _at_least_as_fine(each, known.get(each)) for each in instruments}
        gone = {each: replace(each, status="delisted") for each in known if each not in listed}
        everything = tuple(sorted((listed | gone).values(), key=lambda each: each.name))
        fresh = ProductList(fetched_at=fetched_at, instruments=everything)
        _write(folder, replace(stored, lists={**stored.lists, provider: fresh}))


def store_defined(folder: Path, instruments: Iterable[Instrument]) -> None:
    """Add or replace instruments that the user defined.

    Raises:
        StoreUnwritable: if the file cannot be written.
        ForeignFile: if the existing file cannot be read.
    """
    with _locked(folder):
        stored = read(folder)
        defined = {each: each for each in stored.defined}
        for each in instruments:
            defined.pop(each, None)  # equal instruments may have another tick
            defined[each] = each
        _write(folder, replace(stored, defined=_sorted(defined.values())))


def merge_into(folder: Path, body: bytes) -> None:
    """Merge the content of another machine's file: the newer list of a provider, and the own of two definitions.

    Raises:
        StoreUnwritable: if the file cannot be written.
        ForeignFile: if one of both contents cannot be read.
    """
    with _locked(folder):
        own, other = read(folder), _parsed(body, folder / FILE_NAME)
        lists = {**own.lists, **other.lists}
        for name in own.lists.keys() & other.lists.keys():
            lists[name] = max(own.lists[name], other.lists[name], key=lambda each: each.fetched_at)
        defined = {each: each for each in (*other.defined, *own.defined)}  # the own one of equal ones
        _write(folder, StoredInstruments(lists=lists, defined=_sorted(defined.values())))


def instrument_of(entry: Mapping[str, Any], provider: str | None = None) -> Instrument:
    """Return the instrument of an entry of the file, or of an `[[instruments]]` table of the settings.

    Raises:
        SettingsError: if the entry is invalid; names the key, the expected value and the value.
    """
    known = {"provider", "base", "quote", "kind", "tick", "spread", "finer_history", *OPTIONAL_TEXTS}
    if unknown := sorted(set(entry) - known):
        raise SettingsError(f"unknown key {unknown[0]!r}: expected {', '.join(sorted(known))}")
    texts = {name: _text(entry, name) for name in ("base", "quote", "kind", "tick")}
    for name in ("base", "quote"):
        _check_name(name, texts[name])
    source = provider or _text(entry, "provider")
    _check_name("provider", source.replace("_", "").replace("-", "").replace(".", ""))
    tick = exact_tick(texts["tick"])
    return Instrument(
        provider=source,
        base=texts["base"],
        quote=texts["quote"],
        market=find_market(texts["kind"]),
        decimals=decimals_of(tick),
        tick_size=tick,
        spread=_flag(entry, "spread"),
        has_finer_history=bool(_flag(entry, "finer_history")),
        **{attribute: _text(entry, name) for name, attribute in OPTIONAL_TEXTS.items() if name in entry},
    )


def entry_of(instrument: Instrument) -> dict[str, str | bool]:
    """Return the entry that `instrument_of` reads."""
    return {"provider": instrument.provider, **_entry(instrument)}


def exact_tick(text: str) -> Decimal:
    """Return a tick size as an exact decimal.

    Raises:
        SettingsError: if it is not a positive decimal number of at most `MAX_DECIMALS` places.
    """
    try:
        tick = Decimal(text)
    except InvalidOperation:
        tick = Decimal(0)
    if not tick.is_finite() or not 0 < tick <= LARGEST_TICK or decimals_of(tick) > MAX_DECIMALS:
        raise SettingsError(
            f"tick {text!r}: expected a positive decimal number of at most {MAX_DECIMALS} places, such as 0.01"
        )
    return tick.normalize()


def decimals_of(tick: Decimal) -> int:
    """Return the decimal places that prices in multiples of a tick have."""
    exponent = tick.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def find_market(text: str) -> Market:
    """Return the kind of market of that name.

    Raises:
        SettingsError: if there is no such kind.
    """
    try:
        return Market(text.lower())
    except ValueError:
        known = ", ".join(market.value for market in Market)
        raise SettingsError(f"unknown kind {text!r}: expected one of {known}") from None


def is_usable_name(text: str) -> bool:
    """Whether a base or quote may be part of a file path and of a dataset name."""
    return 0 < len(text) <= LONGEST_NAME and text.isalnum() and text == text.upper()


def _check_name(key: str, text: str) -> None:
    if not is_usable_name(text.upper() if key == "provider" else text):
        raise SettingsError(f"{key} {text!r}: expected up to {LONGEST_NAME} letters and digits, in capitals")


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{name}: expected a text, was {value!r}")
    return value


def _flag(entry: Mapping[str, Any], name: str) -> bool | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, bool):
        raise SettingsError(f"{name}: expected true or false, was {value!r}")
    return value


def _sorted(instruments: Iterable[Instrument]) -> tuple[Instrument, ...]:
    return tuple(sorted(instruments, key=lambda each: each.full_name))


def _at_least_as_fine(fresh: Instrument, known: Instrument | None) -> Instrument:
    return fresh if known is None else replace(fresh, decimals=max(fresh.decimals, known.decimals))


def _list_of(provider: str, entry: Mapping[str, Any]) -> ProductList:
    instruments = tuple(instrument_of(each, provider) for each in entry["instruments"])
    return ProductList(fetched_at=datetime.fromisoformat(entry["fetched_at"]), instruments=instruments)


def _write(folder: Path, stored: StoredInstruments) -> None:
    content = {
        "version": VERSION,
        "providers": {
            name: {
                "fetched_at": each.fetched_at.isoformat(),
                "instruments": [_entry(instrument) for instrument in each.instruments],
            }
            for name, each in sorted(stored.lists.items())
        },
        "defined": [entry_of(each) for each in stored.defined],
    }
    publish_text(folder, folder / FILE_NAME, json.dumps(content, indent=0, ensure_ascii=False) + "\n")


def _entry(instrument: Instrument) -> dict[str, str | bool]:
    entry: dict[str, str | bool] = {
        "base": instrument.base,
        "quote": instrument.quote,
        "kind": instrument.market.value,
        "tick": f"{instrument.exact_tick:f}",
    }
    if instrument.decimals > decimals_of(instrument.exact_tick):
        entry["tick"] = f"{Decimal(1).scaleb(-instrument.decimals):f}"
    entry |= {name: text for name, attribute in OPTIONAL_TEXTS.items() if (text := getattr(instrument, attribute))}
    if entry.get("status") == "online":
        del entry["status"]
    if instrument.spread is not None:
        entry["spread"] = instrument.spread
    if instrument.has_finer_history:
        entry["finer_history"] = True
    return entry


def _damaged(path: Path, reason: str) -> ForeignFile:
    return ForeignFile(
        f"{path} cannot be read: {reason}; restore it from a copy, or delete it and run tradeschool markets list"
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK_NAME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held for milliseconds; the kernel releases it with the process
            yield
    except OSError as error:
        raise StoreUnwritable(f"cannot write in {folder}: {error.strerror}; fix permissions or set data_dir") from error
