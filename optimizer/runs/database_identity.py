"""The identity of a study database: it survives a restore of a backup, and tells a copy on another machine apart."""

import socket
import uuid
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import Column, MetaData, String, Table, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from optimizer.search.database import make_engine, unreachable

IDENTITY = Table(
    "tradeschool_database",
    MetaData(),
    Column("name", String(16), primary_key=True),
    Column("identity", String(32)),
)
"""One row: a random text, made with the database."""


def database_identity(url: str) -> str:
    """Return the identity of a study database; it is stored at the first call.

    Raises:
        ServiceUnreachable: The database does not respond.
    """
    parsed = make_url(url)
    try:
        engine = make_engine(url)
        try:
            IDENTITY.metadata.create_all(engine)
            with engine.connect() as connection:
                stored = connection.execute(select(IDENTITY.c.identity)).scalars().first()
                is_file = connection.dialect.name == "sqlite"
                place = "" if is_file else connection.execute(text("SELECT current_database()")).scalar_one()
            stored = stored or _store(url)
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise unreachable(url, error) from error
    if is_file:  # a file belongs to one machine and one path; a server is the same for every machine
        place = f"{socket.gethostname()}:{Path(parsed.database or '').absolute()}"
    return blake2b(f"{stored} {place}".encode(), digest_size=8).hexdigest()


def _store(url: str) -> str:
    """Store a new identity; if two processes do so at once, the first one wins."""
    engine, row = make_engine(url), {"name": "database", "identity": uuid.uuid4().hex}
    try:
        with engine.begin() as connection:
            connection.execute(insert(IDENTITY).values(row))
    except IntegrityError:
        with engine.connect() as connection:
            return str(connection.execute(select(IDENTITY.c.identity)).scalar_one())
    finally:
        engine.dispose()
    return row["identity"]
