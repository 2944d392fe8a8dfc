import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import ServiceUnreachable, StoreUnwritable

USER = """
import sys, time
from pathlib import Path
from tradeschool.embedded_valkey.server import EmbeddedValkey

with EmbeddedValkey.of(Path(sys.argv[1])).running():
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey.of(tmp_path / "state")
    yield server
    server.stop()


@pytest.fixture
def eventually() -> Callable[..., None]:
    def wait(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.02)

    return wait


@pytest.fixture
def user(valkey: EmbeddedValkey) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(valkey.folder.parent)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_server_answers_until_it_is_stopped(valkey: EmbeddedValkey) -> None:
    with valkey.running() as running, redis.Redis.from_url(running.url) as connection:
        assert connection.ping()
    assert valkey.pid is None


def test_starting_a_running_server_is_idempotent(valkey: EmbeddedValkey) -> None:
    with valkey.running():
        first = valkey.pid
        with valkey.running():
            assert valkey.pid == first
        assert valkey.pid == first
    assert valkey.pid is None


def test_the_last_of_two_users_stops_the_server(valkey: EmbeddedValkey, user: subprocess.Popen[str]) -> None:
    with valkey.running():
        pid = valkey.pid
        assert pid is not None
    assert valkey.pid == pid

    user.send_signal(signal.SIGINT)
    user.wait()
    assert valkey.pid is None


def test_a_killed_user_leaves_no_lock(valkey: EmbeddedValkey, user: subprocess.Popen[str]) -> None:
    user.kill()
    user.wait()
    assert valkey.pid is not None

    with valkey.running():
        pass
    assert valkey.pid is None


def test_stored_data_survives_a_killed_server(valkey: EmbeddedValkey) -> None:
    """The append-only file has all data older than a second, and a kill does not lose kernel buffers."""
    with valkey.running(), redis.Redis.from_url(valkey.url) as connection:
        connection.set("key", "value")
        pid = valkey.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        while valkey.pid is not None:
            pass

    with valkey.running(), redis.Redis.from_url(valkey.url) as connection:
        assert connection.get("key") == b"value"


def test_a_long_path_uses_a_short_socket_path(tmp_path: Path) -> None:
    valkey = EmbeddedValkey.of(tmp_path / ("long" * 30))
    with valkey.running(), redis.Redis.from_url(valkey.url) as connection:
        assert connection.ping()
        assert (valkey.folder / "appendonlydir").is_dir()
    valkey.socket.parent.rmdir()


def test_the_server_is_private_to_its_owner(valkey: EmbeddedValkey) -> None:
    with valkey.running():
        assert stat.S_IMODE(valkey.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(valkey.socket.stat().st_mode) == 0o700


def test_a_hanging_server_is_reported_and_not_started_twice(valkey: EmbeddedValkey) -> None:
    """A second server would take the socket and write into the same append-only file."""
    with valkey.running():
        pid = valkey.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ServiceUnreachable, match="did not respond within 2 s"), valkey.running():
                pass
        finally:
            os.kill(pid, signal.SIGCONT)
        assert valkey.pid == pid


def test_a_server_without_visible_socket_is_not_started_twice(valkey: EmbeddedValkey) -> None:
    """As in a container or service with a private /tmp."""
    with valkey.running():
        pid, hidden = valkey.pid, valkey.socket.with_name("hidden")
        valkey.socket.rename(hidden)
        try:
            expected = rf"runs, but its socket cannot be reached from here \(process {pid}\)"
            with pytest.raises(ServiceUnreachable, match=expected), valkey.running():
                pass
        finally:
            hidden.rename(valkey.socket)
        assert valkey.pid == pid


def test_a_server_that_cannot_start_is_reported(valkey: EmbeddedValkey) -> None:
    """Immediately after it has ended, not after a time-out."""
    (valkey.folder / "valkey.sock" / "in the way").mkdir(parents=True)

    with (
        pytest.raises(ServiceUnreachable, match=r"did not start: .*[Ss]ocket.*; see .*valkey\.log"),
        valkey.running(),
    ):
        pass


def test_a_killed_server_is_restarted(valkey: EmbeddedValkey, eventually: Callable[..., None]) -> None:
    with valkey.running(), redis.Redis.from_url(valkey.url) as connection:
        connection.rpush("key", "a", "b")
        first = valkey.pid
        assert first
        damage(valkey, first)
        eventually(lambda: valkey.pid not in (None, first))

        assert connection.ping()
        assert not connection.exists("key")


def test_a_stopped_server_is_not_restarted(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    monkeypatch.setattr("tradeschool.embedded_valkey.server.KEEP_SECONDS", 0.01)
    with valkey.running():
        valkey.stop()
        with monkeypatch.context() as patched:
            patched.setattr(EmbeddedValkey, "pid", property(lambda _: looks.append(0.0)))
            while len(looks) < 5:
                pass
        assert valkey.pid is None


def damage(valkey: EmbeddedValkey, pid: int) -> None:
    """Kill the server and damage its files."""
    os.kill(pid, signal.SIGSTOP)
    (file,) = (valkey.folder / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(b"*3\r\n$5\r\nRPUSH\r\n$3\r\nGARBAGE\r\n" + file.read_bytes())
    os.kill(pid, signal.SIGKILL)


def test_a_state_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")

    with pytest.raises(StoreUnwritable, match="set state_dir"), EmbeddedValkey.of(tmp_path / "state").running():
        pass


def test_stopping_a_stopped_server_is_reported(tmp_path: Path) -> None:
    assert not EmbeddedValkey.of(tmp_path / "state").stop()


def test_checking_an_unused_server_leaves_no_file(valkey: EmbeddedValkey) -> None:
    assert not valkey.is_in_use
    assert not valkey.folder.exists()
    with valkey.running():
        assert valkey.is_in_use
    assert not valkey.is_in_use


def test_a_killed_server_is_in_use_until_its_user_ends(valkey: EmbeddedValkey, user: subprocess.Popen[str]) -> None:
    pid = valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert valkey.is_in_use
    user.kill()
    user.wait(timeout=60)

    assert not valkey.is_in_use
