"""Bounded output of processes that run a user's strategy: complete plain-text lines up to a limit, the rest counted."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from tradeschool.plain_text import plain

MAX_BYTES = 1_000_000
"""Bytes of one process that reach standard error."""
MAX_LINE = 4096
CHUNK = 1 << 16


class BoundedOutput:
    """Splits a stream of bytes into lines and calls `write` with each, up to the limits."""

    def __init__(
        self, write: Callable[[str], None], *, max_bytes: int, max_line: int, max_lines: int = sys.maxsize
    ) -> None:
        """`max_line` is in characters."""
        self._write, self._max_bytes, self._max_line, self._max_lines = write, max_bytes, max_line, max_lines
        self._rest, self._received, self._written, self._lines = b"", 0, 0, 0

    def feed(self, data: bytes) -> None:
        """Write the lines that `data` completes."""
        self._received += len(data)
        room = max(0, self._max_bytes - self._written - len(self._rest))
        *lines, self._rest = (self._rest + data[:room]).split(b"\n")
        for line in lines:
            self._write_line(line)

    def flush(self) -> int:
        """Write an incomplete last line, reset the limits, and return how many bytes were left out."""
        if self._rest:
            self._write_line(self._rest)
        left_out = self._received - self._written
        self._rest, self._received, self._written, self._lines = b"", 0, 0, 0
        return left_out

    def _write_line(self, line: bytes) -> None:
        if self._lines >= self._max_lines:
            return
        self._lines += 1
        self._written += min(self._received - self._written, len(line) + 1)
        if text := plain(line.decode(errors="replace").rstrip()[: self._max_line]):
            self._write(text)


def forward_bounded(stream: IO[bytes]) -> threading.Thread:
    """Forward a stream to standard error in a daemon thread, within `MAX_BYTES`; the rest is read and dropped."""
    thread = threading.Thread(target=_forward, args=(stream,), name="strategy output", daemon=True)
    thread.start()
    return thread


def _forward(stream: IO[bytes]) -> None:
    output = BoundedOutput(_write_stderr, max_bytes=MAX_BYTES, max_line=MAX_LINE)
    with stream:
        while data := os.read(stream.fileno(), CHUNK):
            output.feed(data)
    if output.flush():
        _write_stderr("(further output of the strategy is left out)")


def _write_stderr(text: str) -> None:
    with suppress(OSError, ValueError):  # standard error is closed
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
