"""The ledger of a data folder: every page that was answered, in one SQLite file, a page a transaction.

Progress is what stands here, never what rows there are: the absence of candles proves nothing. A page whose
answer lacked candles that the calendar expects is doubtful until it was asked again and said the same; one that
held none at all, until it said so three times.
A page's body is kept until its candles stand in a published file, and dropped in the transaction that says so.
"""

import gzip
import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fetcher.provider import Page
from tradeschool.errors import ForeignFile, StoreUnwritable
from tradeschool.market import Dataset, Wanted, Window
from tradeschool.store import PartFile

FILE_NAME = ".ledger.sqlite3"
BUSY_TIMEOUT = 30.0  # seconds
GZIP_MAGIC = b"\x1f\x8b"  # no JSON begins so
COMPRESSION_LEVEL = 1  # of a body that came uncompressed; it is dropped again soon
CHECKPOINT_PAGES = 4000  # of SQLite's log, 16 MB: a page of the file that many answers touch is written once
AGREEING_ANSWERS = 2  # on a page that lacks candles
AGREEING_EMPTY_ANSWERS = 3  # on a page without any: false ones are known, and may come on both sides of a kill
ADVICE = "free space, fix permissions, or move it away: what is sealed stays, the rest is asked for again"

SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    start_seconds INTEGER NOT NULL,
    end_seconds INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    doubtful INTEGER NOT NULL,   -- 1: candles were missing, and it has not been asked again yet
    sha256 TEXT NOT NULL,        -- of the body as it stands here
    body BLOB,                   -- gzip; NULL once its candles are published
    source TEXT                  -- which of the provider's APIs answered; NULL is its usual one
);
CREATE INDEX IF NOT EXISTS pages_by_window ON pages (dataset, start_seconds);
CREATE TABLE IF NOT EXISTS failures (
    dataset TEXT NOT NULL,
    start_seconds INTEGER NOT NULL,
    end_seconds INTEGER NOT NULL,
    reason TEXT NOT NULL,        -- why no answer for it could be stored; gone once one is
    PRIMARY KEY (dataset, start_seconds, end_seconds)
);
CREATE TABLE IF NOT EXISTS files (
    dataset TEXT NOT NULL,
    start_seconds INTEGER NOT NULL,
    end_seconds INTEGER NOT NULL,
    year INTEGER NOT NULL,
    path TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (dataset, start_seconds, end_seconds, year)
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """An answer that still has its body."""

    number: int
    """Counts up with every answer of the ledger."""
    page: Page
    source: str | None
    """Which of the provider's APIs answered, None for its usual one."""


class Ledger:
    """One data folder's ledger; to be used by one thread at a time, or as a context.

    Every method raises StoreUnwritable where the disk does not take or give what is asked.
    """

    def __init__(self, root: Path) -> None:
        """Make the folder and its ledger where there is none."""
        self._path = root / FILE_NAME
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            self._db.execute("PRAGMA secure_delete=OFF")  # some builds overwrite what is dropped: twice the bytes
            self._db.executescript(SCHEMA)
            self._add_source()
            self._has_failures = bool(self._db.execute("SELECT EXISTS (SELECT 1 FROM failures)").fetchone()[0])
        except (OSError, sqlite3.Error) as error:
            raise StoreUnwritable(f"cannot open {self._path}: {error}; {ADVICE}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the ledger is of no use after that."""
        self._db.close()

    def covered(self, dataset: Dataset) -> list[Window]:
        """The windows whose every candle is accounted for, in order."""
        return self._windows(
            "SELECT start_seconds, end_seconds FROM pages WHERE dataset = ? AND NOT doubtful ORDER BY start_seconds",
            dataset,
        )

    def doubtful(self, dataset: Dataset) -> list[Window]:
        """The windows that lacked candles and have to be asked for again, in order."""
        return self._windows(
            "SELECT start_seconds, end_seconds FROM pages WHERE dataset = ? AND doubtful ORDER BY start_seconds",
            dataset,
        )

    def add(self, page: Page, body: bytes, *, rows: int, complete: bool, source: str | None = None) -> int:
        """Store an answer of so many candles, and return its number; a body that came as gzip is stored as it came.

        Where it lacks candles that the calendar expects, its window stays doubtful until another answer has the
        same number, and where it holds none at all, until two others have; the larger of answers that differ is the
        one to be confirmed.
        """
        start, end = page.window.start_seconds, page.window.end_seconds
        packed = body if body.startswith(GZIP_MAGIC) else gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
        digest = hashlib.sha256(packed).hexdigest()
        with self._transaction():
            if self._has_failures:
                self._forget_failures(page.dataset, [page.window])
            number = self._db.execute(
                "INSERT INTO pages (dataset, start_seconds, end_seconds, rows, doubtful, sha256, body, source) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (page.dataset.name, start, end, rows, not complete, digest, packed, source),
            ).lastrowid
            if complete or self._agreed(page):
                # Only rows that change, between two bounds of the index: a row is written again with its whole body.
                self._db.execute(
                    "UPDATE pages SET doubtful = 0 WHERE dataset = ? AND start_seconds >= ? AND start_seconds < ? "
                    "AND end_seconds <= ? AND doubtful",
                    (page.dataset.name, start, end, end),
                )
        assert number is not None
        return number

    def fail(self, page: Page, reason: str) -> None:
        """Note that no answer for a page could be stored, and why; the next one that is makes up for it."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)",
                (page.dataset.name, page.window.start_seconds, page.window.end_seconds, reason),
            )
        self._has_failures = True

    def failures(self, dataset: Dataset) -> list[tuple[Window, str]]:
        """The windows that were asked for without an answer that could be stored, in order, each with the reason."""
        rows = self._rows(
            "SELECT start_seconds, end_seconds, reason FROM failures WHERE dataset = ? ORDER BY start_seconds",
            (dataset.name,),
        )
        return [(Window.of_seconds(start, end), reason) for start, end, reason in rows]

    def answers(self, dataset: Dataset, window: Window) -> list[StoredPage]:
        """The answers that touch a window and whose bodies are not dropped yet, oldest answer first."""
        rows = self._rows(
            "SELECT id, start_seconds, end_seconds, source FROM pages "
            "WHERE dataset = ? AND start_seconds < ? AND end_seconds > ? AND body IS NOT NULL ORDER BY id",
            (dataset.name, window.end_seconds, window.start_seconds),
        )
        return [
            StoredPage(number=number, page=Page(dataset=dataset, window=Window.of_seconds(start, end)), source=source)
            for number, start, end, source in rows
        ]

    def body(self, stored: StoredPage) -> bytes:
        """What the provider answered, uncompressed.

        Raises:
            ForeignFile: if it is not what was stored.
        """
        ((digest, packed),) = self._rows("SELECT sha256, body FROM pages WHERE id = ?", (stored.number,))
        return self._inflate(packed, digest, stored.page)

    def published(self, dataset: Dataset, window: Window) -> list[tuple[Window, int, PartFile]]:
        """The files of a dataset that touch a window: range, year, file."""
        rows = self._rows(
            "SELECT start_seconds, end_seconds, year, path, rows, bytes, sha256 FROM files "
            "WHERE dataset = ? AND start_seconds < ? AND end_seconds > ? ORDER BY start_seconds, year",
            (dataset.name, window.end_seconds, window.start_seconds),
        )
        return [
            (Window.of_seconds(start, end), year, PartFile(path=path, rows=count, bytes=size, sha256=digest))
            for start, end, year, path, count, size, digest in rows
        ]

    def publish(self, wanted: Wanted, year: int, window: Window, file: PartFile) -> None:
        """A year's candles stand in a file now; the bodies of pages that lie in it whole are dropped."""
        dataset, whole = wanted.dataset, wanted.window
        with self._transaction():
            self._db.execute(
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
            self._db.execute(
                "UPDATE pages SET body = NULL WHERE dataset = ? AND start_seconds >= ? AND end_seconds <= ?",
                (dataset.name, window.start_seconds, window.end_seconds),
            )

    def drop(self, wanted: Wanted) -> None:
        """The range is sealed: no body of a page that lies in it is needed any more."""
        window = wanted.window
        with self._transaction():
            self._db.execute(
                "UPDATE pages SET body = NULL WHERE dataset = ? AND start_seconds >= ? AND end_seconds <= ?",
                (wanted.dataset.name, window.start_seconds, window.end_seconds),
            )

    def forget(self, dataset: Dataset, whole: Window, year: int) -> Window:
        """A published file is lost: its part of the range is to be asked for again, and is returned.

        Pages that still have a body are kept, and so are the range's files of other years.
        """
        part = dict(whole.years())[year]
        with self._transaction():
            self._db.execute(
                "DELETE FROM pages WHERE dataset = ? AND start_seconds < ? AND end_seconds > ? AND body IS NULL",
                (dataset.name, part.end_seconds, part.start_seconds),
            )
            self._db.execute(
                "DELETE FROM files WHERE dataset = ? AND start_seconds = ? AND end_seconds = ? AND year = ?",
                (dataset.name, whole.start_seconds, whole.end_seconds, year),
            )
        return part

    def damaged(self, dataset: Dataset) -> list[Window]:
        """The windows of pages whose stored body is not what was stored, in the order of the answers."""
        rows = self._rows(
            "SELECT start_seconds, end_seconds, sha256, body FROM pages "
            "WHERE dataset = ? AND body IS NOT NULL ORDER BY id",
            (dataset.name,),
        )
        pages = [(Page(dataset=dataset, window=Window.of_seconds(*row[:2])), *row[2:]) for row in rows]
        return [page.window for page, digest, deflated in pages if not self._is_sound(deflated, digest, page)]

    def answered(self, dataset: Dataset) -> list[tuple[Window, int]]:
        """The windows that were answered, each with the most candles that it was seen to hold, in order."""
        rows = self._rows(
            "SELECT start_seconds, end_seconds, max(rows) FROM pages WHERE dataset = ? "
            "GROUP BY start_seconds, end_seconds ORDER BY start_seconds, end_seconds",
            (dataset.name,),
        )
        return [(Window.of_seconds(start, end), count) for start, end, count in rows]

    def forget_pages(self, dataset: Dataset, windows: Iterable[Window]) -> None:
        """Every page that touches one of the windows is to be asked for again, whatever it answered."""
        with self._transaction():
            self._db.executemany(
                "DELETE FROM pages WHERE dataset = ? AND start_seconds < ? AND end_seconds > ?",
                [(dataset.name, window.end_seconds, window.start_seconds) for window in windows],
            )

    def _forget_failures(self, dataset: Dataset, windows: Iterable[Window]) -> None:
        self._db.executemany(
            "DELETE FROM failures WHERE dataset = ? AND start_seconds < ? AND end_seconds > ?",
            [(dataset.name, window.end_seconds, window.start_seconds) for window in windows],
        )

    def _add_source(self) -> None:
        """Ledgers were written before a provider could have two sources."""
        columns = {name for _, name, *_ in self._db.execute("PRAGMA table_info(pages)")}
        if "source" not in columns:
            self._db.execute("ALTER TABLE pages ADD COLUMN source TEXT")

    def _agreed(self, page: Page) -> bool:
        """Whether enough answers agree on the most candles that the page was ever seen to hold."""
        rows, answers = self._db.execute(
            "SELECT rows, count(*) FROM pages WHERE dataset = ? AND start_seconds = ? AND end_seconds = ? "
            "GROUP BY rows ORDER BY rows DESC LIMIT 1",
            (page.dataset.name, page.window.start_seconds, page.window.end_seconds),
        ).fetchone()
        return bool(answers >= (AGREEING_ANSWERS if rows else AGREEING_EMPTY_ANSWERS))

    def _windows(self, query: str, dataset: Dataset) -> list[Window]:
        return [Window.of_seconds(start, end) for start, end in self._rows(query, (dataset.name,))]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of a block's statements, on the disk, or none."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # SQLite ends it by itself when the disk is full
                    self._db.execute("ROLLBACK")

    def _rows(self, query: str, values: Sequence[str | int]) -> list[Any]:
        with self._translated():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnwritable(f"cannot use {self._path}: {error}; {ADVICE}") from error

    def _inflate(self, packed: bytes, digest: str, page: Page) -> bytes:
        try:
            body = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise ForeignFile(f"{self._path}: the stored page {page} is damaged: {error}; {_mended(page)}") from error
        if hashlib.sha256(packed).hexdigest() != digest:
            raise ForeignFile(f"{self._path}: the stored page {page} is not what was stored; {_mended(page)}")
        return body

    def _is_sound(self, deflated: bytes, digest: str, page: Page) -> bool:
        try:
            self._inflate(deflated, digest, page)
        except ForeignFile:
            return False
        return True


def _mended(page: Page) -> str:
    return f"run: tradeschool data repair {page.dataset}"
