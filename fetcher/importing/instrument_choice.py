"""Choice of the instrument and timeframe of a file: from the options, or from the names that the file bears."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.sources import CandleFile
from fetcher.importing.forms.layout import FileFormat, Layout
from fetcher.importing.request import ImportRequest
from tradeschool.errors import SettingsError
from tradeschool.markets import registry
from tradeschool.markets.definition import define_instrument
from tradeschool.markets.instrument_file import instrument_of
from tradeschool.markets.instruments import Instrument, Market
from tradeschool.markets.names import ALIASES, SEPARATORS, find_instrument, matching, split_provider
from tradeschool.markets.shipped import INSTRUMENTS
from tradeschool.markets.timeframes import Timeframe

PROVIDERS = {FileFormat.BINANCE: "binance", FileFormat.KRAKEN: "kraken"}
"""Provider of the candles of a form."""
FIAT = frozenset(
    {"USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK", "SGD", "HKD", "ZAR", "MXN"}
)
METALS = frozenset({"XAU", "XAG", "XPT", "XPD"})
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", *sorted(FIAT), "BTC", "XBT", "ETH", "BNB")
"""Quote currencies by which a name without a separator is split, such as SOLUSDT."""
WORD = re.compile(r"[A-Za-z]{2,16}")


def chosen_instrument(file: CandleFile, layout: Layout, request: ImportRequest) -> Instrument:
    """Return the instrument of a file.

    Raises:
        SettingsError: if the options or the names of the file lead to no instrument, or to several.
    """
    if request.dataset:
        return request.dataset.instrument
    hint = _provider(file, layout, request)
    if request.tick:
        return instrument_of(_definition(file, layout, request, hint))
    if request.pair:
        return find_instrument(request.pair, request.provider)
    texts = (*layout.names, file.file_name)
    found = list(dict.fromkeys(each for text in texts for each in _matching(text, hint)))
    if len(found) > 1 and (shipped := [each for each in found if each in INSTRUMENTS]):
        found = shipped
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(each.full_name for each in found)
        raise SettingsError(f"{file.name}: the pair may be any of {choices}: give --pair")
    raise SettingsError(_unknown(file, texts, hint))


def chosen_timeframe(file: CandleFile, request: ImportRequest, step: int) -> Timeframe:
    """Return the timeframe of a file whose candles are `step` seconds apart, 0 if it has only one.

    Raises:
        SettingsError: if it has to be given.
    """
    if request.dataset:
        return request.dataset.timeframe
    if request.timeframe:
        return request.timeframe
    if request.resample:
        raise SettingsError("--resample: give the timeframe to make, such as --timeframe H1")
    known = {each.seconds: each for each in Timeframe}
    if step not in known:
        names = ", ".join(each.name for each in Timeframe)
        apart = f"the candles are {step} s apart" if step else "one candle has no distance to another"
        raise SettingsError(
            f"{file.name}: {apart}, expected a timeframe of {names}: give one with --timeframe, and with --resample if "
            "it is a longer one"
        )
    return known[step]


def store_definition(instrument: Instrument, folder: Path, request: ImportRequest) -> None:
    """Store the definition of an instrument that the request defines; every command then knows it."""
    if request.tick:
        define_instrument(
            folder,
            provider=instrument.provider,
            base=instrument.base,
            quote=instrument.quote,
            kind=instrument.market.value,
            tick=request.tick,
            calendar=request.calendar or "",
        )


def check_one_instrument(datasets: Iterable[tuple[CandleFile, Layout]], request: ImportRequest) -> None:
    """Check that files for one given instrument do not bear the names of several.

    Raises:
        InvalidCandles: if they do.
    """
    if request.dataset is None and request.pair is None:
        return
    named: dict[str, CandleFile] = {}
    for file, layout in datasets:
        pairs = {each.pair for text in (*layout.names, file.file_name) for each in _matching(text, None)}
        if len(pairs) == 1:
            named.setdefault(pairs.pop(), file)
    if len(named) > 1:
        (first, file), (second, other) = list(named.items())[:2]
        raise invalid(other.name, f"is named {second}, but {file.name} is named {first}: import one pair at a time")


def _provider(file: CandleFile, layout: Layout, request: ImportRequest) -> str | None:
    """Return the provider that the options, the form or the file name says, None if none does."""
    if request.provider:
        return request.provider.lower()
    if request.pair and (given := split_provider(request.pair)[0]):
        return given
    if layout.form in PROVIDERS:
        return PROVIDERS[layout.form]
    known = {each.provider for each in registry.current().all()}
    words = (word.lower() for word in WORD.findall(f"{file.path.parent.name} {file.file_name}"))
    return next((word for word in words if word in known), None)


def _matching(text: str, provider: str | None) -> list[Instrument]:
    known = registry.current().all()
    return [each for name in _names(text) for each in matching(known, name, provider)]


def _names(text: str) -> Iterator[str]:
    """Yield the pairs that a file name may contain: each word, and each two words that follow each other."""
    words = WORD.findall(text.replace("=X", ""))
    yield from words
    yield from (f"{first}/{second}" for first, second in pairwise(words))


def _definition(file: CandleFile, layout: Layout, request: ImportRequest, hint: str | None) -> dict[str, str | bool]:
    base, quote = _base_and_quote(file, layout, request)
    entry: dict[str, str | bool] = {
        "provider": hint or "files",
        "base": base,
        "quote": quote,
        "kind": request.kind or _kind(base, quote, request.calendar),
        "tick": request.tick or "",
    }
    return entry | ({"calendar": request.calendar} if request.calendar else {})


def _base_and_quote(file: CandleFile, layout: Layout, request: ImportRequest) -> tuple[str, str]:
    names = [split_provider(request.pair)[1]] if request.pair else [*layout.names, file.file_name]
    for name in names:
        for word in [name] if request.pair else _names(name):
            parts = [part for part in SEPARATORS.split(word.upper()) if part]
            if len(parts) == 2 and (request.pair or parts[1] in QUOTES):
                return ALIASES.get(parts[0], parts[0]), ALIASES.get(parts[1], parts[1])
            if len(parts) == 1 and (found := _split(parts[0])):
                return found
    raise SettingsError(f"{file.name}: the file name says no pair: give it with --tick, such as --pair SOL/USD")


def _split(name: str) -> tuple[str, str] | None:
    """Split a name such as SOLUSDT by its quote currency; a base that is known goes before one that is not."""
    pairs = [(name.removesuffix(quote), quote) for quote in QUOTES if name.endswith(quote) and name != quote]
    pairs = [(ALIASES.get(base, base), ALIASES.get(quote, quote)) for base, quote in pairs]
    known = {each.base for each in registry.current().all()}
    return next((pair for pair in pairs if pair[0] in known), next(iter(pairs), None))


def _kind(base: str, quote: str, calendar: str | None) -> str:
    if base in METALS:
        return Market.METAL.value
    if base in FIAT and quote in FIAT:
        return Market.FX.value
    if calendar in (None, "24/7"):
        return Market.CRYPTO.value
    return Market.INDEX.value if calendar in ("fx", "fx-breaks") else Market.STOCK.value


def _unknown(file: CandleFile, texts: Iterable[str], hint: str | None) -> str:
    others = list(dict.fromkeys(each.full_name for text in texts for each in _matching(text, None)))
    told = f"; with this name there is {', '.join(others)[:200]}" if others else ""
    origin = f" of {hint}" if hint else ""
    return (
        f"{file.name}: the file name says no known instrument{origin}{told}: give --dataset, such as "
        "coinbase/BTC-USD/M5, or --pair with --tick and --calendar to define a new one"
    )
