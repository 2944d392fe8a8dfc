"""Database access: engines for studies, advice on connection errors, and a read-only connection."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, Text, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from tradeschool.errors import ServiceUnreachable
from tradeschool.settings.services import POOL_RECYCLE, POOL_SIZE, POOL_WAIT
from tradeschool.settings.urls import mask_url

WRITE_SECONDS = 30
"""Seconds that a write to SQLite waits for another process's lock."""
LOOK_SECONDS = 5
"""Seconds that a read waits."""
SILENCE: Mapping[str, int] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""PostgreSQL client settings that detect a dead connection within 30 seconds."""
POOL: Mapping[str, tuple[str, Callable[[str], object]]] = {
    POOL_SIZE: ("pool_size", int),
    POOL_WAIT: ("pool_timeout", float),
    POOL_RECYCLE: ("pool_recycle", int),
}
"""Options of a URL that concern the connection pool: SQLAlchemy's name of each, and its type."""
REMEDIES = (
    (r"certificate verify failed|root certificate file", "set database.ca_file to the CA of its certificate"),
    (r"does not match host name", "storage_url must name the host of its certificate"),
    (r"no encryption|SSL off|requires? SSL", "it requires TLS: set database.sslmode"),
    (r"server does not support SSL", "it has no TLS: turn ssl on in its postgresql.conf"),
    (r"client certificate", "set database.cert_file and database.key_file: it asks for them"),
    (r"private key file .* (access|permission)", "let only its owner read it: chmod 600"),
    (r"authentication failed|no password supplied", "are user and password right?"),
    (r"read-only transaction", "it is read-only: does storage_url name the primary?"),
    (r"permission denied", "grant its user the tables of the schema, see: tradeschool doctor"),
    (r"too many (clients|connections)", "raise its max_connections, or set a smaller database.pool_size"),
)
"""Patterns of PostgreSQL's and libpq's messages, and the advice for each."""
RUNS = Table("tradeschool_runs", MetaData(), Column("name", String(64), primary_key=True), Column("facts", Text))
"""One row of facts per run. Defined here so that the standby can list runs without importing a whole search."""

T = TypeVar("T")

_UNMADE = re.compile(r"no such table: \S+|relation \"\w+\" does not exist")
"""Error texts of SQLite and PostgreSQL before the first run or study exists."""


def first_line_of(error: BaseException | None) -> str:
    """Return the first line of the driver's message for a SQLAlchemy error."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def driver_arguments(url: str | URL, busy_seconds: int = WRITE_SECONDS) -> dict[str, object]:
    """Return the driver arguments of a database; parameters in the URL take precedence."""
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return {"timeout": busy_seconds}
        case "postgresql":
            return {name: value for name, value in SILENCE.items() if name not in parsed.query}
    return {}


def make_engine(
    url: str | URL, *, busy_seconds: int = WRITE_SECONDS, connect: Mapping[str, object] | None = None, **options: Any
) -> Engine:
    """Create an engine with the driver arguments and the pool of the URL; `connect` and `options` take precedence."""
    address, pool = split_pool(url)
    arguments = {**driver_arguments(address, busy_seconds), **(connect or {})}
    return create_engine(address, connect_args=arguments, **{**pool, **options})


def split_pool(url: str | URL) -> tuple[str | URL, dict[str, Any]]:
    """Return the URL without its pool options, and those options by SQLAlchemy's names."""
    parsed = make_url(url)
    given = {name: str(parsed.query[name]) for name in POOL if name in parsed.query}
    if not given:
        return url, {}
    return parsed.difference_update_query(given), {POOL[name][0]: POOL[name][1](value) for name, value in given.items()}


def unreachable(url: str, error: BaseException | None) -> ServiceUnreachable:
    """Return the error of a database that does not answer, in one line with advice."""
    reason = first_line_of(error)
    advice = next((what for pattern, what in REMEDIES if re.search(pattern, str(error))), "")
    advice = advice or "check that it runs and that storage_url is correct"
    return ServiceUnreachable(f"study database {mask_url(url)}: {reason}; {advice}")


class Database:
    """Read-only database connection: connects on first use and again after a failure. Not thread-safe."""

    def __init__(self, url: str) -> None:
        self._url, self._where = url, mask_url(url)
        self._engine: Engine | None = None

    def ask(self, work: Callable[[Connection], T], *, is_known: bool) -> T | None:
        """Run a query; return None if its tables do not exist yet.

        `is_known`: the tables existed before, so a missing table is an error.

        Raises:
            ServiceUnreachable: the database does not respond.
        """
        if not is_known and self._is_absent():
            return None
        try:
            with self._connected().connect() as connection:
                return work(connection)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ServiceUnreachable(
                f"study database {self._where}: unknown database type or missing driver; check storage_url"
            ) from error
        except SQLAlchemyError as error:
            self.close()
            reason = first_line_of(error)
            if _UNMADE.search(reason) and not is_known:
                return None
            raise unreachable(self._url, error) from error

    def close(self) -> None:
        """Release the connection."""
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
        return make_engine(url, connect={"options": options}, pool_size=1, max_overflow=0, pool_pre_ping=True)
    read_only = parsed.set(database=f"file:{quote(parsed.database or '')}", query={"mode": "ro", "uri": "true"})
    return make_engine(read_only, busy_seconds=LOOK_SECONDS, connect={"check_same_thread": False})
