"""Forwards the standard error of a child process, and keeps its last line.

The parent reads it when it checks the child, without a thread; a child that fills the pipe waits for the next check.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

MAX_BYTES = 1 << 16
"""Bytes that one call reads at most."""
MAX_LINE = 1_024
"""Characters of the line that is kept."""


class OutputForwarder:
    """The standard error of one child that was started with a pipe for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None, "it was started with a pipe"
        self._stream, self._rest, self.last_line = process.stderr, b"", ""
        os.set_blocking(self._stream.fileno(), False)

    def forward(self) -> None:
        """Forward the complete lines since the last call."""
        with suppress(BlockingIOError, ValueError):  # nothing to read, or closed
            *lines, self._rest = (self._rest + os.read(self._stream.fileno(), MAX_BYTES)).split(b"\n")
            self._pass_on(lines)
        if len(self._rest) > MAX_BYTES:  # forwards a very long line before its end
            self._pass_on([self._rest])
            self._rest = b""

    def close(self) -> str:
        """Forward the rest, and return the last line."""
        self.forward()
        self._pass_on([self._rest] if self._rest else [])
        self._stream.close()
        return self.last_line

    def _pass_on(self, lines: Sequence[bytes]) -> None:
        for line in (line.decode(errors="replace") for line in lines):
            self.last_line = line.strip()[:MAX_LINE] or self.last_line
            with suppress(OSError):  # standard error is closed
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
