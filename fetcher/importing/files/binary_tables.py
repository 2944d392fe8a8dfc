"""Parquet, feather and JSON tables: reads batches of typed rows."""

import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any

import polars as pl

from fetcher.importing.files.errors import invalid
from fetcher.importing.files.sources import CandleFile
from fetcher.importing.files.tables import LINE, SAMPLE_ROWS, Head, Progress, no_progress, plain_name, unique_names
from tradeschool.errors import first_line

BATCH_ROWS = 1 << 16
MAX_JSON_BYTES = 256 << 20
"""Largest JSON document; it is parsed as a whole."""
JSON_COLUMNS = ("date", "open", "high", "low", "close", "volume")
"""Columns of rows without names: the order of freqtrade and ccxt."""
UNREADABLE = (OSError, EOFError, ValueError, OverflowError, RecursionError, MemoryError, zlib.error, zipfile.BadZipFile)
"""Exceptions of the readers on damaged files; those of pyarrow and polars are subclasses of some of them or added."""


class ArrowTable:
    """A parquet or feather file, read in batches with pyarrow."""

    def __init__(self, file: CandleFile, batch_rows: int = BATCH_ROWS) -> None:
        self._file, self._batch_rows = file, batch_rows
        first = next(self._frames(None), None)
        if first is None or not first.height:
            raise invalid(file.name, "is empty; expected candles")
        self.head = _head(file, first.head(SAMPLE_ROWS))
        self._places = dict(zip(self.head.columns, first.columns, strict=True))

    def batches(self, columns: Sequence[str], progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
        """Yield the rows, see `Table`."""
        chosen = list(dict.fromkeys(columns))
        done = 0
        for frame in self._frames([self._places[name] for name in chosen]):
            rows = pl.int_range(done + 1, done + frame.height + 1, dtype=pl.Int64, eager=True).alias(LINE)
            done += frame.height
            yield frame.select(pl.col(self._places[name]).alias(name) for name in chosen).insert_column(0, rows)
        progress(self._file.size)

    def _frames(self, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        # Imported here because most imports are of texts; the import takes longer than a small file.
        import pyarrow as pa

        try:
            with self._seekable() as raw:
                for batch in self._record_batches(raw, columns):
                    yield from _limited(pl.DataFrame(pl.from_arrow(batch)), self._batch_rows)
        except (*UNREADABLE, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise invalid(self._file.name, f"cannot be read as {self._file.suffix[1:]}: {first_line(error)}") from error

    def _record_batches(self, raw: Any, columns: list[str] | None) -> Iterator[Any]:
        import pyarrow as pa

        if self._file.suffix == ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20) as file:
                yield from file.iter_batches(batch_size=self._batch_rows, columns=columns, use_threads=False)
            return
        with pa.ipc.open_file(raw) as file:
            for at in range(file.num_record_batches):
                batch = file.get_batch(at)
                yield batch if columns is None else batch.select(columns)

    def _seekable(self) -> Any:
        """Open the file, or a temporary copy of a compressed one, because the formats are read from their end."""
        raw = self._file.open()
        if self._file.member is None and not self._file.is_gzip:
            return raw
        copy = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        with raw:
            shutil.copyfileobj(raw, copy, 1 << 20)
        copy.seek(0)
        return copy


class JsonTable:
    """A JSON file: a list of rows or of objects, or a list inside of objects (freqtrade, ccxt)."""

    def __init__(self, file: CandleFile) -> None:
        self._file = file
        self._frame, self.tickers = _json_frame(file)
        if not self._frame.height:
            raise invalid(file.name, "is empty; expected candles")
        self.head = _head(file, self._frame.head(SAMPLE_ROWS), tickers=self.tickers)
        self._frame.columns = list(self.head.columns)

    def batches(self, columns: Sequence[str], progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
        """Yield the rows, see `Table`."""
        rows = pl.int_range(1, self._frame.height + 1, dtype=pl.Int64, eager=True).alias(LINE)
        yield self._frame.select(list(dict.fromkeys(columns))).insert_column(0, rows)
        progress(self._file.size)


def _limited(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    yield from (frame.slice(start, rows) for start in range(0, frame.height, rows))


def _head(file: CandleFile, sample: pl.DataFrame, tickers: tuple[str, ...] = ()) -> Head:
    names = unique_names([plain_name(name) for name in sample.columns])
    sample = sample.rename(dict(zip(sample.columns, names, strict=True))).with_row_index(LINE, offset=1)
    return Head(
        name=file.name,
        file_name=file.file_name.lower().removesuffix(".gz"),
        suffix=file.suffix,
        columns=names,
        has_header=True,
        sample=sample,
        tickers=tickers,
        unit="row",
    )


def _json_frame(file: CandleFile) -> tuple[pl.DataFrame, tuple[str, ...]]:
    with file.open() as raw:
        body = _whole(raw, file)
    try:
        tree = [json.loads(line) for line in body.splitlines() if line.strip()] if _is_lines(file) else json.loads(body)
        rows, names = _rows(tree)
        return _table(rows), tuple(names)
    except (*UNREADABLE, TypeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise invalid(file.name, f"cannot be read as JSON rows of candles: {first_line(error)}") from error


def _is_lines(file: CandleFile) -> bool:
    return file.suffix == ".jsonl"


def _whole(raw: IO[bytes], file: CandleFile) -> bytes:
    body = b""
    try:
        while chunk := raw.read(1 << 20):
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise invalid(file.name, f"is larger than {MAX_JSON_BYTES >> 20} MB; convert it to CSV or parquet")
    except UNREADABLE as error:
        raise invalid(file.name, f"cannot be unpacked or read: {first_line(error)}") from error
    return body


def _rows(tree: object, depth: int = 0) -> tuple[list[Any], list[str]]:
    """Return the rows of a document and the names on the way to them: a list, or one list inside of objects."""
    if isinstance(tree, list):
        return tree, []
    if not isinstance(tree, dict) or depth > 4:
        raise ValueError("expected a list of rows")
    inner = {name: value for name, value in tree.items() if isinstance(value, list | dict) and value}
    if len(inner) != 1:
        raise ValueError(f"expected one list of rows, found {len(inner)} in an object: {', '.join(inner)[:80]}")
    ((name, value),) = inner.items()
    rows, names = _rows(value, depth + 1)
    told = [tree[key] for key in ("symbol", "pair", "timeframe") if isinstance(tree.get(key), str)]
    return rows, [name, *told, *names]


def _table(rows: list[Any]) -> pl.DataFrame:
    if all(isinstance(row, dict) for row in rows):
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)
    width = len(JSON_COLUMNS)
    lengths = [len(row) if isinstance(row, list) else -1 for row in rows]
    if wrong := next((at for at, length in enumerate(lengths, start=1) if length != width), 0):
        raise ValueError(f"row {wrong}: expected a list of {width} values: {', '.join(JSON_COLUMNS)}")
    columns = {name: [row[at] for row in rows] for at, name in enumerate(JSON_COLUMNS)}
    return pl.DataFrame({name: _numbers(name, values) for name, values in columns.items()})


def _numbers(name: str, values: list[Any]) -> pl.Series:
    """Return a column; whole numbers and decimals may be mixed, texts stay texts."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = all(isinstance(value, int) for value in values)
        return pl.Series(name, values, dtype=pl.Int64 if whole else pl.Float64)
    return pl.Series(name, values, dtype=pl.String, strict=False)
