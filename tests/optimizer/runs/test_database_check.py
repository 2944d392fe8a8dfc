"""The study database: TLS, pool, schema and permissions of PostgreSQL, and the file system of SQLite."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from sqlalchemy import Connection, text

from optimizer.runs import local_database
from optimizer.runs.database_check import INDEX, check_database
from optimizer.runs.local_database import file_system_of, require_local
from optimizer.runs.run_store import RunStore
from optimizer.search.database import make_engine, split_pool
from optimizer.search.sampler import TrialRequest
from optimizer.search.study import StudyFacts, open_study
from optimizer.search.trials import TrialOrigin, failed_trial
from tests.factories.certificates import Authority
from tests.factories.postgres_servers import PASSWORD, PostgresServer, tls_postgres
from tests.factories.runs import CREATED, make_context, make_level
from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.settings.services import DatabaseSettings
from workers.coordinator.leadership import acquire_leadership
from workers.coordinator.run.run_persistence import begin

FACTS = StudyFacts(level=make_level("1"), seed=7, fingerprints={})
DISTRIBUTIONS = {"fast": IntDistribution(5, 50), "stop": FloatDistribution(1.0, 5.0)}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with tls_postgres() as started:
        yield started


@pytest.fixture(scope="module")
def files(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> DatabaseSettings:
    """The settings of an installation that uses this server; no secret is in a URL."""
    password = tmp_path_factory.mktemp("secrets") / "password"
    password.write_text(f"{PASSWORD}\n")
    return DatabaseSettings(
        password_file=password,
        ca_file=server.authority.ca,
        cert_file=server.client.cert,
        key_file=server.client.key,
    )


def test_a_study_over_tls_is_written_locked_and_checked(server: PostgresServer, files: DatabaseSettings) -> None:
    url = files.complete(server.url("certified"))
    before = check_database(url)
    study = open_study(url, "run-L1-a1", FACTS)
    request = TrialRequest(number=0, parameters={"fast": 10, "stop": 1.25}, thresholds=(), known=None)
    study.commit(failed_trial(request, DISTRIBUTIONS, "why", TrialOrigin(worker="w", started=1.0, seconds=0.1)))
    leadership = acquire_leadership(url, "run")
    with closing(RunStore(url)) as runs:
        assert runs.all() == []
    trials = study.trials()
    second = acquire_leadership(url, "run")
    study.close()
    assert leadership is not None
    leadership.release()

    assert before.endswith("; TLSv1.3; no study yet")
    assert [trial.number for trial in trials] == [0]
    assert second is None
    assert check_database(url).endswith("; TLSv1.3; schema v3.2.0.a; 1 studies")
    assert "sslmode=verify-full" in url


@pytest.mark.parametrize(
    ("change", "host", "advice"),
    [
        ({"ca_file": None, "sslmode": "verify-ca"}, "127.0.0.1", "set database.ca_file to the CA of its certificate"),
        ({}, "localhost", "storage_url must name the host of its certificate"),
        ({"cert_file": None, "key_file": None}, "127.0.0.1", "set database.cert_file and database.key_file"),
        ({"ca_file": None, "cert_file": None, "key_file": None, "sslmode": "disable"}, "127.0.0.1", "it requires TLS"),
        ({"password_file": None}, "127.0.0.1", "are user and password right"),
    ],
    ids=["authority", "host name", "client certificate", "TLS", "password"],
)
def test_each_wrong_setting_of_tls_is_explained(
    server: PostgresServer, files: DatabaseSettings, change: dict[str, object], host: str, advice: str, monkeypatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")  # libpq reads certificates of its user
    url = files.model_copy(update=change).complete(server.url("certified", host=host))

    with pytest.raises(ServiceUnreachable, match=advice) as caught:
        check_database(url)

    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_of_another_authority_is_refused(
    server: PostgresServer, files: DatabaseSettings, tmp_path: Path
) -> None:
    other = files.model_copy(update={"ca_file": Authority(tmp_path, "another authority").ca})

    with pytest.raises(ServiceUnreachable, match=r"certificate verify failed.*set database\.ca_file"):
        open_study(other.complete(server.url()), "run", FACTS)


def test_schema_and_permissions_are_checked(server: PostgresServer, files: DatabaseSettings) -> None:
    url = files.complete(server.url())
    open_study(url, "run-L1-a1", FACTS).close()
    server.superuser("CREATE USER reader PASSWORD 'c4nary-database-password'")
    server.superuser("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database="study")
    with pytest.raises(SettingsError, match=r"its user may not write studies, trials.*grant INSERT, UPDATE"):
        check_database(files.complete(server.url(user="reader")))
    with pytest.raises(SettingsError, match="its user may not create tables"):
        check_database(files.complete(server.url("postgres", user="reader")))

    server.superuser(f"DROP INDEX {INDEX}", database="study")
    with pytest.raises(SettingsError, match=f"the unique index {INDEX} is missing"):
        check_database(url)

    server.superuser("UPDATE alembic_version SET version_num = 'v9'", database="study")
    with pytest.raises(SettingsError, match=r"revision v9, expected v3\.2\.0\.a: upgrade it with"):
        check_database(url)


def test_the_pool_has_its_settings(tmp_path: Path) -> None:
    given = DatabaseSettings(pool_size=2, pool_wait_seconds=7, pool_recycle_seconds=900)
    url = given.complete("postgresql+psycopg://me:s3cret@127.0.0.1:1/x?sslmode=require")
    engine = make_engine(url)
    address, _ = split_pool(url)

    assert (engine.pool.size(), engine.pool._timeout, engine.pool._recycle) == (2, 7.0, 900)
    assert (
        address.render_as_string(hide_password=False) == "postgresql+psycopg://me:s3cret@127.0.0.1:1/x?sslmode=require"
    )
    assert given.complete(url) == url, "a child completes the URL again"
    with pytest.raises(SettingsError, match="but storage_url is sqlite"):
        given.complete("sqlite:///x")


def test_a_password_of_a_file_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("a@b/c:d%\n")
    url = DatabaseSettings(password_file=file).complete("postgresql+psycopg://me@host/x")

    assert make_engine(url).url.password == "a@b/c:d%"


@pytest.fixture
def on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the list of mounts calls a network file system."""
    folder = tmp_path / "shared folder"
    folder.mkdir()
    mounts = tmp_path / "mountinfo"
    place = str(folder).replace(" ", "\\040")
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/vda rw\n"
        f"2 1 0:2 / {place} rw,relatime shared:1 - nfs4 server:/export rw\n"
        f"3 1 0:3 / {tmp_path}/other rw - fuse.sshfs host: rw\n"
    )
    monkeypatch.setattr(local_database, "MOUNTS", mounts)
    return folder


def test_sqlite_on_a_network_file_system_is_refused_everywhere(on_nfs: Path) -> None:
    url = f"sqlite:///{on_nfs / 'study.sqlite3'}"
    reason = (
        r"is on a network file system \(nfs4\), where SQLite's locks do not work: set state_dir to a local folder, or"
    )

    with pytest.raises(SettingsError, match=reason):
        check_database(url)
    with pytest.raises(SettingsError, match=reason):
        acquire_leadership(url, "run")
    with pytest.raises(SettingsError, match=reason):
        begin(make_context(on_nfs), "run", (make_level("1"),), 7, CREATED)

    assert not [*on_nfs.glob("*.sqlite3*")], "nothing was created"
    assert file_system_of(on_nfs.parent / "other" / "x") == "fuse.sshfs"
    require_local(f"sqlite:///{on_nfs.parent / 'study.sqlite3'}")
    require_local("postgresql+psycopg://host/x")


def test_a_sqlite_study_is_checked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study db'}"
    before = check_database(url)
    open_study(url, "run-L1-a1", FACTS).close()
    after = check_database(url)
    engine = make_engine(url)
    with engine.begin() as connection:
        drop_index(connection)
    engine.dispose()

    assert before == "no study yet"
    assert after == "SQLite, for coordinators of this machine only; schema v3.2.0.a; 1 studies"
    with pytest.raises(SettingsError, match="index"):
        check_database(url)


def drop_index(connection: Connection) -> None:
    connection.execute(text(f"DROP INDEX {INDEX}"))
