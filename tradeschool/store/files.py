"""Files that are there whole or not at all, even when the power fails in between."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from tradeschool.errors import StoreUnwritable

STAGING = ".staging"
"""Folder below a root for files in the making: a stray file would break directory scans beside the finished."""


def publish(root: Path, path: Path, write: Callable[[Path], None]) -> None:
    """Make `path`, which lies below `root`, appear at once with what `write` puts into the file it is given.

    Raises:
        StoreUnwritable: where the disk is full, read-only or not ours; nothing is left at `path`, nor in between.
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
    """The same for a text.

    Raises:
        StoreUnwritable: as above.
    """
    publish(root, path, lambda temporary: _write_text(temporary, text))


def append_line(path: Path, line: str) -> None:
    """Add a line to the end of a log, and wait until it is on the disk.

    What a full disk left of an earlier line is closed by a line break first.

    Raises:
        StoreUnwritable: where the disk is full, read-only or not ours; at most a part of the line is left.
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
    """Remove what writers that were killed left in staging; how many files that were. One writer at a time."""
    leftovers = list((root / STAGING).glob("*"))
    for leftover in leftovers:
        _discard(leftover)
    return len(leftovers)


def is_swept(root: Path) -> bool:
    """Whether nothing is in the making below a root, nor left over from a writer that was killed."""
    return not any((root / STAGING).glob("*"))


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
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
        return  # a disk that takes no writes takes no removals either; the next sweep does it
