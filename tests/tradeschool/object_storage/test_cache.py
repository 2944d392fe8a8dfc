"""The cache downloads an object once, keeps what is read, and removes what was used least recently."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from tradeschool.errors import ForeignFile
from tradeschool.object_storage.cache import ObjectCache

SIZE = 1_000


class Source:
    """Objects that can be downloaded, and how often each was."""

    def __init__(self) -> None:
        self.content = {sha256(body).hexdigest(): body for body in (bytes([n]) * SIZE for n in range(4))}
        self.digests, self.downloads = list(self.content), []
        self.gate = threading.Event()
        self.gate.set()

    def read(self, cache: ObjectCache, digest: str) -> bytes:
        def download(path: Path) -> str:
            self.downloads.append(digest)
            self.gate.wait(60)
            path.write_bytes(self.content[digest])
            return sha256(self.content[digest]).hexdigest()

        with cache.opened(digest, download, SIZE) as path:
            return path.read_bytes()


@pytest.fixture
def source() -> Source:
    return Source()


def test_an_object_is_downloaded_once(source: Source, tmp_path: Path) -> None:
    first, second = (ObjectCache(tmp_path, 10 * SIZE) for _ in range(2))

    assert source.read(first, source.digests[0]) == source.read(second, source.digests[0])
    assert source.downloads == source.digests[:1]


def test_concurrent_readers_share_one_download(source: Source, tmp_path: Path) -> None:
    source.gate.clear()
    with ThreadPoolExecutor(8) as readers:
        found = [readers.submit(source.read, ObjectCache(tmp_path, 10 * SIZE), source.digests[0]) for _ in range(8)]
        source.gate.set()

    assert {each.result() for each in found} == {source.content[source.digests[0]]}
    assert source.downloads == source.digests[:1]


def test_the_least_recently_used_object_is_removed(source: Source, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, 2 * SIZE)
    one, two, three, _ = source.digests
    for age, digest in ((300, one), (200, two)):
        source.read(cache, digest)
        os.utime(cache.path(digest), (0, cache.path(digest).stat().st_mtime - age))
    source.read(cache, one)  # used again
    source.read(cache, three)

    assert [cache.has(each) for each in (one, two, three)] == [True, False, True]


def test_an_object_in_use_is_never_removed(source: Source, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, SIZE)
    one, two, three, _ = source.digests
    source.read(cache, one)
    with cache.opened(one, lambda path: "", SIZE) as path:
        source.read(ObjectCache(tmp_path, SIZE), two)
        assert path.read_bytes() == source.content[one]
    source.read(cache, three)

    assert not cache.has(one)


def test_a_damaged_copy_is_downloaded_again(source: Source, tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, 10 * SIZE)
    source.read(cache, source.digests[0])
    cache.path(source.digests[0]).write_bytes(b"damaged")

    assert source.read(cache, source.digests[0]) == source.content[source.digests[0]]
    assert len(source.downloads) == 2


def test_other_content_is_not_kept(source: Source, tmp_path: Path) -> None:
    cache, digest = ObjectCache(tmp_path, 10 * SIZE), source.digests[0]
    source.content[digest] = b"other"
    with pytest.raises(ForeignFile, match="has other content"):
        source.read(cache, digest)

    assert not cache.has(digest)
    assert list(cache.path(digest).parent.iterdir()) == []


def test_what_a_killed_download_left_is_removed(source: Source, tmp_path: Path) -> None:
    cache, digest = ObjectCache(tmp_path, 10 * SIZE), source.digests[0]
    leftover = cache.path(digest).with_name(f"{digest}.1234.partial")
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    source.read(cache, digest)

    assert [path.name for path in leftover.parent.iterdir()] == [digest]
