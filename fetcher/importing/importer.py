"""Import of candle files: checks the candles of a file and seals them, with the file name as source."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from fetcher.download.sealing import gaps
from fetcher.importing.file_formats import FileFormat, ImportedRows, read
from tradeschool.errors import InvalidCandles, SettingsError
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.instruments import Dataset, Market
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import Finding, FindingKind, refuse
from tradeschool.ohlcv.frame import Candles, schema
from tradeschool.ohlcv.validation import inspect, usual_spacing
from tradeschool.store import GapReason, Seal, Store
from tradeschool.store.frame_store import FrameStore
from tradeschool.store.seal import IMPORTED

TICKS_PER_PIP = 10


def import_file(
    path: Path,
    dataset: Dataset,
    store: FrameStore,
    *,
    form: FileFormat,
    zone: str | None,
    spread_pips: float | None,
    window: Window | None,
    now: datetime,
) -> Seal:
    """Import the candles of a file, or those in `window`, and seal them; imported ranges inside are replaced.

    Raises:
        InvalidCandles: if the candles violate the contract or have a finding of severity `refuse`.
        SettingsError: if an option such as the spread is missing, or the range is already sealed.
        StoreUnwritable: if a file cannot be written.
    """
    rows = read(path, dataset, form=form, zone=zone, now=now)
    frame = _with_spread(rows.frame, dataset, spread_pips)
    if window:
        frame = frame.filter(pl.col("ts").is_between(window.start, window.end, closed="left"))
    if frame.is_empty():
        raise InvalidCandles(f"{path}: no candles{f' in {window}' if window else ''}")
    wanted = DatasetRange(dataset=dataset, window=window or _spanned(frame, dataset))
    candles, findings = _checked(frame, wanted, rows, path)
    _make_room(wanted, store)
    return _seal(wanted, candles, findings, store, source=f"{IMPORTED}{path.name}", now=now)


def _with_spread(frame: pl.DataFrame, dataset: Dataset, spread_pips: float | None) -> pl.DataFrame:
    if dataset.instrument.market is not Market.FX:
        if spread_pips is not None:
            raise SettingsError(f"--spread-pips {spread_pips:g}: {dataset} has no spread; omit the option")
        return frame.select(schema(dataset).keys())
    if spread_pips is not None:
        half = spread_pips * TICKS_PER_PIP * dataset.instrument.tick / 2
        frame = frame.with_columns(half_spread=pl.lit(half))
    elif "half_spread" not in frame.columns:
        raise SettingsError(f"{dataset}: the file has no half_spread: give the full spread, such as --spread-pips 1.4")
    return frame.select(schema(dataset).keys())


def _spanned(frame: pl.DataFrame, dataset: Dataset) -> Window:
    """Return the window from the first candle's open to the last candle's close."""
    times = frame["ts"].dt.epoch("s").to_numpy()
    return Window.of_seconds(int(times.min()), int(times.max()) + dataset.timeframe.seconds)


def _checked(
    frame: pl.DataFrame, wanted: DatasetRange, rows: ImportedRows, path: Path
) -> tuple[Candles, tuple[Finding, ...]]:
    dataset, step = wanted.dataset, wanted.dataset.timeframe.seconds
    spacing = usual_spacing(frame["ts"].dt.epoch("s").to_numpy())
    if 0 < spacing < step:  # checked before the contract, which would only report candles off the grid
        raise InvalidCandles(
            f"{dataset}: {FindingKind.WRONG_STEP} in {path}: the candles are {spacing} s apart, expected {step} s"
        )
    candles = Candles.parse(frame, dataset, wanted.window)
    start, end = wanted.window.start, wanted.window.end
    # A dropped candle begins at `end`.
    touching = [each for each in rows.findings if start < each.end and each.start <= end]
    findings = (*inspect(candles), *touching)
    refuse(dataset, findings, f"check {path}, its time zone and its timeframe")
    return candles, findings


def _make_room(wanted: DatasetRange, store: Store) -> None:
    """Unseal the imported ranges inside the window; any other overlap with a sealed range is an error."""
    touched = [seal for seal in store.seals(wanted.dataset) if seal.window.overlap(wanted.window)]
    for seal in touched:
        if not (seal.is_imported and wanted.window.contains(seal.window)):
            raise SettingsError(
                f"{wanted.dataset}: {wanted.window} overlaps {seal.window}, which is already sealed ({seal.source}); "
                "use a --timerange that does not overlap"
            )
    for seal in touched:
        store.unseal(wanted.dataset, seal.window)


def _seal(
    wanted: DatasetRange,
    candles: Candles,
    findings: Sequence[Finding],
    store: FrameStore,
    *,
    source: str,
    now: datetime,
) -> Seal:
    expected = expected_slots(wanted.dataset, wanted.window)
    seal = Seal(
        dataset=wanted.dataset.name,
        start=wanted.window.start,
        end=wanted.window.end,
        rows=len(candles),
        expected=len(expected),
        gaps=tuple(gaps(wanted.dataset, expected, candles.times, GapReason.NOT_IN_FILE)),
        derived=False,
        source=source,
        files=tuple(
            store.write_year(candles.within(part), wanted.window, year) for year, part in wanted.window.years()
        ),
        findings=tuple(findings),
        sealed_at=now,
    )
    store.seal(wanted.dataset, seal)
    return seal
