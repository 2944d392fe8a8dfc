"""The SQLite file of a page ledger: its tables, its durable transactions and its errors."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tradeschool.errors import StoreUnwritable

FILE_NAME = ".ledger.sqlite3"
BUSY_TIMEOUT = 30.0  # seconds
CHECKPOINT_PAGES = 4000  # size of SQLite's write-ahead log, 16 MB: frequently changed pages are written once
ADVICE = "free space, fix permissions, or move the file away: sealed data stays, the rest is downloaded again"

SCHEMA = """
CREATE TABLE IF NOT EXISTS pages (
    id INTEGER PRIMARY KEY,
    dataset TEXT NOT NULL,
    start_seconds INTEGER NOT NULL,
    end_seconds INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    unconfirmed INTEGER NOT NULL,   -- 1: candles are missing, and it is not confirmed yet
    sha256 TEXT NOT NULL,        -- of the body as stored
    body BLOB,                   -- gzip; NULL once its candles are published
    source TEXT                  -- API of the provider; NULL is the default one
);
CREATE INDEX IF NOT EXISTS pages_by_window ON pages (dataset, start_seconds);
CREATE TABLE IF NOT EXISTS failures (
    dataset TEXT NOT NULL,
    start_seconds INTEGER NOT NULL,
    end_seconds INTEGER NOT NULL,
    reason TEXT NOT NULL,        -- why no response could be stored; deleted once one is
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


class LedgerDatabase:
    """The database of one data folder, to be used by one thread at a time.

    Every method but `execute` raises StoreUnwritable if the file cannot be read or written.
    """

    def __init__(self, root: Path) -> None:
        """Open the database; create the folder and the tables if they do not exist."""
        self.path = root / FILE_NAME
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            self._db.execute("PRAGMA secure_delete=OFF")  # some builds overwrite deleted data, which doubles the writes
            self._db.executescript(SCHEMA)
            self._add_source()
        except (OSError, sqlite3.Error) as error:
            raise StoreUnwritable(f"cannot open {self.path}: {error}; {ADVICE}") from error

    def close(self) -> None:
        """Close the database; it cannot be used afterwards."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one durable transaction."""
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # SQLite rolls back itself when the disk is full
                    self._db.execute("ROLLBACK")

    def execute(self, query: str, values: Sequence[str | int | bytes | None] = ()) -> sqlite3.Cursor:
        """Execute a statement inside a transaction, which translates its errors."""
        return self._db.execute(query, values)

    def execute_many(self, query: str, values: Iterable[Sequence[str | int]]) -> None:
        """Execute a statement inside a transaction for each row of values."""
        self._db.executemany(query, values)

    def rows(self, query: str, values: Sequence[str | int] = ()) -> list[Any]:
        """Return all rows of a query."""
        with self._translated():
            return self._db.execute(query, values).fetchall()

    def _add_source(self) -> None:
        """Add the column `source` to a ledger of an older version."""
        columns = {name for _, name, *_ in self._db.execute("PRAGMA table_info(pages)")}
        if "source" not in columns:
            self._db.execute("ALTER TABLE pages ADD COLUMN source TEXT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnwritable(f"cannot use {self.path}: {error}; {ADVICE}") from error
