"""Readers of foreign candle files: convert them to rows in UTC with the columns of the candle contract."""

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import polars as pl

from fetcher.importing.timestamps import with_utc
from tradeschool.errors import InvalidCandles, SettingsError, first_line
from tradeschool.markets.instruments import Dataset
from tradeschool.ohlcv.arrays import PRICES
from tradeschool.ohlcv.findings import Finding, FindingKind

SUFFIXES = (".csv", ".parquet", ".feather", ".json", ".json.gz")
UNREADABLE = (
    *(OSError, EOFError, ValueError, OverflowError, RecursionError, zlib.error),
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
)
"""Exceptions that the readers raise on truncated, damaged or unrelated files; Polars panics on some of them."""
FREQTRADE_COLUMNS = ("date", *PRICES, "volume")


class FileFormat(StrEnum):
    """Format of a candle file."""

    AUTO = "auto"
    """Detect the format from the file name and the columns."""
    PLAIN = "plain"
    """Columns open, high, low, close, volume and a time column, in any order and case."""
    FREQTRADE = "freqtrade"
    """Feather, parquet or JSON with the columns date, open, high, low, close, volume."""
    CRYPTODATADOWNLOAD = "cryptodatadownload"
    """CSV with a URL in the first line, newest candle first, and one volume column per currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRows:
    """Candles of a file, not yet checked against the contract."""

    frame: pl.DataFrame
    """Columns ts, open, high, low, close, volume and, if the file has it, half_spread; oldest candle first."""
    findings: tuple[Finding, ...]


def read(path: Path, dataset: Dataset, *, form: FileFormat, zone: str | None, now: datetime) -> ImportedRows:
    """Read the candles of a file.

    Raises:
        InvalidCandles: if the file cannot be read, lacks a column, or belongs to another instrument.
        SettingsError: if its file type or the time zone of its times is unknown.
    """
    try:
        raw = _raw(path)
        return _rows(raw.rename({name: name.strip().lower() for name in raw.columns}), dataset, form, zone, now)
    except UNREADABLE as error:
        raise InvalidCandles(f"{path}: cannot be read as candles: {first_line(error)}") from error
    except InvalidCandles as error:
        raise InvalidCandles(f"{path}: {error}") from error


def _rows(raw: pl.DataFrame, dataset: Dataset, form: FileFormat, zone: str | None, now: datetime) -> ImportedRows:
    _check_symbol(raw, dataset)
    by_currency = _volumes(raw)
    seen = bool(by_currency) and "volume" not in raw.columns
    vendor = form is FileFormat.CRYPTODATADOWNLOAD or (form is FileFormat.AUTO and seen)
    needed = FREQTRADE_COLUMNS if form is FileFormat.FREQTRADE else PRICES if vendor else (*PRICES, "volume")
    if missing := [name for name in needed if name not in raw.columns]:
        raise InvalidCandles(f"column {', '.join(missing)} is missing; found {', '.join(raw.columns)}")
    timed = with_utc(raw, zone)
    findings: list[Finding] = []
    if vendor:
        timed = _with_base_volume(timed, by_currency, dataset, findings)
    timed = _without_unfinished(timed, dataset, now, findings, vendor=vendor)
    columns = [name for name in (*PRICES, "volume", "half_spread") if name in timed.columns]
    return ImportedRows(
        frame=timed.select("ts", *(pl.col(name).cast(pl.Float64) for name in columns)), findings=tuple(findings)
    )


def _raw(path: Path) -> pl.DataFrame:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return pl.read_parquet(path, hive_partitioning=False)
    if name.endswith(".feather"):
        return pl.read_ipc(path)
    if name.endswith((".json", ".json.gz")):
        body = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        return _json(body)
    if name.endswith(".csv"):
        return _csv(path.read_bytes())
    raise SettingsError(f"{path}: unknown file type; expected a name that ends in {', '.join(SUFFIXES)}")


def _json(body: bytes) -> pl.DataFrame:
    rows = json.loads(body)
    width = len(FREQTRADE_COLUMNS)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == width for row in rows):
        raise InvalidCandles(f"expected a list of rows of {width} values: {', '.join(FREQTRADE_COLUMNS)}")
    return pl.DataFrame(rows, schema=list(FREQTRADE_COLUMNS), orient="row")


def _csv(body: bytes) -> pl.DataFrame:
    """Parse CSV; a vendor's URL line before the header is skipped."""
    first = body[: body.find(b"\n") + 1]
    is_address = b"://" in first or b"www." in first.lower()
    return pl.read_csv(io.BytesIO(body[len(first) :] if is_address else body), infer_schema_length=None)


def _check_symbol(raw: pl.DataFrame, dataset: Dataset) -> None:
    if "symbol" not in raw.columns:
        return
    for symbol in raw["symbol"].cast(pl.String).unique().drop_nulls().sort():
        if not symbol.strip().upper().startswith(dataset.instrument.base):
            raise InvalidCandles(f"contains symbol {symbol}, expected {dataset.instrument.pair}")


def _volumes(raw: pl.DataFrame) -> list[str]:
    return [name for name in raw.columns if name.startswith("volume ")]


def _with_base_volume(
    frame: pl.DataFrame, volumes: list[str], dataset: Dataset, findings: list[Finding]
) -> pl.DataFrame:
    """Add `volume` in base units; detects swapped columns per row, as quote volume is base volume times price."""
    base = f"volume {dataset.instrument.base.lower()}"
    if base not in volumes:
        raise InvalidCandles(f"column {base!r} is missing; found {', '.join(frame.columns)}")
    frame = frame.with_columns(pl.col("close", *volumes).cast(pl.Float64))
    others = [name for name in volumes if name != base]
    if not others:
        return frame.with_columns(volume=pl.col(base))
    # If the price is above 1, the base volume is the smaller of the two, otherwise the larger.
    swapped = (pl.col(base) != pl.col(others[0])) & ((pl.col(base) > pl.col(others[0])) == (pl.col("close") > 1))
    frame = frame.with_columns(
        swapped.alias("swapped"), volume=pl.when(swapped).then(pl.col(others[0])).otherwise(pl.col(base))
    )
    if rows := frame.filter("swapped").height:
        words = f"{base!r} and {others[0]!r} are swapped in {rows} rows; the base volume was used"
        findings.append(_finding(FindingKind.SWAPPED_VOLUMES, frame.filter("swapped"), dataset, words))
    return frame


def _without_unfinished(
    frame: pl.DataFrame, dataset: Dataset, now: datetime, findings: list[Finding], *, vendor: bool
) -> pl.DataFrame:
    """Drop unfinished candles: not yet closed, or, from a vendor, a last candle without volume."""
    unfinished = pl.col("ts") + dataset.timeframe.duration > now
    if vendor:
        unfinished |= (pl.int_range(pl.len()) == pl.len() - 1) & (pl.col("volume") == 0)
    left_out = frame.filter(unfinished)
    if left_out.height:
        words = f"dropped from {left_out['ts'].item(0):%Y-%m-%d %H:%M} on, because the candle was unfinished"
        findings.append(_finding(FindingKind.UNFINISHED, left_out, dataset, words))
    return frame.filter(~unfinished)


def _finding(kind: FindingKind, rows: pl.DataFrame, dataset: Dataset, words: str) -> Finding:
    end = rows["ts"].item(-1) + dataset.timeframe.duration
    return Finding(kind=kind, start=rows["ts"].item(0), end=end, rows=rows.height, message=words)
