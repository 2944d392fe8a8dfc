"""Atomic and durable file operations: write, append, remove leftovers, fsync and digest."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from tradeschool.errors import StoreUnwritable

STAGING = ".staging"
"""Folder below a root for temporary files, separate from finished files so that directory scans do not find them."""


def publish(root: Path, path: Path, write: Callable[[Path], None]) -> None:
    """Create or replace `path`, which lies below `root`, atomically; `write` fills the temporary file it is given.

    Raises:
        StoreUnwritable: if the file cannot be written; `path` is unchanged and no temporary file is left.
    """
    staging = root / STAGING
    temporary = staging / f"{path.name}.{uuid4().hex}"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        sync(temporary)
        temporary.replace(path)
        for folder in (path.parent, *path.parent.parents):
            sync(folder)
            if folder == root:
                break
    except OSError as error:
        raise StoreUnwritable(
            f"cannot write {path}: {error.strerror or error}; free space or fix permissions"
        ) from error
    finally:
        _discard(temporary)


def publish_text(root: Path, path: Path, text: str) -> None:
    """Create or replace `path` atomically with a UTF-8 text.

    Raises:
        StoreUnwritable: as `publish`.
    """
    publish(root, path, lambda temporary: _write_text(temporary, text))


def append_line(path: Path, line: str) -> None:
    """Append a line to a log file and fsync it.

    If an earlier line was truncated by a full disk, a line break is written first.

    Raises:
        StoreUnwritable: if the line cannot be written; a part of the line may be left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as log:
            is_cut = log.seek(0, os.SEEK_END) > 0 and _last_byte(log) != b"\n"
            log.write(b"\n" * is_cut + line.encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())
    except OSError as error:
        raise StoreUnwritable(
            f"cannot write {path}: {error.strerror or error}; free space or fix permissions"
        ) from error


def sweep(root: Path) -> int:
    """Remove temporary files of killed writers and return their number; no other writer may be active."""
    leftovers = list((root / STAGING).glob("*"))
    for leftover in leftovers:
        _discard(leftover)
    return len(leftovers)


def is_swept(root: Path) -> bool:
    """Whether there are no temporary files below a root, neither of an active nor of a killed writer."""
    return not any((root / STAGING).glob("*"))


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # such as on a read-only disk; the next sweep removes it
