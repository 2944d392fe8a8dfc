"""What the flags of a download ask for, and whether it can be asked for."""

from collections.abc import Sequence
from datetime import timedelta

from tradeschool.cli.context import console, now, print_json
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

SETTLED_AFTER = timedelta(hours=36)
"""Age at which providers no longer restate a candle."""


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


def refuse_beside_search(*, sealed: bool, keep_up: bool, dry_run: bool) -> None:
    """What does not go with a search.

    Raises:
        SettingsError: naming the first of what was given all the same.
    """
    for name, is_given in (("--sealed", sealed), ("--follow", keep_up), ("--dry-run", dry_run)):
        if is_given:
            raise SettingsError(f"--then-optimize does not go with {name}: leave one of them out")


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
