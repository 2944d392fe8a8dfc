"""Checks a study database without changing it: connection, TLS, schema, permissions; for `tradeschool doctor`."""

from collections.abc import Iterator

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from optimizer.runs.local_database import require_local
from optimizer.search.database import RUNS, Database, unreachable
from optimizer.search.trial_writer import REVISION
from tradeschool.errors import SettingsError
from tradeschool.settings.urls import mask_url

INDEX = "tradeschool_trial_numbers"
"""The unique index on trial numbers, which `optimizer.search.study` creates."""
WRITTEN = ("studies", "trials", "trial_params", "trial_values", "trial_user_attributes", RUNS.name)
"""Tables that a coordinator writes, among others."""
_TLS = text("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
_PLACE = text("SELECT inet_server_addr() IS NULL, pg_is_in_recovery(), current_setting('server_version')")
_MAY_CREATE = text("SELECT current_schema() IS NOT NULL AND has_schema_privilege(current_schema(), 'CREATE')")
_MAY_WRITE = text("SELECT has_table_privilege(:name, 'INSERT') AND has_table_privilege(:name, 'UPDATE')")


def check_database(url: str) -> str:
    """Check the study database and return a description of it.

    Raises:
        SettingsError: A coordinator could not work with it: file system, role, schema or permissions.
        ServiceUnreachable: It does not answer.
    """
    require_local(url)
    database = Database(url)
    try:
        found = database.ask(lambda connection: list(_findings(connection, mask_url(url))), is_known=False)
    except SQLAlchemyError as error:
        raise unreachable(url, error) from error
    finally:
        database.close()
    return "; ".join(found) if found else "no study yet"


def _findings(connection: Connection, where: str) -> Iterator[str]:
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        yield _server(connection, where)
    else:
        yield "SQLite, for coordinators of this machine only"
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if is_postgresql and not connection.execute(_MAY_CREATE).scalar_one():
            raise SettingsError(f"study database {where}: its user may not create tables: grant CREATE on the schema")
        yield "no study yet"
        return
    yield _schema(connection, where)
    if is_postgresql:
        _require_permissions(connection, where, tables)


def _server(connection: Connection, where: str) -> str:
    is_local, is_standby, release = connection.execute(_PLACE).one()
    if is_standby:
        raise SettingsError(f"study database {where}: it is a read-only standby: storage_url must name the primary")
    tls = connection.execute(_TLS).one_or_none()
    if tls is not None and tls.ssl:
        transport = str(tls.version)
    else:
        transport = "local socket" if is_local else "without TLS: set database.sslmode, see docs/security.md"
    return f"PostgreSQL {release}; {transport}"


def _schema(connection: Connection, where: str) -> str:
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if revision != REVISION:
        raise SettingsError(
            f"study database {where}: Optuna's schema has revision {revision}, expected {REVISION}: upgrade it with "
            "`optuna storage upgrade --storage URL`, or use another database"
        )
    names = {index["name"] for index in inspect(connection).get_indexes("trials")}
    if INDEX not in names:
        raise SettingsError(
            f"study database {where}: the unique index {INDEX} is missing, so two programs could store one trial "
            "number twice; the next `optimize run` creates it, unless numbers occur twice"
        )
    count = connection.execute(text("SELECT count(*) FROM studies")).scalar_one()
    return f"schema {revision}; {count} studies"


def _require_permissions(connection: Connection, where: str, tables: set[str]) -> None:
    lacking = [
        name for name in WRITTEN if name in tables and not connection.execute(_MAY_WRITE, {"name": name}).scalar_one()
    ]
    if lacking:
        raise SettingsError(
            f"study database {where}: its user may not write {', '.join(lacking)}: grant INSERT, UPDATE"
        )
