"""Run store: the run records in the study database, one row per run, replaced as the run advances."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from optimizer.runs.run_record import RunRecord
from optimizer.search.database import RUNS, make_engine, unreachable
from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.settings.urls import mask_url


class RunStore:
    """Table of runs in one database."""

    def __init__(self, url: str) -> None:
        self._where = mask_url(url)
        with self._translated():
            self._file = _sqlite_file(url)
            self._engine: Engine = make_engine(url, pool_pre_ping=True)

    def add(self, record: RunRecord) -> None:
        """Insert a new run.

        Raises:
            SettingsError: a run of that name exists.
            ServiceUnreachable: the database does not respond.
        """
        with self._translated():
            RUNS.metadata.create_all(self._engine)
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(RUNS).values(name=record.name, facts=record.model_dump_json()))
            except IntegrityError:
                raise SettingsError(
                    f"run {record.name} exists in {self._where}; resume it: tradeschool optimize resume {record.name}"
                ) from None

    def write(self, record: RunRecord) -> None:
        """Replace the record of a run.

        Raises:
            ServiceUnreachable: the database does not respond, or no longer contains the run.
        """
        with self._translated(), self._engine.begin() as connection:
            row = update(RUNS).where(RUNS.c.name == record.name).values(facts=record.model_dump_json())
            if connection.execute(row).rowcount != 1:
                raise ServiceUnreachable(
                    f"study database {self._where}: run {record.name} is missing; "
                    "check whether the database was moved or replaced"
                )

    def remove(self, name: str) -> None:
        """Remove the record of a run; a missing one is no error.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        with self._translated(), self._engine.begin() as connection:
            connection.execute(delete(RUNS).where(RUNS.c.name == name))

    def read(self, name: str) -> RunRecord:
        """Return the record of a run.

        Raises:
            SettingsError: there is no run of that name, or another version wrote it.
            ServiceUnreachable: the database does not respond.
        """
        with self._connected() as names:
            if name in names:
                return parsed(name, names[name])
        raise SettingsError(f"no run {name!r} in {self._where}; see: tradeschool optimize list")

    def all(self) -> list[RunRecord]:
        """Return all runs, ordered by name.

        Raises:
            SettingsError: another version wrote one of them.
            ServiceUnreachable: the database does not respond.
        """
        with self._connected() as names:
            return [parsed(name, facts) for name, facts in sorted(names.items())]

    def close(self) -> None:
        """Close the database connections."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Mapping[str, str]]:
        """Yield the stored facts of all runs by name; does not create a database file."""
        if self._file and not self._file.exists():
            yield {}
            return
        with self._translated():
            RUNS.metadata.create_all(self._engine)
            with self._engine.connect() as connection:
                yield {row.name: row.facts for row in connection.execute(select(RUNS.c.name, RUNS.c.facts))}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ArgumentError, NoSuchModuleError, ImportError, SQLAlchemyError) as error:
            raise unreachable(self._where, error) from error


def _sqlite_file(url: str) -> Path | None:
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:"
    return Path(str(parsed.database)) if is_file else None


def parsed(name: str, facts: str) -> RunRecord:
    """Parse the stored facts of a run.

    Raises:
        SettingsError: another version wrote them.
    """
    try:
        return RunRecord.model_validate_json(facts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"run {name} was written by another version: {where}: {first['msg']}; start a new run"
        ) from None
