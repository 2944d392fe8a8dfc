"""Active-run markers: one database row per run that a process works on, or worked on when it was killed.

A process that ends in any other way removes its row. Another process may resume a marked run; the run's lock decides
which. A copied SQLite file contains the rows of its original: each row stores the file's inode number and counts only
in that file.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, delete, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from optimizer.search.database import RUNS, Database, make_engine, unreachable

UNDER_WAY = Table(
    "tradeschool_under_way",
    MetaData(),
    Column("name", String(64), primary_key=True),
    Column("owner", String(32)),
    Column("file", String(32)),
)
GONE = "gone"
"""Placeholder for the inode number of a missing file."""


class RunMarker:
    """Marker of one process on one run."""

    def __init__(self, url: str, run: str) -> None:
        self._url, self._run, self._owner = url, run, uuid.uuid4().hex
        self._is_set = False

    def set(self) -> None:
        """Mark the run as active in this process, replacing any earlier marker.

        A missing database file is not created: resuming the run reports it.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        row = {"name": self._run, "owner": self._owner, "file": _file_of(self._url)}
        if row["file"] == GONE:
            return
        self._write(lambda connection: _replace(connection, row))
        self._is_set = True

    def clear(self) -> None:
        """Remove this process' marker; a marker of another process stays.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        if self._is_set and _file_of(self._url) != GONE:
            ours = (UNDER_WAY.c.name == self._run) & (UNDER_WAY.c.owner == self._owner)
            self._write(lambda connection: connection.execute(delete(UNDER_WAY).where(ours)))
            self._is_set = False

    def _write(self, work: Callable[[Connection], object]) -> None:
        engine: Engine | None = None
        try:
            engine = make_engine(self._url)
            UNDER_WAY.metadata.create_all(engine)
            with engine.begin() as connection:
                work(connection)
        except SQLAlchemyError as error:
            raise unreachable(self._url, error) from error
        finally:
            if engine is not None:
                engine.dispose()


class MarkedRuns:
    """Read-only access to the markers of one database. Not thread-safe."""

    def __init__(self, url: str) -> None:
        self._url, self._database = url, Database(url)

    def owners(self) -> dict[str, str]:
        """Return each marked run of the database and its owner.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        return self._database.ask(self._look, is_known=False) or {}

    def known(self) -> frozenset[str]:
        """Return the names of all runs in the database.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        found = self._database.ask(lambda to: to.execute(select(RUNS.c.name)).scalars().all(), is_known=False)
        return frozenset(found or ())

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _look(self, connection: Connection) -> dict[str, str]:
        held = UNDER_WAY.join(RUNS, UNDER_WAY.c.name == RUNS.c.name)
        here = UNDER_WAY.c.file == _file_of(self._url)
        rows = connection.execute(select(UNDER_WAY.c.name, UNDER_WAY.c.owner).select_from(held).where(here))
        return {row.name: row.owner for row in rows}


def _replace(connection: Connection, row: dict[str, str]) -> None:
    connection.execute(delete(UNDER_WAY).where(UNDER_WAY.c.name == row["name"]))
    connection.execute(insert(UNDER_WAY).values(row))


def _file_of(url: str) -> str:
    """Return an identifier that distinguishes a SQLite file from its copies; empty for a database server."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return ""
    try:
        return str(Path(parsed.database).stat().st_ino)
    except OSError:
        return GONE
