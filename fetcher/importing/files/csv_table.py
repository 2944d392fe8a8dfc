"""Text tables: reads blocks of lines with polars after counting the fields of each line."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fetcher.importing.files.dialect import Dialect, dialect_of
from fetcher.importing.files.errors import invalid
from fetcher.importing.files.sources import CandleFile, position
from fetcher.importing.files.tables import LINE, Head, Progress, no_progress, plain_name, unique_names
from fetcher.importing.files.text_blocks import BLOCK_BYTES, Block, blocks
from tradeschool.errors import InvalidCandles

HEAD_BYTES = 1 << 16
FEED, QUOTE = ord("\n"), ord('"')
FIRST_OF_TWO = ("price", "attributes", "")
"""Names of the first column in the first of several header rows (pandas with two levels of columns)."""


class CsvTable:
    """A text table with a constant number of fields per line."""

    def __init__(self, file: CandleFile, block_bytes: int = BLOCK_BYTES) -> None:
        self._file, self._block_bytes = file, block_bytes
        with file.open() as raw:
            first = next(blocks(raw, file.name, HEAD_BYTES), None)
        if first is None:
            raise invalid(file.name, "is empty; expected candles")
        self._dialect = dialect_of(first.body.decode(), file.name)
        self.head = _head(file, self._dialect)

    def batches(self, columns: Sequence[str], progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
        """Yield the rows, see `Table`."""
        with self._file.open() as raw:
            for block in blocks(raw, self._file.name, self._block_bytes):
                frame = self._frame(self._after_header(block), columns)
                progress(position(raw))
                if frame is not None:
                    yield frame

    def _after_header(self, block: Block) -> Block:
        surplus = self._dialect.skipped - block.first_line + 1
        if surplus <= 0:
            return block
        return Block(b"".join(block.body.splitlines(keepends=True)[surplus:]), block.first_line + surplus)

    def _frame(self, block: Block, columns: Sequence[str]) -> pl.DataFrame | None:
        body, numbers = self._whole_rows(block)
        if not len(numbers):
            return None
        places = sorted({self.head.columns.index(name) for name in columns})
        try:
            frame = pl.read_csv(
                io.BytesIO(body),
                has_header=False,
                columns=places,
                separator=self._dialect.separator,
                quote_char='"' if QUOTE in body else None,
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise invalid(self._file.name, f"cannot be read as a table: {str(error).splitlines()[0]}") from error
        frame.columns = [self.head.columns[place] for place in places]
        if frame.height != len(numbers):
            raise invalid(self._file.name, "has a line break inside quotes", line=int(numbers[0]))
        return frame.insert_column(0, pl.Series(LINE, numbers))

    def _whole_rows(self, block: Block) -> tuple[bytes, NDArray[np.int64]]:
        """Return the lines that are not blank and their numbers, after checking that each has all fields."""
        body = block.body
        starts, ends, counts = _lines(body, self._dialect.separator, self._file.name, block.first_line)
        numbers = np.arange(block.first_line, block.first_line + len(ends), dtype=np.int64)
        blank = starts == ends
        if blank.any():
            keep = np.flatnonzero(~blank)
            lines = body.split(b"\n")
            body = b"".join(lines[at] + b"\n" for at in keep)
            starts, ends, counts, numbers = starts[keep], ends[keep], counts[keep], numbers[keep]
        wrong = np.flatnonzero(counts != self._dialect.fields - 1)
        if len(wrong):
            at = int(wrong[0])
            line = block.body.split(b"\n")[int(numbers[at]) - block.first_line].decode()
            raise self._ragged(int(numbers[at]), line, int(counts[at]) + 1)
        return body, numbers

    def _ragged(self, number: int, line: str, fields: int) -> InvalidCandles:
        expected, separator = self._dialect.fields, self._dialect.separator
        if self._dialect.header_line and line.strip() == self._dialect.header_line.strip():
            return invalid(self._file.name, "repeats the header; remove it", line=number)
        others = [each for each in (*"\t;|,",) if each != separator and line.count(each) == expected - 1]
        if others:
            words = f"is separated by {others[0]!r}, the lines before by {separator!r}; use one separator"
        elif fields < expected:
            words = f"has {fields} of {expected} fields: the row is cut off"
        else:
            words = f"has {fields} fields, expected {expected}"
        return invalid(self._file.name, words, line=number)


def _lines(
    body: bytes, separator: str, name: str, first_line: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return start, end and number of separators outside of quotes of each line, each of shape (n_lines,)."""
    text = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(text == FEED)
    starts = np.concatenate(([0], ends[:-1] + 1))
    separators = np.flatnonzero(text == ord(separator))
    if QUOTE in body:
        quotes = np.flatnonzero(text == QUOTE)
        open_at = np.searchsorted(quotes, ends) % 2 == 1
        if open_at.any():
            raise invalid(name, "has a quote without its end", line=first_line + int(open_at.argmax()))
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
    return starts, ends, np.diff(np.searchsorted(separators, ends), prepend=0)


def _head(file: CandleFile, dialect: Dialect) -> Head:
    names, tickers = _names(dialect)
    sample = {name: [row[at] for row in dialect.sample] for at, name in enumerate(names)}
    return Head(
        name=file.name,
        file_name=file.file_name.lower().removesuffix(".gz"),
        suffix=file.suffix,
        columns=names,
        has_header=bool(dialect.headers),
        sample=pl.DataFrame(
            {LINE: dialect.sample_lines, **sample}, schema={LINE: pl.Int64, **dict.fromkeys(names, pl.String)}
        ),
        preamble=dialect.preamble,
        tickers=tickers,
    )


def _names(dialect: Dialect) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the columns, and the tickers of a second header row."""
    places = range(dialect.fields)
    if not dialect.headers:
        return tuple(str(at) for at in places), ()
    first, *further = ([plain_name(field) for field in row] for row in dialect.headers)
    names = [first[at] if at < len(first) else "" for at in places]
    if further and names[0] in FIRST_OF_TWO:
        names[0] = next((row[0] for row in reversed(further) if row[0] and row[0] != "ticker"), names[0])
    tickers = dialect.headers[1][1:] if further else ()
    return unique_names(names), tuple(dict.fromkeys(each.strip() for each in tickers if each.strip()))
