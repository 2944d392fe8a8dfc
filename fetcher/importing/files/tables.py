"""Tables: one candle file as batches of raw rows, whatever its type.

Each batch has the column `line`: the number of the line in a text, of the row in other files, from 1.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

LINE = "line"
SAMPLE_ROWS = 60
Progress = Callable[[int], None]
"""Is told how many bytes of a file were read."""


def no_progress(_: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the form of a file is recognised by: its name, its columns and its first rows."""

    name: str
    """Name in messages."""
    file_name: str
    """Last part of the name, without `.gz`."""
    suffix: str
    columns: tuple[str, ...]
    """Names in lower case without surrounding marks; `0`, `1`, ... if the file has no header."""
    has_header: bool
    sample: pl.DataFrame
    """First rows with `line` and these columns, values as in the file."""
    preamble: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()
    """Names of instruments in a second header row."""
    unit: str = LINE
    """What rows are counted by in messages: `line` or `row`."""

    def texts(self, column: str) -> list[str]:
        """Return the first values of a column as texts, without missing ones."""
        return [text.strip() for text in self.sample[column].cast(pl.String, strict=False).drop_nulls().to_list()]

    @property
    def widths(self) -> int:
        """Number of columns."""
        return len(self.columns)


class Table(Protocol):
    """One candle file."""

    head: Head

    def batches(self, columns: Sequence[str], progress: Progress = no_progress) -> Iterator[pl.DataFrame]:
        """Yield the rows in the order of the file, a bounded number at a time: `line` and the named columns.

        Raises:
            InvalidCandles: if a row cannot be read; names the file and the line.
        """


def plain_name(name: str) -> str:
    """Return a column name in lower case, without surrounding space, quotes and angle brackets."""
    return name.strip().strip("\"'").strip().removeprefix("<").removesuffix(">").strip().lower()


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of which no two are equal: a repeated one gets a number."""
    found: dict[str, None] = {}
    for name in names:
        number, free = 2, LINE + "_of_file" if name == LINE else name
        while free in found:
            free, number = f"{name}_{number}", number + 1
        found[free] = None
    return tuple(found)
