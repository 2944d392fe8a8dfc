"""What the exchange was asked, as it saw it: the rate at the server, measured from outside the client."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from tradeschool.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request that has been answered, or cut off."""

    arrived_seconds: float
    """Monotonic clock of the machine."""
    protocol: str
    """Such as `coinbase`."""
    path: str
    query: str
    status: int
    """0 where the connection was closed without an answer."""
    bytes: int
    """Of the body as it was sent, compressed where it was."""
    fault: str
    """Name of the fault that befell it, `none` as a rule."""


class Record:
    """The last requests, oldest first by the end of their answer."""

    def __init__(self, remembered: int) -> None:
        self.requests: deque[Seen] = deque(maxlen=remembered)
        self._log: IO[bytes] | None = None

    def add(self, seen: Seen) -> None:
        """Remember a request, and append it to the log where there is one."""
        self.requests.append(seen)
        if self._log is not None:
            # A hundred bytes into the page cache: handing them to a thread would cost more than writing them.
            self._log.write(msgspec.json.encode(seen) + b"\n")

    @contextmanager
    def appended_to(self, path: Path | None) -> Iterator[None]:
        """Append every request to the file as a line of JSON, at once; None for no file.

        Raises:
            SettingsError: if the file cannot be opened.
        """
        if path is None:
            yield
            return
        try:
            log = path.open("ab", buffering=0)
        except OSError as error:
            raise SettingsError(f"request log {path} cannot be written: {error.strerror}") from error
        with log:
            self._log = log
            try:
                yield
            finally:
                self._log = None
