"""Local cache of immutable objects, named by the SHA-256 digest of their content and shared by a machine's processes.

    <folder>/objects/ab/ab12...      content; a reader holds a shared lock on it, and only an unlocked file is removed
    <folder>/locks/ab12...           held during a download, so that one process downloads and the others wait

A file appears under its name only after its digest was checked. When the cache is full, the least recently used
files are removed.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tradeschool.atomic_files import sha256_of, sync
from tradeschool.errors import ForeignFile, StoreUnwritable
from tradeschool.object_storage.file_lock import is_taken, locked

PARTIAL = ".partial"
"""Suffix of unfinished downloads."""

log = logging.getLogger(__name__)


class ObjectCache:
    """A bounded folder of objects."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes

    def path(self, digest: str) -> Path:
        """Return the path at which an object is kept."""
        return self._folder / "objects" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Whether an object is kept, intact or not."""
        return self.path(digest).exists()

    @contextmanager
    def opened(self, digest: str, download: Callable[[Path], str], size: int) -> Iterator[Path]:
        """Yield the path of an intact object, which stays until the block ends.

        If it is missing or damaged, one process of the machine calls `download`, which writes `size` bytes to a new
        file and returns their digest.

        Raises:
            ForeignFile: if the downloaded content has another digest.
            StoreUnwritable: if the folder cannot be written.
        """
        descriptor = self._held(digest)
        if descriptor is None:
            with locked(self._folder / "locks" / digest, f"downloading object {digest[:12]}"):
                descriptor = self._held(digest)
                if descriptor is None:
                    self._fill(digest, download, size)
                    descriptor = self._held(digest)
        if descriptor is None:
            raise StoreUnwritable(f"{self._folder}: object {digest[:12]} was removed; set a larger cache_mb")
        try:
            yield self.path(digest)
        finally:
            os.close(descriptor)

    def add(self, source: Path, digest: str) -> None:
        """Move a local file into the cache; its content has the digest."""
        path = self.path(digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
        except OSError as error:
            raise StoreUnwritable(f"cannot write {path}: {error.strerror}; free space or fix permissions") from error
        self._evict(keep=path)

    def _held(self, digest: str) -> int | None:
        """Return a descriptor with a shared lock on an intact object, None if there is none; remove a damaged one."""
        path = self.path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        with suppress(OSError):
            if is_taken(descriptor, fcntl.LOCK_SH) and os.fstat(descriptor).st_nlink and sha256_of(path) == digest:
                os.utime(path)
                return descriptor
            if os.fstat(descriptor).st_nlink and sha256_of(path) != digest:
                log.warning("Damaged cache file removed", extra={"action": "cache_damaged", "path": str(path)})
                path.unlink(missing_ok=True)
        os.close(descriptor)
        return None

    def _fill(self, digest: str, download: Callable[[Path], str], size: int) -> None:
        path = self.path(digest)
        partial = path.with_name(f"{digest}.{uuid4().hex[:8]}{PARTIAL}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sweep(path.parent, digest)
            self._evict(size)
            found = download(partial)
            if found != digest:
                raise ForeignFile(
                    f"object {digest[:12]}... has other content (sha256 {found[:12]}...) than its seal lists; "
                    "run: tradeschool data verify"
                )
            sync(partial)
            partial.replace(path)
        except OSError as error:
            raise StoreUnwritable(f"cannot write {path}: {error.strerror}; free space or fix permissions") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _sweep(self, folder: Path, digest: str) -> None:
        """Remove the unfinished files of killed downloads of an object; the caller holds its lock."""
        for leftover in folder.glob(f"{digest}.*{PARTIAL}"):
            with suppress(OSError):
                leftover.unlink()

    def _evict(self, coming: int = 0, keep: Path | None = None) -> None:
        """Remove the least recently used files that no process reads until `coming` bytes fit into the limit."""
        files = []
        for path in (self._folder / "objects").glob("*/*"):
            with suppress(OSError):
                found = path.stat()
                files.append((found.st_mtime_ns, found.st_size, path))
        total = coming + sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._limit:
                return
            if path != keep and path.suffix != PARTIAL and _is_removed(path):
                total -= size


def _is_removed(path: Path) -> bool:
    """Remove a file unless a process reads it; return whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if not is_taken(descriptor, fcntl.LOCK_EX):
            return False
        path.unlink(missing_ok=True)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
