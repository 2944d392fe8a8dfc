"""Handles SIGINT and SIGTERM: both raise KeyboardInterrupt, which no callback from C loses."""

import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_SECONDS = 0.05
"""Delay after which a lost interrupt is sent again; the callback has returned by then, or it is sent once more."""


def interrupt_on_signals() -> None:
    """Make SIGINT and SIGTERM raise KeyboardInterrupt in the main thread.

    Python drops an exception that a callback from C raises (of numba, pyarrow or ctypes) and prints a traceback. An
    interrupt that is dropped is sent again, and nothing is printed.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits SIG_IGN
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _on_unraisable


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    signal.raise_signal(signal.SIGINT)


def _on_unraisable(dropped: "UnraisableHookArgs") -> None:
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    again = threading.Timer(AGAIN_SECONDS, _interrupt_main_thread)
    again.daemon = True
    with suppress(RuntimeError):  # the interpreter is ending anyway
        again.start()


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if main is not None and callable(signal.getsignal(signal.SIGINT)):
        signal.pthread_kill(main, signal.SIGINT)  # interrupts a blocking system call, too
