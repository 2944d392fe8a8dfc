"""Scale check: compares the prices of an import with stored candles of the same instrument, to refuse another pair."""

from datetime import timedelta

import numpy as np

from fetcher.importing.collection import Collection
from fetcher.importing.files.errors import invalid
from tradeschool.errors import DataError
from tradeschool.markets.instruments import Dataset, Instrument, Market
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays
from tradeschool.store import Store

SAMPLE = timedelta(days=7)
"""Length of the stored range that is compared."""
SAME_TIME_RATIO = {Market.FX: 1.02, Market.BOND: 1.02}
"""Largest ratio of prices at the same time, by market; `OTHER_SAME_TIME` for the rest."""
OTHER_SAME_TIME = 1.1
NEAR = timedelta(days=7)
NEAR_RATIO = {Market.FX: 1.1, Market.BOND: 1.1}
"""Largest ratio of prices that are at most `NEAR` apart; `OTHER_NEAR` for the rest. Each month multiplies it again."""
OTHER_NEAR = 1.6
MONTH = timedelta(days=30)


def check_scale(collection: Collection, window: Window, store: Store) -> None:
    """Compare the prices of an import with the stored candles that are nearest in time, of any timeframe.

    Imported ranges that the import replaces do not count.

    Raises:
        InvalidCandles: if the prices are of another scale.
    """
    dataset = collection.dataset
    for stored, sealed in _nearest(dataset, window, store):
        overlap = window.overlap(sealed)
        try:
            _compare(collection, window, store, stored, sealed, overlap)
        except DataError as error:
            if "prices" in str(error):
                raise
        return


def _compare(
    collection: Collection, window: Window, store: Store, stored: Dataset, sealed: Window, overlap: Window | None
) -> None:
    if overlap:
        part = Window(overlap.start, min(overlap.end, overlap.start + SAMPLE))
    elif sealed.end <= window.start:
        part = Window(max(sealed.start, sealed.end - SAMPLE), sealed.end)
    else:
        part = Window(sealed.start, min(sealed.end, sealed.start + SAMPLE))
    candles = store.arrays(stored, part)
    rows = _rows(collection, part) if overlap else _rows_near(collection, part)
    if not len(candles) or rows is None:
        return
    price, time, row = rows
    known = _price_at(candles, time, is_median=overlap is not None)
    ratio = max(price / known, known / price)
    distance = None if overlap else _distance(window, sealed)
    if ratio <= limit(collection.dataset.instrument, distance):
        return
    reader = collection.readers[row[0]]
    raise invalid(
        reader.file.name,
        f"prices of about {price:g} differ by a factor of {ratio:.3g} from the {known:g} of {stored} in {part}; "
        f"is it a file of another pair than {collection.dataset.instrument.pair}?",
        line=row[1],
        unit=reader.head.unit,
    )


def limit(instrument: Instrument, distance: timedelta | None) -> float:
    """Return the largest plausible ratio between prices of an instrument that are a time apart; None at one time."""
    if distance is None:
        return SAME_TIME_RATIO.get(instrument.market, OTHER_SAME_TIME)
    near = NEAR_RATIO.get(instrument.market, OTHER_NEAR)
    return float(near ** (1 + max(distance - NEAR, timedelta()) / MONTH))


def _nearest(dataset: Dataset, window: Window, store: Store) -> list[tuple[Dataset, Window]]:
    """Return the sealed ranges of the instrument, the nearest first."""
    found = []
    for timeframe in Timeframe:
        stored = dataset.at(timeframe)
        try:
            seals = store.seals(stored)
        except DataError:
            continue  # what cannot be read is not compared
        for seal in seals:
            is_replaced = stored == dataset and seal.is_imported and window.contains(seal.window)
            if seal.rows and not is_replaced:
                found.append((stored, seal.window))
    return sorted(found, key=lambda each: _distance(window, each[1]))


def _distance(window: Window, other: Window) -> timedelta:
    return max(other.start - window.end, window.start - other.end, timedelta())


def _rows(collection: Collection, part: Window) -> tuple[float, int, tuple[int, int]] | None:
    """Return the median close inside of a range, its first time, and file and line of the first row."""
    for year in (part.start.year, part.end.year):
        if year not in collection.candles.years:
            continue
        frame = collection.candles.read(year)
        inside = frame.filter((frame["ts"] >= part.start) & (frame["ts"] < part.end))
        if inside.height:
            row = inside.row(0, named=True)
            return float(np.median(inside["close"].to_numpy())), int(row["ts"].timestamp()), (row["file"], row["line"])
    return None


def _rows_near(collection: Collection, part: Window) -> tuple[float, int, tuple[int, int]] | None:
    """Return the close of the row next to a range outside of the import, its time, and its file and line."""
    years = collection.candles.years
    first = collection.candles.read(years[0])
    is_before = first["ts"].item(0) >= part.end
    row = (first if is_before else collection.candles.read(years[-1])).row(0 if is_before else -1, named=True)
    return float(row["close"]), int(row["ts"].timestamp()), (row["file"], row["line"])


def _price_at(candles: CandleArrays, time: int, *, is_median: bool) -> float:
    if is_median:
        return float(np.median(candles.close))
    return float(candles.close[-1] if candles.time[-1] < time else candles.close[0])
