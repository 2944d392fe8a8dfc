"""The files of a store in a local folder: seals and candles beside each other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tradeschool.atomic_files import sync
from tradeschool.store.seal import PartFile, Seal, check_digest, write_seal


class LocalFolder:
    """Files below a root folder; `folder` is that of a dataset."""

    def __init__(self, root: Path, fetched_by: str) -> None:
        self._root, self._fetched_by = root, fetched_by

    def refresh(self, *, at_once: bool = False) -> None:
        """Do nothing: a local folder is always up to date."""

    def write_seal(self, folder: Path, seal: Seal) -> None:
        """Write a seal, whose files exist."""
        write_seal(self._root, folder, seal)

    def discard(self, paths: Sequence[Path]) -> None:
        """Remove files durably (fsync)."""
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            sync(folder)

    def keep(self, path: Path, file: PartFile) -> None:
        """Do nothing: a file that was written is where it belongs."""

    @contextmanager
    def opened(self, folder: Path, file: PartFile) -> Iterator[Path]:
        """Yield the path of a file."""
        yield folder / file.path

    def check(self, folder: Path, file: PartFile) -> None:
        """Check a file against its digest."""
        check_digest(folder, file, self._fetched_by)

    def verify(self, folder: Path, file: PartFile) -> None:
        """Check a file against its digest."""
        self.check(folder, file)
