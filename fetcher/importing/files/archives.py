"""Archives: lists the members of a zip file and limits what a compressed file may unpack to."""

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from stat import S_ISLNK
from typing import IO

from fetcher.importing.files.errors import invalid

MAX_MEMBERS = 20_000
MAX_RATIO = 300
"""Largest plausible ratio of unpacked to packed bytes; candles as text compress by a factor of 3 to 50."""
ALWAYS_ALLOWED = 32 << 20
"""Bytes that a compressed file may unpack to at any ratio."""


def members(path: Path) -> Iterator[tuple[str, int]]:
    """Yield name and unpacked size of each file of a zip archive.

    Raises:
        InvalidCandles: if it is damaged or encrypted, unpacks to too much, or has names that leave its folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise invalid(str(path), f"cannot be read as a zip archive: {error}") from error
    if len(entries) > MAX_MEMBERS:
        raise invalid(str(path), f"has {len(entries):,} members, expected at most {MAX_MEMBERS:,}")
    check_ratio(str(path), packed=path.stat().st_size, unpacked=sum(entry.file_size for entry in entries))
    for entry in entries:
        _check_member(path, entry)
        if not entry.filename.endswith("/"):
            yield entry.filename, entry.file_size


def check_ratio(name: str, *, packed: int, unpacked: int) -> None:
    """Refuse a compressed file that unpacks to far more than candles do.

    Raises:
        InvalidCandles: if it does.
    """
    if unpacked > max(ALWAYS_ALLOWED, packed * MAX_RATIO):
        raise invalid(
            name, f"unpacks to more than {MAX_RATIO} times its {packed:,} bytes; unpack it and import the files"
        )


def open_member(path: Path, member: str) -> IO[bytes]:
    """Open a member of a zip archive; closing the file closes the archive.

    Raises:
        InvalidCandles: if the member cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.open(member)  # the archive's file stays open as long as the member's
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, KeyError) as error:
        raise invalid(f"{path}/{member}", f"cannot be unpacked: {error}") from error


def _check_member(path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or ":" in parts[0]:
        raise invalid(str(path), f"has a member with an unsafe path {entry.filename[:80]!r}; nothing was read")
    if S_ISLNK(entry.external_attr >> 16):
        raise invalid(str(path), f"has a link {entry.filename[:80]!r}, expected files; nothing was read")
    if entry.flag_bits & 1:
        raise invalid(
            str(path), f"member {entry.filename[:80]!r} is encrypted; unpack the archive and import its files"
        )
