"""Page ledger of a data folder: stores every answered page in one SQLite file, one transaction per page.

The ledger is the only record of progress. A page that lacks expected candles is unconfirmed until a second response has
the same number of candles; a page without any candle, until three responses agree. The body of a page is kept
until its candles are in a published file, and dropped in the transaction that records it.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fetcher.download.ledger_database import LedgerDatabase
from fetcher.protocol.provider import Page
from tradeschool.errors import ForeignFile
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.store import PartFile

GZIP_MAGIC = b"\x1f\x8b"  # JSON never begins like this
COMPRESSION_LEVEL = 1  # for a body received uncompressed; it is only kept until it is published
AGREEING_RESPONSES = 2  # responses required to confirm a page that lacks candles
AGREEING_EMPTY_RESPONSES = 3  # to confirm a page without candles: providers are known to return false empty pages


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """A stored response whose body has not been dropped."""

    number: int
    """Row id; ascending in the order of storage."""
    page: Page
    source: str | None
    """API of the provider, None for the default one."""


class PageLedger:
    """Page ledger of one data folder; a context manager, to be used by one thread at a time.

    Every method raises StoreUnwritable if the database file cannot be read or written.
    """

    def __init__(self, root: Path) -> None:
        """Open the ledger; create the folder and the ledger if they do not exist."""
        self._database = LedgerDatabase(root)
        self._has_failures = bool(self._database.rows("SELECT EXISTS (SELECT 1 FROM failures)")[0][0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the ledger cannot be used afterwards."""
        self._database.close()

    def covered(self, dataset: Dataset) -> list[Window]:
        """Return the windows of complete or confirmed pages, in order."""
        return self._windows(
            "SELECT start_seconds, end_seconds FROM pages WHERE dataset = ? AND NOT unconfirmed ORDER BY start_seconds",
            dataset,
        )

    def unconfirmed(self, dataset: Dataset) -> list[Window]:
        """Return the windows of pages with unconfirmed missing candles, in order; they must be requested again."""
        return self._windows(
            "SELECT start_seconds, end_seconds FROM pages WHERE dataset = ? AND unconfirmed ORDER BY start_seconds",
            dataset,
        )

    def add(self, page: Page, body: bytes, *, rows: int, complete: bool, source: str | None = None) -> int:
        """Store a response with `rows` candles and return its number; a gzip body is stored unchanged.

        A response that is not `complete` leaves its window unconfirmed until a second response has the same number of
        candles, or, without any candle, until two more have none. If responses differ, the largest must be confirmed.
        """
        start, end = page.window.start_seconds, page.window.end_seconds
        packed = body if body.startswith(GZIP_MAGIC) else gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
        digest = hashlib.sha256(packed).hexdigest()
        with self._database.transaction():
            if self._has_failures:
                self._forget_failures(page.dataset, [page.window])
            number = self._database.execute(
                "INSERT INTO pages (dataset, start_seconds, end_seconds, rows, unconfirmed, sha256, body, source) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (page.dataset.name, start, end, rows, not complete, digest, packed, source),
            ).lastrowid
            if complete or self._agreed(page):
                # Update as few rows as possible: SQLite rewrites a row together with its body.
                self._database.execute(
                    "UPDATE pages SET unconfirmed = 0 WHERE dataset = ? AND start_seconds >= ? AND start_seconds < ? "
                    "AND end_seconds <= ? AND unconfirmed",
                    (page.dataset.name, start, end, end),
                )
        assert number is not None
        return number

    def fail(self, page: Page, reason: str) -> None:
        """Record that no response could be stored for a page; the next stored response deletes the record."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
                (page.dataset.name, page.window.start_seconds, page.window.end_seconds, reason),
            )
        self._has_failures = True

    def failures(self, dataset: Dataset) -> list[tuple[Window, str]]:
        """Return the windows of failed pages in order, each with its reason."""
        rows = self._database.rows(
            "SELECT start_seconds, end_seconds, reason FROM failures WHERE dataset = ? ORDER BY start_seconds",
            (dataset.name,),
        )
        return [(Window.of_seconds(start, end), reason) for start, end, reason in rows]

    def responses(self, dataset: Dataset, window: Window) -> list[StoredPage]:
        """Return the stored responses that overlap a window and still have a body, in the order of storage."""
        rows = self._database.rows(
            "SELECT id, start_seconds, end_seconds, source FROM pages "
            "WHERE dataset = ? AND start_seconds < ? AND end_seconds > ? AND body IS NOT NULL ORDER BY id",
            (dataset.name, window.end_seconds, window.start_seconds),
        )
        return [
            StoredPage(number=number, page=Page(dataset=dataset, window=Window.of_seconds(start, end)), source=source)
            for number, start, end, source in rows
        ]

    def body(self, stored: StoredPage) -> bytes:
        """Return the uncompressed body of a stored response.

        Raises:
            ForeignFile: if the body does not match its digest.
        """
        ((digest, packed),) = self._database.rows("SELECT sha256, body FROM pages WHERE id = ?", (stored.number,))
        return self._inflate(packed, digest, stored.page)

    def published(self, dataset: Dataset, window: Window) -> list[tuple[Window, int, PartFile]]:
        """Return the published files of a dataset that overlap a window, as (range, year, file)."""
        rows = self._database.rows(
            "SELECT start_seconds, end_seconds, year, path, rows, bytes, sha256 FROM files "
            "WHERE dataset = ? AND start_seconds < ? AND end_seconds > ? ORDER BY start_seconds, year",
            (dataset.name, window.end_seconds, window.start_seconds),
        )
        return [
            (Window.of_seconds(start, end), year, PartFile(path=path, rows=count, bytes=size, sha256=digest))
            for start, end, year, path, count, size, digest in rows
        ]

    def publish(self, wanted: DatasetRange, year: int, window: Window, file: PartFile) -> None:
        """Record the published file of a year and drop the bodies of all pages inside it."""
        dataset, whole = wanted.dataset, wanted.window
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    dataset.name,
                    whole.start_seconds,
                    whole.end_seconds,
                    year,
                    file.path,
                    file.rows,
                    file.bytes,
                    file.sha256,
                ),
            )
            self._database.execute(
                "UPDATE pages SET body = NULL WHERE dataset = ? AND start_seconds >= ? AND end_seconds <= ?",
                (dataset.name, window.start_seconds, window.end_seconds),
            )

    def drop(self, wanted: DatasetRange) -> None:
        """Drop the bodies of all pages inside a sealed range."""
        window = wanted.window
        with self._database.transaction():
            self._database.execute(
                "UPDATE pages SET body = NULL WHERE dataset = ? AND start_seconds >= ? AND end_seconds <= ?",
                (wanted.dataset.name, window.start_seconds, window.end_seconds),
            )

    def forget(self, dataset: Dataset, whole: Window, year: int) -> Window:
        """Delete the record of a lost published file; return the window that must be downloaded again.

        Pages that still have a body and the files of other years are kept.
        """
        part = dict(whole.years())[year]
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM pages WHERE dataset = ? AND start_seconds < ? AND end_seconds > ? AND body IS NULL",
                (dataset.name, part.end_seconds, part.start_seconds),
            )
            self._database.execute(
                "DELETE FROM files WHERE dataset = ? AND start_seconds = ? AND end_seconds = ? AND year = ?",
                (dataset.name, whole.start_seconds, whole.end_seconds, year),
            )
        return part

    def damaged(self, dataset: Dataset) -> list[Window]:
        """Return the windows of pages whose stored body does not match its digest, in the order of storage."""
        rows = self._database.rows(
            "SELECT start_seconds, end_seconds, sha256, body FROM pages "
            "WHERE dataset = ? AND body IS NOT NULL ORDER BY id",
            (dataset.name,),
        )
        pages = [(Page(dataset=dataset, window=Window.of_seconds(*row[:2])), *row[2:]) for row in rows]
        return [page.window for page, digest, deflated in pages if not self._is_sound(deflated, digest, page)]

    def stored(self, dataset: Dataset) -> list[tuple[Window, int]]:
        """Return the answered windows in order, each with the largest number of candles of any response."""
        rows = self._database.rows(
            "SELECT start_seconds, end_seconds, max(rows) FROM pages WHERE dataset = ? "
            "GROUP BY start_seconds, end_seconds ORDER BY start_seconds, end_seconds",
            (dataset.name,),
        )
        return [(Window.of_seconds(start, end), count) for start, end, count in rows]

    def forget_pages(self, dataset: Dataset, windows: Iterable[Window]) -> None:
        """Delete every page that overlaps one of the windows, so that it is requested again."""
        with self._database.transaction():
            self._database.execute_many(
                "DELETE FROM pages WHERE dataset = ? AND start_seconds < ? AND end_seconds > ?",
                [(dataset.name, window.end_seconds, window.start_seconds) for window in windows],
            )

    def _forget_failures(self, dataset: Dataset, windows: Iterable[Window]) -> None:
        self._database.execute_many(
            "DELETE FROM failures WHERE dataset = ? AND start_seconds < ? AND end_seconds > ?",
            [(dataset.name, window.end_seconds, window.start_seconds) for window in windows],
        )

    def _agreed(self, page: Page) -> bool:
        """Whether enough responses agree on the largest number of candles of the page."""
        rows, answers = self._database.execute(
            "SELECT rows, count(*) FROM pages WHERE dataset = ? AND start_seconds = ? AND end_seconds = ? "
            "GROUP BY rows ORDER BY rows DESC LIMIT 1",
            (page.dataset.name, page.window.start_seconds, page.window.end_seconds),
        ).fetchone()
        return bool(answers >= (AGREEING_RESPONSES if rows else AGREEING_EMPTY_RESPONSES))

    def _windows(self, query: str, dataset: Dataset) -> list[Window]:
        return [Window.of_seconds(start, end) for start, end in self._database.rows(query, (dataset.name,))]

    def _inflate(self, packed: bytes, digest: str, page: Page) -> bytes:
        try:
            body = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise ForeignFile(
                f"{self._database.path}: the stored page {page} is damaged: {error}; {_with_digest(page)}"
            ) from error
        if hashlib.sha256(packed).hexdigest() != digest:
            raise ForeignFile(
                f"{self._database.path}: the stored page {page} does not match its digest; {_with_digest(page)}"
            )
        return body

    def _is_sound(self, deflated: bytes, digest: str, page: Page) -> bool:
        try:
            self._inflate(deflated, digest, page)
        except ForeignFile:
            return False
        return True


def _with_digest(page: Page) -> str:
    return f"run: tradeschool data repair {page.dataset}"
