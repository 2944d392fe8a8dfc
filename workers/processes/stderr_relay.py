"""What a child process says on standard error: passed on as it comes, its last line kept.

Read by whoever looks at the child anyway, without a thread: a child that writes more than a pipe holds waits for the
next look.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

MAX_BYTES = 1 << 16
"""Of one look."""
MAX_LINE = 1_024
"""Characters of the line that is kept."""


class OutputForwarder:
    """The standard error of one child that was started with a pipe for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None, "it was started with a pipe"
        self._stream, self._rest, self.last_line = process.stderr, b"", ""
        os.set_blocking(self._stream.fileno(), False)

    def forward(self) -> None:
        """Pass on the whole lines that have come since the last look."""
        with suppress(BlockingIOError, ValueError):  # nothing has come, or it is closed
            *lines, self._rest = (self._rest + os.read(self._stream.fileno(), MAX_BYTES)).split(b"\n")
            self._pass_on(lines)
        if len(self._rest) > MAX_BYTES:  # a line without an end is not waited for
            self._pass_on([self._rest])
            self._rest = b""

    def close(self) -> str:
        """Pass on the rest, and give the last line."""
        self.forward()
        self._pass_on([self._rest] if self._rest else [])
        self._stream.close()
        return self.last_line

    def _pass_on(self, lines: Sequence[bytes]) -> None:
        for line in (line.decode(errors="replace") for line in lines):
            self.last_line = line.strip()[:MAX_LINE] or self.last_line
            with suppress(OSError):  # nobody listens any more
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
