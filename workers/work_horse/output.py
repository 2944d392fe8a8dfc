"""What a strategy writes to its standard streams: read as it comes, so that nothing blocks, and told in bounds."""

import logging
import os
from contextlib import suppress

from tradeschool.plain_text import plain

MAX_BYTES = 65_536
"""Of one order that are told; the rest is counted."""
MAX_LINES = 200
MAX_LINE = 1_000
"""Characters of a line."""
CHUNK = 1 << 16

log = logging.getLogger(__name__)


class Chatter:
    """The worker's end of the pipe that a horse's standard output and error lead to."""

    def __init__(self, end: int) -> None:
        os.set_blocking(end, False)
        self._end, self._held = end, b""
        self._bytes = self._told_bytes = self._lines = 0
        self.is_over = False
        """Whether nobody can write to it any more."""

    def fileno(self) -> int:
        """To be polled."""
        return self._end

    def read(self) -> bool:
        """Take up what has come, a part of it where it is much; False where nothing had."""
        try:
            part = os.read(self._end, CHUNK)
        except BlockingIOError:
            return False
        self.is_over = not part
        self._bytes += len(part)
        room = max(0, MAX_BYTES - self._told_bytes - len(self._held))
        *lines, self._held = (self._held + part[:room]).split(b"\n")
        for line in lines:
            self._tell(line)
        return bool(part)

    def end_order(self) -> None:
        """Tell what is left of an order, and how much was left out."""
        for _ in range(MAX_BYTES // CHUNK + 16):  # what a pipe holds; who still writes is ended anyway
            if not self.read():
                break
        if self._held:
            self._tell(self._held)
        if self._bytes > self._told_bytes:
            left = self._bytes - self._told_bytes
            log.warning("strategy wrote more", extra={"action": "strategy_wrote_more", "bytes_left_out": left})
        self._held, self._bytes, self._told_bytes, self._lines = b"", 0, 0, 0

    def close(self) -> None:
        """Tell the rest."""
        self.end_order()
        with suppress(OSError):
            os.close(self._end)

    def _tell(self, line: bytes) -> None:
        if self._lines >= MAX_LINES:
            return
        self._lines += 1
        self._told_bytes += min(self._bytes - self._told_bytes, len(line) + 1)
        if text := plain(line.decode(errors="replace").rstrip()[:MAX_LINE]):
            log.info("strategy wrote", extra={"action": "strategy_wrote", "text": text})
