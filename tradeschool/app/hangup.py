"""Handles SIGHUP: when its terminal is closed, a command prints a message to stderr and ends as by Ctrl-C."""

import os
import signal
import stat
import sys
from contextlib import suppress
from types import FrameType

SAID = b"tradeschool: the terminal was closed (SIGHUP): ending as by Ctrl-C\n"


def end_with_the_terminal() -> None:
    """Make SIGHUP end this process as SIGINT does; if SIGHUP is ignored, as under nohup, it stays ignored."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _hang_up(number: int, frame: FrameType | None) -> None:
    del number, frame
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, SAID)
    for fd in range(3):
        _let_go_of_terminal(fd)
    signal.raise_signal(signal.SIGINT)


def _let_go_of_terminal(fd: int) -> None:
    """Redirect a descriptor of a closed terminal to /dev/null, so that later output does not raise."""
    with suppress(OSError):
        if stat.S_ISCHR(os.fstat(fd).st_mode) and not os.isatty(fd):
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, fd)
            os.close(nothing)
