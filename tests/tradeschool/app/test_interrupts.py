"""An interrupt ends a command even if it arrives inside a callback from C, and prints no traceback."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, signal, sys, time
from tradeschool.app.interrupts import interrupt_on_signals

interrupt_on_signals()
call = ctypes.CFUNCTYPE(None)(lambda: {event})
try:
    call()
    time.sleep(90)
except KeyboardInterrupt:
    print("interrupted")
"""


def run(event: str, *, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program.format(event=event)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupt_inside_a_callback_from_c_is_not_lost(number: str) -> None:
    ended = run(f"signal.raise_signal(signal.{number})")

    assert (ended.stdout, ended.stderr) == ("interrupted\n", "")


def test_any_other_exception_inside_a_callback_is_reported() -> None:
    ended = run("1 / 0", program=PROGRAM.replace("time.sleep(90)", "print('went on')"))

    assert ended.stdout == "went on\n"
    assert "ZeroDivisionError" in ended.stderr
