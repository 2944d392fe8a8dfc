"""`tradeschool fetch`: download candles and seal them."""

from collections.abc import Sequence
from datetime import timedelta

import click

from tradeschool.cli.context import (
    candles_of,
    console,
    json_option,
    load_settings,
    now,
    print_json,
    sealed_candles_of,
)
from tradeschool.errors import SettingsError
from tradeschool.market import (
    CURRICULUM_INSTRUMENTS,
    INSTRUMENTS,
    Dataset,
    Timeframe,
    Wanted,
    Window,
    default_catalogue,
    find_instrument,
    find_timeframe,
    parse_timerange,
    sealed_catalogue,
)
from tradeschool.store import Store
from tradeschool.store.files import is_swept

SETTLED_AFTER = timedelta(hours=36)
"""Age at which providers no longer restate a candle."""


@click.command()
@click.option("--pairs", help="Such as BTC/USD,EUR/USD; the curriculum's when not given.")
@click.option("--timeframes", help="Such as M5,H1; all when not given.")
@click.option("--timerange", help="Such as 20200101-20240101, end excluded; the catalogue's when not given.")
@click.option("--native", is_flag=True, help="Ask the provider for M15 and H1 too, instead of deriving them.")
@click.option("--sealed", is_flag=True, help="Fetch the sealed period, into a folder that no search reads.")
@click.option("--follow", "keep_up", is_flag=True, help="Stay, and keep what was chosen up to date; its end is now.")
@click.option("--every", type=click.FloatRange(1), default=300, show_default=True, help="Seconds between two rounds.")
@click.option("--dry-run", is_flag=True, help="Print requests, time at the limit and disk space, and ask nothing.")
@json_option
def fetch(
    pairs: str | None,
    timeframes: str | None,
    timerange: str | None,
    *,
    native: bool,
    sealed: bool,
    keep_up: bool,
    every: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Download candles and seal them; run it again after any interruption to go on where it stopped."""
    settings = load_settings()
    wanted = choose(pairs, timeframes, timerange, sealed=sealed)
    store = sealed_candles_of(settings) if sealed else candles_of(settings)
    if not keep_up:
        refuse_unsettled(wanted)
        if not dry_run and store.holds_all(wanted) and is_swept(store.root):
            say_nothing_to_do(wanted, store, as_json=as_json)
            return
    # Only now: what speaks HTTP and makes frames takes longer to import than it takes to see that all is there.
    from tradeschool.cli import downloading

    if dry_run:
        downloading.show_plan(wanted, store, settings, native=native, as_json=as_json)
    elif keep_up:
        downloading.keep_up(wanted, store, settings, native=native, every=every, settled_after=SETTLED_AFTER)
    else:
        downloading.fetch_all(wanted, store, settings, native=native, as_json=as_json)


def say_nothing_to_do(wanted: Sequence[Wanted], store: Store, *, as_json: bool) -> None:
    """All that is wanted is sealed."""
    if as_json:
        print_json([])
    else:
        console().print(f"nothing to do: all {len(wanted)} dataset ranges are sealed in {store.root}")


def choose(pairs: str | None, timeframes: str | None, timerange: str | None, *, sealed: bool = False) -> list[Wanted]:
    """What the flags ask for, in the catalogue's order.

    Raises:
        SettingsError: where a pair, timeframe or range is unknown.
    """
    named = {find_instrument(pair) for pair in pairs.split(",")} if pairs else set(CURRICULUM_INSTRUMENTS)
    instruments = [instrument for instrument in INSTRUMENTS if instrument in named]
    frames = {find_timeframe(name) for name in timeframes.split(",")} if timeframes else set(Timeframe)
    window = parse_timerange(timerange) if timerange else None
    chosen: dict[tuple[Dataset, Window], Wanted] = {}
    for want in sealed_catalogue(instruments) if sealed else default_catalogue(instruments):
        if want.dataset.timeframe in frames:
            this = Wanted(dataset=want.dataset, window=window or want.window)
            chosen.setdefault((this.dataset, this.window), this)
    return list(chosen.values())


def refuse_unsettled(wanted: Sequence[Wanted]) -> None:
    """Candles of the future, or so young that their provider may still restate them, cannot be sealed.

    Raises:
        SettingsError: with the last day that can be asked for.
    """
    settled = now() - SETTLED_AFTER
    for want in wanted:
        if want.window.end > settled:
            raise SettingsError(
                f"time range {want.window} ends after {settled:%Y-%m-%d %H:%M} UTC: younger candles are not settled; "
                f"the latest end is {settled:%Y%m%d}"
            )
