"""Request log of the simulated exchange, used to measure the request rate on the server side."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from tradeschool.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One request that was answered or aborted."""

    arrived_seconds: float
    """Arrival time on the monotonic clock."""
    protocol: str
    """Name of the protocol, such as `coinbase`."""
    path: str
    query: str
    status: int
    """HTTP status; 0 if the connection was closed without a response."""
    bytes: int
    """Sent bytes of the body, after compression."""
    fault: str
    """Name of the injected fault, `none` without one."""


class RequestLog:
    """Bounded list of the last requests, in the order in which their responses ended."""

    def __init__(self, remembered: int) -> None:
        self.requests: deque[RecordedRequest] = deque(maxlen=remembered)
        self._log: IO[bytes] | None = None

    def add(self, seen: RecordedRequest) -> None:
        """Add a request to the list and to the log file, if one is open."""
        self.requests.append(seen)
        if self._log is not None:
            # Written synchronously: a hundred bytes to the page cache cost less than a switch to a thread.
            self._log.write(msgspec.json.encode(seen) + b"\n")

    @contextmanager
    def appended_to(self, path: Path | None) -> Iterator[None]:
        """Append every request to a file as a line of JSON during the block; None disables the file.

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
