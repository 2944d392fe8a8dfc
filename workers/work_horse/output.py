"""Output of a strategy in a work horse: read as it arrives, so that nothing blocks, and logged within limits."""

import logging
import os
from contextlib import suppress

from workers.processes.bounded_output import CHUNK, BoundedOutput

MAX_BYTES = 65_536
"""Bytes of one batch that are logged; the rest is counted."""
MAX_LINES = 200
MAX_LINE = 1_000
"""Characters of a line."""

log = logging.getLogger(__name__)


class StrategyOutput:
    """The worker's end of the pipe that receives a work horse's standard output and error."""

    def __init__(self, end: int) -> None:
        os.set_blocking(end, False)
        self._end = end
        self._output = BoundedOutput(_log_line, max_bytes=MAX_BYTES, max_line=MAX_LINE, max_lines=MAX_LINES)
        self.is_closed = False
        """Whether every writer has closed its end."""

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._end

    def read(self) -> bool:
        """Read up to `CHUNK` available bytes; False if there are none."""
        try:
            part = os.read(self._end, CHUNK)
        except BlockingIOError:
            return False
        self.is_closed = not part
        self._output.feed(part)
        return bool(part)

    def end_batch(self) -> None:
        """Log the rest of a batch's output, and how much was left out."""
        for _ in range(MAX_BYTES // CHUNK + 16):  # more than a pipe holds; a process that still writes is killed later
            if not self.read():
                break
        if left_out := self._output.flush():
            log.warning("strategy output cut", extra={"action": "strategy_wrote_more", "bytes_left_out": left_out})

    def close(self) -> None:
        """Log the rest and close the pipe."""
        self.end_batch()
        with suppress(OSError):
            os.close(self._end)


def _log_line(text: str) -> None:
    log.info("strategy wrote", extra={"action": "strategy_wrote", "text": text})
