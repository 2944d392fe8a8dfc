"""The instruments that this process knows: the shipped ones, those of the settings and those of a data folder.

A command calls `use` once with its data folder. A worker process inherits that or calls `use` itself. The file of the
data folder is read at the first name that is not a shipped one, and again after another process has changed it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradeschool.markets.instrument_file import FILE_NAME, StoredInstruments, entry_of, instrument_of, read
from tradeschool.markets.instruments import Instrument
from tradeschool.markets.shipped import INSTRUMENTS

ListLoader = Callable[[str | None, bool], bool]
"""Requests the missing product list of a provider, or with None those of all, and with True old ones, too.

It returns whether any list has changed.
"""


@dataclass(slots=True)
class Registry:
    """Instruments by provider and name."""

    folder: Path | None = None
    """Data folder with `instruments.json`, None for the shipped instruments and `defined` only."""
    defined: tuple[Instrument, ...] = ()
    """Instruments of the settings; they take precedence over those of the file."""
    refresh: Callable[[], None] | None = None
    """Called before the file is looked at: copies it from a bucket if it has changed there."""
    loader: ListLoader | None = None
    """Called with a provider, or None, for a name that is not known; None for a process that sends no request."""
    _stored: StoredInstruments = field(default_factory=StoredInstruments)
    _stamp: tuple[int, int] | None = None

    def all(self) -> tuple[Instrument, ...]:
        """Return all known instruments: shipped, defined, then those of each provider's list.

        Raises:
            ForeignFile: if the file of the data folder cannot be read.
        """
        stored = self.stored()
        listed = [each for name in sorted(stored.lists) for each in stored.lists[name].instruments]
        return tuple(dict.fromkeys((*INSTRUMENTS, *self.defined, *stored.defined, *listed)))

    def stored(self) -> StoredInstruments:
        """Return the content of the data folder's file, read again if it has changed.

        Raises:
            ForeignFile: if the file cannot be read.
            ServiceUnreachable: if the bucket of the data folder does not answer.
        """
        if self.refresh:
            self.refresh()
        stamp = self._current_stamp()
        if stamp != self._stamp:
            self._stored = read(self.folder) if self.folder and stamp else StoredInstruments()
            self._stamp = stamp
        return self._stored

    def _current_stamp(self) -> tuple[int, int] | None:
        if self.folder is None:
            return None
        try:
            found = (self.folder / FILE_NAME).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino


_current = Registry()


def current() -> Registry:
    """Return the registry of this process."""
    return _current


def use(
    folder: Path | None,
    defined: Iterable[Instrument] = (),
    loader: ListLoader | None = None,
    refresh: Callable[[], None] | None = None,
) -> Registry:
    """Make the instruments of a data folder known to this process."""
    global _current  # one registry per process, like its logging
    place = folder.absolute() if folder else None
    _current = Registry(folder=place, defined=tuple(defined), loader=loader, refresh=refresh)
    return _current


def as_json() -> dict[str, object]:
    """Return what `use_json` needs to make the same instruments known to another process."""
    folder = str(_current.folder) if _current.folder else None
    return {"folder": folder, "defined": [entry_of(each) for each in _current.defined]}


def use_json(content: Mapping[str, Any]) -> None:
    """Make the instruments of another process known to this one."""
    folder = Path(content["folder"]) if content["folder"] else None
    use(folder, [instrument_of(each) for each in content["defined"]])


@contextmanager
def loading_lists(loader: ListLoader) -> Iterator[None]:
    """Request product lists for unknown names during the block."""
    before, _current.loader = _current.loader, loader
    try:
        yield
    finally:
        _current.loader = before
