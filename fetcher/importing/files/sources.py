"""Finds candle files: named files, folders, globs and the members of archives."""

import glob
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from fetcher.importing.files.archives import check_ratio, members, open_member
from fetcher.importing.files.errors import invalid
from tradeschool.errors import InvalidCandles, SettingsError

TEXTS = (".csv", ".tsv", ".txt", ".prn")
SUFFIXES = (*TEXTS, ".parquet", ".feather", ".arrow", ".json", ".jsonl")
"""File types that are read, each also compressed with gzip or inside a zip archive."""
HIDDEN = ("__MACOSX", ".")


@dataclass(frozen=True, slots=True)
class CandleFile:
    """One file of candles: on disk or a member of a zip archive, possibly compressed with gzip."""

    path: Path
    """File on disk; the archive of a member."""
    member: str | None = None
    unpacked: int = 0
    """Unpacked size in bytes of a member of an archive."""
    is_named: bool = True
    """Whether the user named this very file; otherwise it was found in a folder or archive."""

    @property
    def name(self) -> str:
        """Name in messages: the path, for a member followed by its name in the archive."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def file_name(self) -> str:
        """Last part of the name."""
        return PurePosixPath(self.member.replace("\\", "/")).name if self.member else self.path.name

    @property
    def is_gzip(self) -> bool:
        """Whether the file is compressed with gzip."""
        return self.file_name.lower().endswith(".gz")

    @property
    def suffix(self) -> str:
        """File type in lower case, without `.gz`."""
        name = self.file_name.lower()
        return PurePosixPath(name.removesuffix(".gz")).suffix

    @property
    def size(self) -> int:
        """Size in bytes of what is read: of a gzip file the compressed size."""
        return self.unpacked if self.member else self.path.stat().st_size

    def open(self) -> IO[bytes]:
        """Open the file for reading.

        Raises:
            InvalidCandles: if it cannot be opened.
        """
        try:
            raw = open_member(self.path, self.member) if self.member else self.path.open("rb")
        except OSError as error:
            raise invalid(self.name, f"cannot be read: {error.strerror or error}") from error
        return cast(IO[bytes], BoundedGzip(raw, self)) if self.is_gzip else raw


class BoundedGzip(gzip.GzipFile):
    """Reader of a gzip file that refuses to unpack to far more than candles do."""

    def __init__(self, raw: IO[bytes], file: CandleFile) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._file, self._unpacked = file, 0
        self.raw_file = raw
        """The compressed file."""

    def read(self, size: int | None = -1) -> bytes:
        """Read at most `size` unpacked bytes."""
        limit = (1 << 20) if size is None or size < 0 else size
        body = super().read(limit)
        self._unpacked += len(body)
        check_ratio(self._file.name, packed=self._file.size, unpacked=self._unpacked)
        return body

    def close(self) -> None:
        """Close this reader and the file below it."""
        super().close()
        self.raw_file.close()


@dataclass(frozen=True, slots=True)
class Found:
    """Candle files, and the files in folders and archives that are none."""

    files: tuple[CandleFile, ...]
    ignored: tuple[str, ...]


def find_files(paths: Iterable[str | Path]) -> Found:
    """Return the candle files of paths, folders, globs and archives, each once and sorted by name within a path.

    Raises:
        SettingsError: if a path does not exist or its file type is unknown.
        InvalidCandles: if an archive cannot be read, or no path leads to a candle file.
    """
    given = [Path(path) for path in paths]
    found: dict[tuple[Path, str | None], CandleFile] = {}
    ignored: list[str] = []
    for path in given:
        for file in _files(path, ignored):
            found.setdefault((file.path.resolve(), file.member), file)
    if not found:
        shown = ", ".join(map(str, given))
        raise InvalidCandles(f"{shown}: no candle files; expected names that end in {', '.join(SUFFIXES)}, .gz or .zip")
    return Found(tuple(found.values()), tuple(ignored))


def _files(path: Path, ignored: list[str]) -> Iterator[CandleFile]:
    if path.is_dir():
        for each in sorted(each for each in path.rglob("*") if each.is_file()):
            if not any(part.startswith(HIDDEN) for part in each.relative_to(path).parts):
                yield from _of_file(each, ignored, is_named=False)
    elif path.exists():
        yield from _of_file(path, ignored, is_named=True)
    elif matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  # Path.glob refuses absolute patterns
        for match in matches:
            yield from _files(Path(match), ignored)
    else:
        raise SettingsError(f"{path}: no such file or folder")


def _of_file(path: Path, ignored: list[str], *, is_named: bool) -> Iterator[CandleFile]:
    if path.suffix.lower() == ".zip":
        yield from _of_archive(path, ignored)
        return
    file = CandleFile(path, is_named=is_named)
    if file.suffix in SUFFIXES:
        yield file
    elif is_named:
        raise SettingsError(
            f"{path}: unknown file type; expected a name that ends in {', '.join(SUFFIXES)}, .gz or .zip"
        )
    else:
        ignored.append(file.name)


def _of_archive(path: Path, ignored: list[str]) -> Iterator[CandleFile]:
    for member, size in sorted(members(path)):
        file = CandleFile(path, member, size, is_named=False)
        parts = PurePosixPath(member.replace("\\", "/")).parts
        if any(part.startswith(HIDDEN) for part in parts):
            continue
        if file.suffix == ".zip":
            raise invalid(file.name, "is an archive inside an archive; unpack the outer one")
        if file.suffix in SUFFIXES:
            yield file
        else:
            ignored.append(file.name)


def position(file: IO[bytes]) -> int:
    """Return how many bytes of `CandleFile.size` were read: of a gzip file the compressed ones."""
    raw = getattr(file, "raw_file", file)
    try:
        return int(raw.tell())
    except (OSError, ValueError):
        return 0
