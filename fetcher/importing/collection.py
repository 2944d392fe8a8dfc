"""Collection: reads all files of one dataset into candles by year, checked, resampled and joined to mid prices."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from fetcher.importing.candle_times import close_of, closes_of, opens_of
from fetcher.importing.file_facts import FileFacts
from fetcher.importing.file_reader import FileReader
from fetcher.importing.files.errors import invalid
from fetcher.importing.files.tables import LINE
from fetcher.importing.forms.layout import Side
from fetcher.importing.request import ImportRequest
from fetcher.importing.resampling import FILE, merged, parts_of
from fetcher.importing.rows.spreads import mid_of
from fetcher.importing.year_files import YearFiles
from tradeschool.errors import InvalidCandles, SettingsError
from tradeschool.markets.instruments import Dataset
from tradeschool.ohlcv.arrays import PRICES
from tradeschool.ohlcv.findings import Finding, FindingKind
from tradeschool.ohlcv.frame import schema

LEAST_ROWS = 6
"""Rows of a file from which a coarser grid of its times is no coincidence."""
ReportRead = Callable[[str, int], None]
"""Is told the name of a file and how many of its bytes were read."""


@dataclass(slots=True, kw_only=True)
class Collection:
    """Candles of one dataset from several files, in temporary files by year."""

    dataset: Dataset
    readers: list[FileReader]
    parts: dict[Side, YearFiles]
    candles: YearFiles
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def facts(self) -> list[FileFacts]:
        """Facts of the files, in the order of the files."""
        return [reader.facts for reader in self.readers]

    @property
    def source_step(self) -> int:
        """Distance between the candles of the files in seconds; the dataset's if no file has two candles."""
        steps = [facts.step for facts in self.facts if facts.step]
        return min(steps, default=self.dataset.timeframe.seconds)

    def close(self) -> None:
        """Remove the temporary files."""
        for files in (*self.parts.values(), self.candles):
            files.close()


def collect(
    dataset: Dataset, readers: list[FileReader], request: ImportRequest, folder: Path, now: datetime, report: ReportRead
) -> Collection:
    """Read the files of a dataset.

    Raises:
        InvalidCandles: if a row is damaged or breaks a rule, or the files contradict each other.
        SettingsError: if an option is missing or does not fit.
    """
    _check_spread(dataset, readers, request)
    collection = Collection(
        dataset=dataset,
        readers=readers,
        parts={side: YearFiles(folder) for side in Side},
        candles=YearFiles(folder),
    )
    try:
        for at, reader in enumerate(readers):
            _read(collection, at, request, now, report)
            _check_step(reader, dataset, request)
        _merge(collection)
        _leave_out(collection, now)
    except BaseException:
        collection.close()
        raise
    return collection


def _check_spread(dataset: Dataset, readers: Iterable[FileReader], request: ImportRequest) -> None:
    sides = {reader.layout.side if reader.is_one_side else Side.MID for reader in readers}
    if not dataset.instrument.has_spread:
        if request.spread_pips is not None:
            raise SettingsError(f"--spread-pips {request.spread_pips:g}: {dataset} has no spread; omit the option")
        return
    if sides == {Side.BID, Side.ASK}:
        return
    for reader in readers:
        has_spread = bool({"spread", "half_spread"} & reader.layout.columns.keys()) or reader.layout.is_both
        if request.spread_pips is None and not has_spread:
            other = "" if reader.layout.side is Side.MID else ", or import it together with the file of the other side"
            raise SettingsError(
                f"{dataset}: {reader.file.name}: the file has no half_spread: give the full spread, such as "
                f"--spread-pips 1.4{other}"
            )


def _read(collection: Collection, at: int, request: ImportRequest, now: datetime, report: ReportRead) -> None:
    reader, dataset = collection.readers[at], collection.dataset
    name = reader.file.name
    files = collection.parts[reader.layout.side if reader.is_one_side else Side.MID]
    for rows in reader.rows(dataset.instrument, now, lambda done: report(name, done)):
        opens = opens_of(rows["ts"], dataset)
        if not request.resample and (off := rows.filter(rows["ts"] != opens)).height:
            raise _off_grid(reader, dataset, off)
        if request.window:
            is_inside = (opens >= request.window.start) & (closes_of(opens, dataset) <= request.window.end)
            rows, opens = rows.filter(is_inside), opens.filter(is_inside)
        files.add(parts_of(rows, opens, at))


def _off_grid(reader: FileReader, dataset: Dataset, off: pl.DataFrame) -> InvalidCandles:
    step, expected = reader.facts.step, dataset.timeframe.seconds
    line = int(off[LINE].min())  # type: ignore[arg-type]
    if 0 < step < expected:
        return invalid(
            reader.file.name,
            f"{FindingKind.WRONG_STEP}: the candles are {step} s apart, expected {expected} s; "
            f"add --resample to make {dataset.timeframe.name} candles",
            line=line,
            unit=reader.head.unit,
        )
    time = off.filter(pl.col(LINE) == line)["ts"].item(0)
    return invalid(
        reader.file.name,
        f"the time {time:%Y-%m-%d %H:%M:%S} UTC must lie on the {dataset.timeframe.name} grid; check the time zone "
        "and the timeframe",
        line=line,
        unit=reader.head.unit,
    )


def _check_step(reader: FileReader, dataset: Dataset, request: ImportRequest) -> None:
    facts, expected = reader.facts, dataset.timeframe.seconds
    if facts.rows >= LEAST_ROWS and facts.grid > expected:
        raise InvalidCandles(
            f"{facts.name}: {FindingKind.WRONG_STEP}: the candles are {facts.step} s apart, "
            f"expected {expected} s; check the timeframe"
        )
    if request.resample and facts.grid and expected % facts.grid:
        raise InvalidCandles(
            f"{dataset}: {facts.name}: candles {facts.grid} s apart cannot be resampled to {expected} s"
        )


def _merge(collection: Collection) -> None:
    """Merge the parts of each year to candles, and bid and ask candles to mid candles."""
    has_sides = bool(collection.parts[Side.BID].years or collection.parts[Side.ASK].years)
    if has_sides and collection.parts[Side.MID].years and collection.dataset.instrument.has_spread:
        raise InvalidCandles(f"{collection.dataset}: some files have bid or ask prices and others mid prices")
    years = sorted({year for files in collection.parts.values() for year in files.years})
    columns = [*schema(collection.dataset), "first", "last", "rows", LINE, FILE]
    for year in years:
        sides = {
            side: _merged(collection, files, year) for side, files in collection.parts.items() if year in files.years
        }
        if collection.dataset.instrument.has_spread and has_sides:
            rows = _joined(collection, sides)
        else:
            rows = pl.concat(sides.values())
        collection.candles.add(rows.select(columns))
        for files in collection.parts.values():
            files.replace(year, rows.clear())


def _merged(collection: Collection, files: YearFiles, year: int) -> pl.DataFrame:
    candles, clash, repeated = merged(files.read(year))
    if clash.height:
        first, second = clash.head(2).iter_rows(named=True)
        raise invalid(
            collection.readers[second[FILE]].file.name,
            f"the candle {second['ts']:%Y-%m-%d %H:%M} is also in {_place(collection, first)}, with other values or "
            "other rows",
            line=second[LINE],
            unit=collection.readers[second[FILE]].head.unit,
        )
    if repeated:
        collection.notes.append(f"{repeated:,} candles of {year} are in two files alike; each was used once")
    return candles


def _place(collection: Collection, row: dict[str, object]) -> str:
    reader = collection.readers[int(str(row[FILE]))]
    return f"{reader.file.name}, {reader.head.unit} {row[LINE]}"


def _joined(collection: Collection, sides: dict[Side, pl.DataFrame]) -> pl.DataFrame:
    """Return mid candles of bid and ask candles.

    Raises:
        InvalidCandles: if a candle of one side has none of the other, or an ask price is below its bid price.
    """
    empty = next(iter(sides.values())).clear()
    renamed = {
        side: sides.get(side, empty).rename({name: f"{side}_{name}" for name in PRICES})
        for side in (Side.BID, Side.ASK)
    }
    for side, other in ((Side.BID, Side.ASK), (Side.ASK, Side.BID)):
        alone = renamed[side].join(renamed[other], on="ts", how="anti", maintain_order="left")
        if alone.height:
            row = alone.row(0, named=True)
            words = f"the {side} candle {row['ts']:%Y-%m-%d %H:%M} UTC has no {other} candle in the other files"
            raise _at(collection, row, words)
    ask = renamed[Side.ASK].select("ts", *(f"ask_{name}" for name in PRICES))
    both = renamed[Side.BID].join(ask, on="ts", how="inner", maintain_order="left")
    crossed = both.filter(pl.col("ask_open") < pl.col("bid_open"))
    if crossed.height:
        row = crossed.row(0, named=True)
        raise _at(collection, row, f"the bid {row['bid_open']} is above the ask {row['ask_open']}")
    return mid_of(both, collection.dataset.instrument)


def _at(collection: Collection, row: dict[str, object], words: str) -> InvalidCandles:
    reader = collection.readers[int(str(row[FILE]))]
    return invalid(reader.file.name, words, line=int(str(row[LINE])), unit=reader.head.unit)


def _leave_out(collection: Collection, now: datetime) -> None:
    """Leave out unfinished candles at both ends: not closed yet, without all their rows, or said so by the form."""
    if not collection.candles.years:
        return
    step = pl.duration(seconds=collection.source_step)
    newest, oldest = collection.candles.years[-1], collection.candles.years[0]
    rows = collection.candles.read(newest)
    is_newest = pl.col("ts") == pl.col("ts").max()
    closes = closes_of(rows["ts"], collection.dataset)
    is_cut = is_newest & (pl.col("last") + step < closes)
    files = [at for at, reader in enumerate(collection.readers) if reader.layout.ends_unfinished]
    is_empty = is_newest & pl.col(FILE).is_in(files) & (pl.col("volume") == 0)
    _drop(collection, newest, rows, (closes > now) | is_cut | is_empty)
    if oldest in collection.candles.years:
        rows = collection.candles.read(oldest)
        _drop(collection, oldest, rows, (pl.col("ts") == pl.col("ts").min()) & (pl.col("first") > pl.col("ts")))


def _drop(collection: Collection, year: int, rows: pl.DataFrame, unfinished: pl.Expr) -> None:
    left_out = rows.filter(unfinished)
    if not left_out.height:
        return
    collection.candles.replace(year, rows.filter(~unfinished))
    time, count = left_out["ts"].item(0), int(left_out["rows"].item(0))
    words = f"dropped from {time:%Y-%m-%d %H:%M} on, because the candle was unfinished"
    if collection.source_step < collection.dataset.timeframe.seconds:
        whole = collection.dataset.timeframe.seconds // collection.source_step
        words = f"left out {time:%Y-%m-%d %H:%M}, because the file has {count} of its {whole} candles"
    end = close_of(left_out["ts"].item(-1), collection.dataset)
    finding = Finding(kind=FindingKind.UNFINISHED, start=time, end=end, rows=left_out.height, message=words)
    collection.findings.append(finding)
