"""`tradeschool markets`: find the instruments that can be downloaded, and show what is known of them."""

from collections import Counter
from collections.abc import Iterable

import click
from rich.table import Table

from tradeschool.app.context import candles_of, load_settings
from tradeschool.app.download.product_lists import ProductLists, known_to_providers, provider_names
from tradeschool.cli.options.output import json_option
from tradeschool.errors import SettingsError
from tradeschool.markets import names, registry
from tradeschool.markets.instruments import Instrument
from tradeschool.store.inventory import stored_inventory
from tradeschool.views.terminal import console, print_json

FOUND = 25
"""Matches that `search` shows at most, in a table."""


@click.group()
def markets() -> None:
    """Find instruments by name: pairs, metals, indices and those of your own files."""


@markets.command("list")
@click.argument("providers", metavar="[PROVIDER]...", nargs=-1)
@click.option("--kind", help="Only this kind: crypto, fx, metal, index, commodity, bond or stock.")
@click.option("--refresh", is_flag=True, help="Request the product lists again.")
@json_option
def list_(providers: tuple[str, ...], kind: str | None, *, refresh: bool, as_json: bool) -> None:
    """List the instruments of providers, or count those of all providers.

    The lists are requested from the providers on first use and stored in instruments.json in the data folder.
    """
    settings = load_settings()
    chosen = [name.lower() for name in providers] or provider_names()
    with known_to_providers(settings) as lists:
        _load(lists, chosen, again=refresh)
    known = registry.current().all()
    if unknown := [name for name in chosen if not any(each.provider == name for each in known)]:
        expected = ", ".join(sorted({*provider_names(), *(each.provider for each in known)}))
        raise SettingsError(f"unknown provider {unknown[0]!r}: expected one of {expected}")
    found = [each for each in known if each.provider in chosen or not providers]
    found = sorted((each for each in found if kind in (None, each.market.value)), key=lambda each: each.full_name)
    if as_json:
        print_json([as_object(each) for each in found])
    elif providers or kind:
        console().print(_table(found))
    else:
        console().print(_overview(found))
        console().print(
            "list one with: tradeschool markets list PROVIDER; find a pair with: tradeschool markets search"
        )


@markets.command()
@click.argument("text")
@click.option("--provider", help="Only instruments of this provider.")
@json_option
def search(text: str, provider: str | None, *, as_json: bool) -> None:
    """Find instruments by a part of their name, such as SOL or JPY; without a match, the most similar names."""
    with known_to_providers(load_settings()) as lists:
        _load(lists, [provider.lower()] if provider else provider_names(), again=False)
    known = [each for each in registry.current().all() if provider is None or each.provider == provider.lower()]
    matches = _matches(text, known)
    found = matches or names.nearest(text, known)
    if as_json:
        print_json([as_object(each) for each in found])
        return
    if not matches:
        console().print(f"no name contains {text!r}{'; the most similar ones:' if found else ''}")
    if found:
        console().print(_table(found[:FOUND]))
    if len(found) > FOUND:
        console().print(f"{len(found) - FOUND:,} more; add letters, --provider NAME or --json")


@markets.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show one instrument: its tick, calendar, status and stored candles.

    Exit code 2: the name is unknown or ambiguous.
    """
    settings = load_settings()
    with known_to_providers(settings):
        instrument = names.find_instrument(name)
    held = [each for each in stored_inventory(candles_of(settings)) if _is_of(each.dataset, instrument)]
    if as_json:
        print_json(as_object(instrument) | {"datasets": [each.to_json() for each in held]})
        return
    table = Table(instrument.full_name, "", show_header=True)
    for key, value in as_object(instrument).items():
        table.add_row(key.replace("_", " "), str(value))
    for each in held:
        table.add_row(
            each.dataset, f"{', '.join(each.ranges)}: coverage {each.coverage:.3%}, density {each.density:.1%}"
        )
    console().print(table)
    if not held:
        console().print(f"no candles are stored; run: tradeschool fetch --pairs {instrument.full_name}")


def as_object(instrument: Instrument) -> dict[str, str | int | bool]:
    """Return the object of an instrument in JSON."""
    return {
        "name": instrument.full_name,
        "provider": instrument.provider,
        "base": instrument.base,
        "quote": instrument.quote,
        "kind": instrument.market.value,
        "tick": f"{instrument.exact_tick:f}",
        "decimals": instrument.decimals,
        "integer_bits": instrument.integer_bits,
        "calendar": instrument.calendar,
        "has_spread": instrument.has_spread,
        "status": instrument.status,
        "dataset": f"{instrument.provider}/{instrument.name}",
    }


def _load(lists: ProductLists, providers: Iterable[str], *, again: bool) -> None:
    if again:
        lists.refresh(providers)
        return
    for name in providers:
        lists(name, False)


def _matches(text: str, known: Iterable[Instrument]) -> list[Instrument]:
    """Return the instruments whose name contains a text: those whose base is the text first."""
    exact = names.matching(known := tuple(known), text)
    wanted = "".join(letter for letter in text.upper() if letter.isalnum())
    wanted = names.ALIASES.get(wanted, wanted)
    containing = [each for each in known if wanted and wanted in each.base + each.quote]
    ordered = sorted(containing, key=lambda each: (each.base != wanted, each.quote != wanted, each.full_name))
    return list(dict.fromkeys((*exact, *ordered)))


def _is_of(dataset: str, instrument: Instrument) -> bool:
    return dataset.startswith(f"{instrument.provider}/{instrument.name}/")


def _table(found: Iterable[Instrument]) -> Table:
    table = Table("name", "kind", "tick", "calendar", "status")
    for each in found:
        table.add_row(each.full_name, each.market.value, f"{each.exact_tick:f}", each.calendar, each.status)
    return table


def _overview(found: Iterable[Instrument]) -> Table:
    by_provider: dict[str, list[Instrument]] = {}
    for each in found:
        by_provider.setdefault(each.provider, []).append(each)
    lists = registry.current().stored().lists
    table = Table("provider", "instruments", "online", "kinds", "list of")
    for name, members in by_provider.items():
        kinds = Counter(each.market.value for each in members)
        table.add_row(
            name,
            f"{len(members):,}",
            f"{sum(each.status == 'online' for each in members):,}",
            ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()),
            f"{lists[name].fetched_at:%Y-%m-%d %H:%M} UTC" if name in lists else "shipped or defined",
        )
    return table
