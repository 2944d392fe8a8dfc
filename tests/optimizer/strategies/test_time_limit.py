"""A strategy call returns once, in the calling process."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, sys
from optimizer.strategies.time_limit import bounded

for _ in range(3):
    with bounded():
        pid = {fork}
        pid and os.waitpid(pid, 0)
os.write(1, b"returned ")
"""


@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.CDLL(None).fork()"])
def test_a_process_forked_by_a_call_ends_with_the_call(fork: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(fork=fork)], capture_output=True, text=True, check=True)

    assert done.stdout == "returned "
