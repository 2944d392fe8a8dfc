"""The study's database: what its drivers are told, and a connection over which nothing can be written."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, Text, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from tradeschool.errors import ServiceUnreachable
from tradeschool.urls import mask_url

WRITE_SECONDS = 30
"""How long a write to SQLite waits for another process's."""
LOOK_SECONDS = 5
"""How long a look waits."""
SILENCE: Mapping[str, int] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""PostgreSQL's client library: a connection whose other end is gone without a word is broken after half a minute."""
RUNS = Table("tradeschool_runs", MetaData(), Column("name", String(64), primary_key=True), Column("facts", Text))
"""A row of facts a run; here, where a deputy can ask which there are without what a search imports."""

T = TypeVar("T")

_UNMADE = re.compile(r"no such table: \S+|relation \"\w+\" does not exist")
"""What SQLite and PostgreSQL say before the first run or study is made."""


def driver_arguments(url: str, busy_seconds: int = WRITE_SECONDS) -> dict[str, object]:
    """What SQLAlchemy hands to the driver of a database; what the URL itself says stands."""
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return {"timeout": busy_seconds}
        case "postgresql":
            return {name: value for name, value in SILENCE.items() if name not in parsed.query}
    return {}


class Database:
    """Connects when it is asked, and again after a failure; to be used by one thread at a time."""

    def __init__(self, url: str) -> None:
        self._url, self._where = url, mask_url(url)
        self._engine: Engine | None = None

    def ask(self, work: Callable[[Connection], T], *, is_known: bool) -> T | None:
        """What the database says; None where what is asked for was not made yet.

        `is_known` says that it was there before: then it is away, not unmade.

        Raises:
            ServiceUnreachable: where the database does not answer.
        """
        if not is_known and self._is_absent():
            return None
        try:
            with self._connected().connect() as connection:
                return work(connection)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ServiceUnreachable(f"study database {self._where}: cannot be used: check storage_url") from error
        except SQLAlchemyError as error:
            self.close()
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            if _UNMADE.search(reason) and not is_known:
                return None
            raise ServiceUnreachable(f"study database {self._where}: {reason}") from error

    def close(self) -> None:
        """Give the connection back."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _is_absent(self) -> bool:
        url = make_url(self._url)
        return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()

    def _connected(self) -> Engine:
        self._engine = self._engine or _read_only(self._url)
        return self._engine


def _read_only(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        options = f"-c default_transaction_read_only=on -c statement_timeout={LOOK_SECONDS * 1000}"
        arguments = {**driver_arguments(url), "options": options}
        return create_engine(url, connect_args=arguments, pool_size=1, max_overflow=0, pool_pre_ping=True)
    read_only = parsed.set(database=f"file:{quote(parsed.database or '')}", query={"mode": "ro", "uri": "true"})
    arguments = {**driver_arguments(url, LOOK_SECONDS), "check_same_thread": False}
    return create_engine(read_only, connect_args=arguments)
