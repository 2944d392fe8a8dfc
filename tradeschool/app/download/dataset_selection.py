"""Selection of the ranges to download from command-line options, and checks of that selection."""

from collections.abc import Sequence
from datetime import datetime

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
from tradeschool.markets.timeframes import DEFAULT_TIMEFRAMES, find_timeframes
from tradeschool.markets.timerange import SETTLED_AFTER, TimeRange
from tradeschool.markets.windows import Window
from tradeschool.store import Store
from tradeschool.views.terminal import console, now, print_json


def say_nothing_to_do(wanted: Sequence[DatasetRange], store: Store, *, as_json: bool) -> None:
    """Report that all wanted ranges are sealed."""
    if as_json:
        print_json([])
    else:
        console().print(f"up to date: all {len(wanted)} dataset ranges are sealed in {store}")


def choose(
    pairs: str | None, timeframes: str | None, timerange: TimeRange | None, *, holdout: bool = False
) -> list[DatasetRange]:
    """Return the selected ranges in the catalogue's order.

    An open start is the first day of the dataset in the catalogue, an open end the last settled day.

    Raises:
        SettingsError: If a pair, timeframe or time range is invalid.
    """
    named = [find_instrument(pair) for pair in pairs.split(",")] if pairs else CURRICULUM_INSTRUMENTS
    instruments = [each for each in dict.fromkeys((*INSTRUMENTS, *named)) if each in named]
    frames = find_timeframes(timeframes) if timeframes else DEFAULT_TIMEFRAMES
    last = settled_until().replace(hour=0, minute=0, second=0, microsecond=0)
    catalogue = holdout_catalogue(instruments, frames) if holdout else default_catalogue(instruments, frames)
    chosen: dict[tuple[Dataset, Window], DatasetRange] = {}
    for want in catalogue:
        first = min(other.window.start for other in catalogue if other.dataset == want.dataset)
        window = timerange.window(first=first, last=last) if timerange else want.window
        this = DatasetRange(dataset=want.dataset, window=window)
        chosen.setdefault((this.dataset, this.window), this)
    return list(chosen.values())


def settled_until() -> datetime:
    """Return the time before which providers no longer revise a candle."""
    return now() - SETTLED_AFTER


def refuse_with_search(*, holdout: bool, keep_up: bool, dry_run: bool) -> None:
    """Refuse options that cannot be combined with --then-optimize.

    Raises:
        SettingsError: If one of them is given; the message contains its name.
    """
    for name, is_given in (("--holdout", holdout), ("--follow", keep_up), ("--dry-run", dry_run)):
        if is_given:
            raise SettingsError(f"--then-optimize cannot be combined with {name}; remove one of them")


def refuse_with_curriculum(*chosen: object) -> None:
    """Refuse options that choose ranges next to a curriculum file, which names its own.

    Raises:
        SettingsError: If one of them is given.
    """
    if any(each is not None for each in chosen):
        raise SettingsError(
            "--curriculum names pairs, timeframes and ranges: remove --pairs, --timeframes, --timerange and --days"
        )


def refuse_unsettled(wanted: Sequence[DatasetRange]) -> None:
    """Refuse ranges that end in the future or contain candles that the provider may still revise.

    Raises:
        SettingsError: If a range ends too late; the message contains the latest possible end.
    """
    settled = settled_until()
    for want in wanted:
        if want.window.end > settled:
            raise SettingsError(
                f"time range {want.window} ends after {settled:%Y-%m-%d %H:%M} UTC: later candles may still be "
                f"revised; the latest possible end is {settled:%Y%m%d}"
            )
