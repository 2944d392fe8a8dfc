"""Selection of the ranges to download from command-line options, and checks of that selection."""

from collections.abc import Sequence
from datetime import timedelta

from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import (
    CURRICULUM_INSTRUMENTS,
    INSTRUMENTS,
    DatasetRange,
    default_catalogue,
    find_instrument,
    holdout_catalogue,
)
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe, find_timeframe
from tradeschool.markets.windows import Window, parse_timerange
from tradeschool.store import Store
from tradeschool.views.terminal import console, now, print_json

SETTLED_AFTER = timedelta(hours=36)
"""Age after which providers no longer revise a candle."""


def say_nothing_to_do(wanted: Sequence[DatasetRange], store: Store, *, as_json: bool) -> None:
    """Report that all wanted ranges are sealed."""
    if as_json:
        print_json([])
    else:
        console().print(f"up to date: all {len(wanted)} dataset ranges are sealed in {store.root}")


def choose(
    pairs: str | None, timeframes: str | None, timerange: str | None, *, holdout: bool = False
) -> list[DatasetRange]:
    """Return the selected ranges in the catalogue's order.

    Raises:
        SettingsError: If a pair, timeframe or time range is invalid.
    """
    named = {find_instrument(pair) for pair in pairs.split(",")} if pairs else set(CURRICULUM_INSTRUMENTS)
    instruments = [instrument for instrument in INSTRUMENTS if instrument in named]
    frames = {find_timeframe(name) for name in timeframes.split(",")} if timeframes else set(Timeframe)
    window = parse_timerange(timerange) if timerange else None
    chosen: dict[tuple[Dataset, Window], DatasetRange] = {}
    for want in holdout_catalogue(instruments) if holdout else default_catalogue(instruments):
        if want.dataset.timeframe in frames:
            this = DatasetRange(dataset=want.dataset, window=window or want.window)
            chosen.setdefault((this.dataset, this.window), this)
    return list(chosen.values())


def refuse_with_search(*, holdout: bool, keep_up: bool, dry_run: bool) -> None:
    """Refuse options that cannot be combined with --then-optimize.

    Raises:
        SettingsError: If one of them is given; the message contains its name.
    """
    for name, is_given in (("--holdout", holdout), ("--follow", keep_up), ("--dry-run", dry_run)):
        if is_given:
            raise SettingsError(f"--then-optimize cannot be combined with {name}; remove one of them")


def refuse_unsettled(wanted: Sequence[DatasetRange]) -> None:
    """Refuse ranges that end in the future or contain candles that the provider may still revise.

    Raises:
        SettingsError: If a range ends too late; the message contains the latest possible end.
    """
    settled = now() - SETTLED_AFTER
    for want in wanted:
        if want.window.end > settled:
            raise SettingsError(
                f"time range {want.window} ends after {settled:%Y-%m-%d %H:%M} UTC: later candles may still be "
                f"revised; the latest possible end is {settled:%Y%m%d}"
            )
