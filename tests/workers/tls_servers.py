"""Redis servers of the system with TLS: single ones, sentinels and a server of a cluster. Valkey's wheel has no TLS."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.factories.certificates import Authority, KeyPair
from tests.workers.servers import wait_until

ACL = Path(__file__).parents[2] / "deploy" / "valkey-users.acl"
PASSWORD = "c4nary-redis-password"
OPERATOR = "c4nary-operator-password"


@dataclass
class TlsServers:
    """Starts servers that require TLS, a client certificate and a user of the shipped ACL file."""

    folder: Path
    authority: Authority
    server: KeyPair
    client: KeyPair
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *options: str, acl: bool = True, tls: bool = True) -> int:
        """Start a server and return its port."""
        port = free_port()
        home = self.folder / str(port)
        home.mkdir()
        words = ["--bind", "127.0.0.1", "--dir", str(home), "--save", "", "--logfile", str(home / "log")]
        words += ["--port", "0", "--tls-port", str(port)] if tls else ["--port", str(port)]
        words += ["--aclfile", str(self._users())] if acl else []
        self._run(port, [*words, *self._tls_options(), *options])
        return port

    def start_sentinel(self, primary: int) -> int:
        """Start a sentinel of the primary, and return its port."""
        port = free_port()
        file = self.folder / f"sentinel-{port}.conf"
        files = "\n".join(f"{name[2:]} {value}" for name, value in pairs(self._tls_options()))
        file.write_text(
            f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {self.folder}\nlogfile {self.folder}/sentinel.log\n{files}\n"
            f"requirepass {PASSWORD}\n"
            f"sentinel monitor trials-primary 127.0.0.1 {primary} 1\n"
            f"sentinel auth-user trials-primary operator\nsentinel auth-pass trials-primary {OPERATOR}\n"
            "sentinel down-after-milliseconds trials-primary 600000\n"
        )
        self._run(port, [str(file), "--sentinel"])
        return port

    def operator(self, port: int, *, user: str | None = "operator", password: str = OPERATOR) -> Redis:
        """A connection with all permissions."""
        return Redis(
            port=port,
            ssl=True,
            username=user,
            password=password,
            ssl_ca_certs=str(self.authority.ca),
            ssl_certfile=str(self.client.cert),
            ssl_keyfile=str(self.client.key),
            host="127.0.0.1",
        )

    def kill(self, port: int) -> None:
        """Kill a server with SIGKILL."""
        self.processes[port].kill()
        self.processes[port].wait()

    def _run(self, port: int, words: list[str]) -> None:
        self.processes[port] = subprocess.Popen([binary(), *words], stdout=subprocess.DEVNULL)
        wait_until(lambda: listens(port, self.processes[port]))

    def _users(self) -> Path:
        users = self.folder / "users.acl"
        if not users.exists():
            text = ACL.read_text()
            for digit, password in (("0", PASSWORD), ("1", OPERATOR)):
                text = text.replace(f"#{digit * 64}", f"#{sha256(password.encode()).hexdigest()}")
            users.write_text(text)
        return users

    def _tls_options(self) -> list[str]:
        files = ["--tls-ca-cert-file", str(self.authority.ca), "--tls-cert-file", str(self.server.cert)]
        return [*files, "--tls-key-file", str(self.server.key), "--tls-auth-clients", "yes", "--tls-replication", "yes"]


@contextmanager
def tls_servers() -> Iterator[TlsServers]:
    """Servers in a folder that only this user can open; at the end all of them are killed."""
    with tempfile.TemporaryDirectory() as name:
        authority = Authority(Path(name) / "certificates")
        made = TlsServers(Path(name), authority, authority.issue("server"), authority.issue("client"))
        yield made
        for process in made.processes.values():
            process.kill()
            process.wait()


def binary() -> str:
    """Path of redis-server with TLS; skips the test where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server here: it is Debian's package of that name")
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
    if "libssl" not in linked:
        pytest.skip(f"{found} has no TLS")
    return found


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=True))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether a server listens on the port; a server that has ended fails the test."""
    assert process.poll() is None, f"the server of port {port} has ended"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def holds_data(connection: Redis) -> bool:
    """Whether a replica has the data of its primary."""
    with suppress(RedisError):
        found = connection.info("replication")
        return found.get("master_link_status") == "up" and not found.get("master_sync_in_progress")
    time.sleep(0.05)
    return False
