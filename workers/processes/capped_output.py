"""What a stranger's process prints, passed on to standard error as far as a person can read it."""

import os
import sys
import threading
from contextlib import suppress
from typing import IO

from tradeschool.plain_text import plain

MAX_BYTES = 1_000_000
"""Of one process; the rest is read and dropped, so that the process never waits."""
MAX_LINE = 4096


def pass_on_capped(stream: IO[bytes]) -> threading.Thread:
    """Pass on what comes from a stream until it ends, in a thread of its own that ends with the program."""
    thread = threading.Thread(target=_pass_on, args=(stream,), name="strategy output", daemon=True)
    thread.start()
    return thread


def _pass_on(stream: IO[bytes]) -> None:
    rest, left = b"", MAX_BYTES
    with stream:
        while data := os.read(stream.fileno(), 1 << 16):
            if left <= 0:
                continue
            left -= len(data)
            *lines, rest = (rest + data).split(b"\n")
            _write([*lines, rest] if len(rest) > MAX_LINE else lines)
            rest = b"" if len(rest) > MAX_LINE else rest
            if left <= 0:
                _write([rest, b"(what else the strategy prints is left out)"])
                rest = b""
        _write([rest])


def _write(lines: list[bytes]) -> None:
    for line in lines:
        if said := plain(line.decode(errors="replace").rstrip()[:MAX_LINE]):
            with suppress(OSError, ValueError):  # nobody listens any more
                sys.stderr.write(f"{said}\n")
    with suppress(OSError, ValueError):
        sys.stderr.flush()
