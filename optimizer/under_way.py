"""Which runs some process is at work on, or was when it was killed: a row each, beside the runs themselves.

A process that ends in any other way than by a kill takes its row away. Another may go on with what is left; who that
is, the run's lock decides. A copy of a SQLite file holds the rows of its original, too: they bear the number of the
file that they were written to, and count in that file alone.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, create_engine, delete, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from optimizer.database import RUNS, Database, driver_arguments
from tradeschool.errors import ServiceUnreachable
from tradeschool.urls import mask_url

UNDER_WAY = Table(
    "tradeschool_under_way",
    MetaData(),
    Column("name", String(64), primary_key=True),
    Column("owner", String(32)),
    Column("file", String(32)),
)
GONE = "gone"
"""In place of a file's number where there is no file."""


class Mark:
    """One process' row of one run."""

    def __init__(self, url: str, run: str) -> None:
        self._url, self._run, self._owner = url, run, uuid.uuid4().hex
        self._is_set = False

    def set(self) -> None:
        """Say that this process is at work on the run, in the place of who was before.

        A file that is not there is not made: who goes on with the run will say that it is gone.

        Raises:
            ServiceUnreachable: where the database does not answer.
        """
        row = {"name": self._run, "owner": self._owner, "file": _file_of(self._url)}
        if row["file"] == GONE:
            return
        self._write(lambda connection: _replace(connection, row))
        self._is_set = True

    def clear(self) -> None:
        """Say so no more; the row of another process stays.

        Raises:
            ServiceUnreachable: where the database does not answer.
        """
        if self._is_set and _file_of(self._url) != GONE:
            ours = (UNDER_WAY.c.name == self._run) & (UNDER_WAY.c.owner == self._owner)
            self._write(lambda connection: connection.execute(delete(UNDER_WAY).where(ours)))
            self._is_set = False

    def _write(self, work: Callable[[Connection], object]) -> None:
        engine: Engine | None = None
        try:
            engine = create_engine(self._url, connect_args=driver_arguments(self._url))
            UNDER_WAY.metadata.create_all(engine)
            with engine.begin() as connection:
                work(connection)
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise ServiceUnreachable(f"study database {mask_url(self._url)}: {reason}") from error
        finally:
            if engine is not None:
                engine.dispose()


class MarkedRuns:
    """Looks at the rows of one database; writes nothing. To be used by one thread at a time."""

    def __init__(self, url: str) -> None:
        self._url, self._database = url, Database(url)

    def owners(self) -> dict[str, str]:
        """Each run under way that the database holds, and who is, or was, at work on it.

        Raises:
            ServiceUnreachable: where the database does not answer.
        """
        return self._database.ask(self._look, is_known=False) or {}

    def known(self) -> frozenset[str]:
        """The names of all runs that the database holds.

        Raises:
            ServiceUnreachable: as above.
        """
        found = self._database.ask(lambda to: to.execute(select(RUNS.c.name)).scalars().all(), is_known=False)
        return frozenset(found or ())

    def close(self) -> None:
        """Give the connection back."""
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
    """What tells a SQLite file from its copies; nothing for a server, of which there are none."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return ""
    try:
        return str(Path(parsed.database).stat().st_ino)
    except OSError:
        return GONE
