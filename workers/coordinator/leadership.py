"""The lock of a run: its holder is the run's coordinator. It ends with the process that holds it."""

import fcntl
import re
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, TextIO

from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from optimizer.runs.local_database import require_local
from optimizer.search.database import make_engine, unreachable
from tradeschool.errors import LeadershipLost, ServiceUnreachable, SettingsError
from tradeschool.settings.urls import mask_url

_LOCKS = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
    "AND classid::bigint = :high AND objid::bigint = :low "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Finds an advisory lock in PostgreSQL, which lists its key as two halves."""
_SILENCE = tuple(text(f"SET tcp_keepalives_{name}") for name in ("idle = 10", "interval = 5", "count = 3"))
"""Keepalives that end the session of a vanished client; by default the server holds its lock for hours."""


class LeadershipLock(Protocol):
    """The right to write to one run and its studies."""

    def is_held(self) -> bool:
        """Whether this process still holds it; a lost connection to the server ends it."""

    def release(self) -> None:
        """Release it to other processes."""


class FileLeadershipLock:
    """A lock on a file beside a SQLite database; the kernel releases it when the process ends."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def is_held(self) -> bool:
        """As long as the file is open."""
        return not self._file.closed

    def release(self) -> None:
        """Close the file; it stays, because removing it would let two processes lock two files of one name."""
        self._file.close()


class DatabaseLeadershipLock:
    """An advisory lock of a PostgreSQL session; the server releases it when the connection ends."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine, self._connection = engine, connection

    def is_held(self) -> bool:
        """As long as the session answers."""
        try:
            self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def release(self) -> None:
        """End the session."""
        self._connection.close()
        self._engine.dispose()


def acquire_leadership(storage_url: str, run: str) -> LeadershipLock | None:
    """The lock of a run; None if another process holds it.

    Raises:
        SettingsError: This kind of database has no locks, or is on a network file system.
        ServiceUnreachable: The database does not answer.
    """
    url = make_url(storage_url)
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return _lock_file(storage_url, Path(url.database), run)
        case "postgresql":
            return _lock_session(storage_url, run)
    raise _unknown(storage_url)


def require_leadership(leadership: LeadershipLock) -> None:
    """Check that the lock is still held.

    Raises:
        LeadershipLost: The database has released it.
    """
    if not leadership.is_held():
        raise LeadershipLost("the database session that held the lock of the run has ended")


def wait_for_leadership(
    storage_url: str, run: str, *, stop: Callable[[], bool], sleep: Callable[[float], None]
) -> LeadershipLock | None:
    """Wait for the lock; None if `stop` returns True before that."""
    while not stop():
        if leadership := acquire_leadership(storage_url, run):
            return leadership
        sleep(1.0)
    return None


def has_leader(storage_url: str, run: str) -> bool:
    """Whether a process holds the lock of a run; writes nothing.

    Raises:
        SettingsError, ServiceUnreachable: As `acquire_leadership`.
    """
    url = make_url(storage_url)
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return _is_locked(_lock_of(Path(url.database), run))
        case "postgresql":
            return _is_listed(storage_url, run)
    raise _unknown(storage_url)


def _lock_of(database: Path, run: str) -> Path:
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", run)  # the name may come from Redis
    return database.with_name(f"{database.name}.{safe}.coordinator")


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            # A shared lock for a moment: a process that tries to acquire it meanwhile succeeds a second later.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise ServiceUnreachable(f"{path}: {error.strerror}: may this user read it?") from error
    return False


def _is_listed(storage_url: str, run: str) -> bool:
    key = _key_of(run) & 0xFFFF_FFFF_FFFF_FFFF
    engine = make_engine(storage_url, pool_size=1)
    try:
        with engine.connect() as connection:
            return bool(connection.execute(_LOCKS, {"high": key >> 32, "low": key & 0xFFFF_FFFF}).scalar_one())
    except SQLAlchemyError as error:
        raise unreachable(storage_url, error) from error
    finally:
        engine.dispose()


def _lock_file(storage_url: str, database: Path, run: str) -> LeadershipLock | None:
    require_local(storage_url)
    try:
        file = _lock_of(database, run).open("a")
    except OSError as error:
        raise ServiceUnreachable(f"study database {database}: {error.strerror}: does its folder exist?") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return FileLeadershipLock(file)


def _lock_session(storage_url: str, run: str) -> LeadershipLock | None:
    engine = make_engine(storage_url, isolation_level="AUTOCOMMIT", pool_size=1)
    try:
        connection = engine.connect()
        for setting in _SILENCE:
            connection.execute(setting)
        is_ours = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _key_of(run)}).scalar_one()
    except SQLAlchemyError as error:
        engine.dispose()
        raise unreachable(storage_url, error) from error
    lock = DatabaseLeadershipLock(engine, connection)
    if is_ours:
        return lock
    lock.release()
    return None


def _key_of(run: str) -> int:
    return int.from_bytes(blake2b(run.encode(), digest_size=8, person=b"coordinator").digest(), "big", signed=True)


def _unknown(storage_url: str) -> SettingsError:
    return SettingsError(
        f"storage_url {mask_url(storage_url)}: a coordinator needs a SQLite file or PostgreSQL; "
        "expected sqlite:///FILE or postgresql+psycopg://..."
    )
