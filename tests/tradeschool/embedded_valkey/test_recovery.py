"""The embedded server starts with damaged files or reports the reason in one line."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tradeschool.embedded_valkey import recovery
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import ServiceUnreachable

FILES = "appendonlydir"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a server that has rewritten its append-only file once: a base and an increment."""
    valkey = EmbeddedValkey.of(tmp_path_factory.mktemp("stored"))
    with valkey.running(), redis.Redis.from_url(valkey.url) as connection:
        connection.rpush("list", *["x" * 50] * 1_000)
        connection.bgrewriteaof()
        while connection.info("persistence")["aof_rewrite_in_progress"] or not list(files(valkey, "*.2.base.rdb")):
            pass
        for _ in range(200):
            connection.rpush("list", "y" * 50)
    return valkey.folder / FILES


@pytest.fixture
def valkey(tmp_path: Path, stored: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey.of(tmp_path / "state")
    server.folder.mkdir(parents=True)
    shutil.copytree(stored, server.folder / FILES)
    yield server
    server.stop()


def files(valkey: EmbeddedValkey, pattern: str) -> list[Path]:
    return sorted((valkey.folder / FILES).glob(pattern))


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def in_the_middle(valkey: EmbeddedValkey) -> None:
    overwrite(files(valkey, "*.incr.aof")[0], 5_000, b"GARBAGE" * 20)  # longer than a value, which may hold anything


def in_the_base(valkey: EmbeddedValkey) -> None:
    overwrite(files(valkey, "*.base.rdb")[0], 40, b"GARBAGE")


def cut_base(valkey: EmbeddedValkey) -> None:
    os.truncate(files(valkey, "*.base.rdb")[0], 30)


def newer_version(valkey: EmbeddedValkey) -> None:
    overwrite(files(valkey, "*.base.rdb")[0], 6, b"9999")


def no_base(valkey: EmbeddedValkey) -> None:
    files(valkey, "*.base.rdb")[0].unlink()


def spoilt_manifest(valkey: EmbeddedValkey) -> None:
    files(valkey, "*.manifest")[0].write_text("garbage")


def empty_manifest(valkey: EmbeddedValkey) -> None:
    files(valkey, "*.manifest")[0].write_text("")


def file_for_folder(valkey: EmbeddedValkey) -> None:
    shutil.rmtree(valkey.folder / FILES)
    (valkey.folder / FILES).write_text("in the way")


@pytest.mark.parametrize(
    "spoil",
    [in_the_middle, in_the_base, cut_base, newer_version, no_base, spoilt_manifest, empty_manifest, file_for_folder],
)
def test_unreadable_files_are_moved_aside(
    valkey: EmbeddedValkey, spoil: Callable[[EmbeddedValkey], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(valkey)
    with (
        caplog.at_level(logging.WARNING),
        valkey.running(),
        redis.Redis.from_url(valkey.url) as connection,
    ):
        assert not connection.exists("list")
        connection.set("key", "value")
    (line,) = caplog.records

    assert line.action == "queue_files_set_aside"
    assert line.moved_to == str(valkey.folder / "unreadable-1")
    assert line.reason
    assert (valkey.folder / "unreadable-1" / FILES).exists()


def cut_tail(valkey: EmbeddedValkey) -> None:
    path = files(valkey, "*.incr.aof")[0]
    os.truncate(path, path.stat().st_size - 7)


def stale_socket(valkey: EmbeddedValkey) -> None:
    valkey.socket.parent.mkdir(parents=True, exist_ok=True)
    valkey.socket.write_bytes(b"")


def untouched(valkey: EmbeddedValkey) -> None:
    """Files as a killed server leaves them."""


@pytest.mark.parametrize("leave", [cut_tail, stale_socket, untouched])
def test_files_left_by_a_kill_are_loaded(
    valkey: EmbeddedValkey, leave: Callable[[EmbeddedValkey], None], caplog: pytest.LogCaptureFixture
) -> None:
    leave(valkey)
    with valkey.running(), redis.Redis.from_url(valkey.url) as connection:
        assert connection.llen("list") >= 1_199
    assert caplog.records == []


def test_only_a_few_damaged_files_are_kept(valkey: EmbeddedValkey, stored: Path) -> None:
    for _ in range(recovery.MAX_ASIDE + 2):
        shutil.rmtree(valkey.folder / FILES, ignore_errors=True)
        shutil.copytree(stored, valkey.folder / FILES)
        spoilt_manifest(valkey)
        with valkey.running():
            pass

    assert sorted(path.name for path in valkey.folder.glob("unreadable-*")) == [
        "unreadable-3",
        "unreadable-4",
        "unreadable-5",
    ]


def test_a_full_disk_is_reported_and_no_file_is_moved(small_disk: Path, stored: Path) -> None:
    valkey = EmbeddedValkey.of(small_disk)
    valkey.folder.mkdir()
    (small_disk / "more").write_bytes(b"")
    with pytest.raises(OSError, match="No space"), (small_disk / "more").open("wb") as file:
        while True:
            file.write(bytes(1 << 10))
            file.flush()

    with pytest.raises(ServiceUnreachable, match=r"disk of .* is full; free some space"), valkey.running():
        pass
    assert list(valkey.folder.glob("unreadable-*")) == []

    (small_disk / "more").unlink()
    with valkey.running():
        assert valkey.pid


def test_files_that_cannot_be_moved_are_reported(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, files of another user."""
    spoilt_manifest(valkey)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)

    with (
        pytest.raises(ServiceUnreachable, match="appendonlydir cannot be moved: Permission denied: change their owner"),
        valkey.running(),
    ):
        pass
