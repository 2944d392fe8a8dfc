"""A PostgreSQL server of the system with TLS, on loopback; the server of the wheel has no TLS."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.factories.certificates import Authority, KeyPair

PASSWORD = "c4nary-database-password"
USER = "trials"
SYSTEM_USER = "postgres"
HBA = f"""local all all trust
hostssl certified {USER} 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all all 127.0.0.1/32 scram-sha-256
"""
"""Local connections are free; others need TLS and a password, and for one database a client certificate."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server; database `study` belongs to the user `trials`."""

    bin: Path
    port: int
    socket_folder: Path
    authority: Authority
    client: KeyPair

    def url(self, database: str = "study", *, host: str = "127.0.0.1", user: str = USER) -> str:
        """URL of a database without a password."""
        return f"postgresql+psycopg://{user}@{host}:{self.port}/{database}"

    def superuser(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements as the superuser; the rows of the last one."""
        with psycopg.connect(
            host=str(self.socket_folder), port=self.port, user="postgres", dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                found = connection.execute(statement)  # type: ignore[call-overload]  # text of a test
            return list(found.fetchall()) if found.description else []


@contextmanager
def tls_postgres() -> Iterator[PostgresServer]:
    """A server that requires TLS; skips the test where the system has none, or no user that may run it."""
    bins = _bins()
    prefix = _prefix()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), _free_port()
        folder.chmod(0o755)
        authority = Authority(folder / "certificates")
        server, home = authority.issue("server"), folder / "home"
        home.mkdir()
        files = [Path(shutil.copy(path, home / path.name)) for path in (server.cert, server.key, authority.ca)]
        (home / "hba").write_text(HBA)
        _give(home)
        data = home / "data"
        subprocess.run(
            [*prefix, bins / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=home,
        )
        options = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": home,
            "hba_file": home / "hba",
            "ssl": "on",
            "ssl_cert_file": files[0],
            "ssl_key_file": files[1],
            "ssl_ca_file": files[2],
            "fsync": "off",
        }
        words = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([*prefix, bins / "postgres", "-D", data, *words], stderr=log, cwd=home)
        made = PostgresServer(bins, port, home, authority, authority.issue("client"))
        try:
            _wait(made, process, folder / "log")
            made.superuser(
                f"CREATE USER {USER} PASSWORD '{PASSWORD}'",
                f"CREATE DATABASE study OWNER {USER}",
                f"CREATE DATABASE certified OWNER {USER}",
            )
            yield made
        finally:
            process.terminate()
            process.wait()


def _bins() -> Path:
    found = shutil.which("postgres")
    bins = Path(found).resolve().parent if found else next(iter(sorted(_debian(), reverse=True)), None)
    if bins is None:
        pytest.skip("no PostgreSQL server here: it is Debian's package postgresql")
    if "libssl" not in subprocess.run(["ldd", bins / "postgres"], capture_output=True, text=True, check=False).stdout:
        pytest.skip(f"{bins}/postgres has no TLS")
    return bins


def _debian() -> list[Path]:
    return [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]


def _prefix() -> list[str]:
    """What starts the server as another user where this one is root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    if not any(each.pw_name == SYSTEM_USER for each in pwd.getpwall()) or not shutil.which("setpriv"):
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {SYSTEM_USER} or no setpriv")
    return ["setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--clear-groups"]


def _give(folder: Path) -> None:
    """Give a folder to the user that runs the server."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, SYSTEM_USER, SYSTEM_USER)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    from tests.workers.servers import wait_until

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-500:]
        try:
            return bool(server.superuser("SELECT 1"))
        except psycopg.OperationalError:
            return False

    wait_until(answers)
