"""Runs a program of the tests on a host: `on_host.py NAMESPACE PROGRAM ARGUMENTS`, also in a fork."""

import ctypes
import os
import runpy
import socket
import sys
from pathlib import Path

CLONE_NEWNET, CLONE_NEWUTS = 0x40000000, 0x04000000


def enter(namespace: str) -> None:
    """Move this process, which has one thread, to a network namespace; its host name is that of the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(descriptor, CLONE_NEWNET) != 0 or libc.unshare(CLONE_NEWUTS) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    os.close(descriptor)
    socket.sethostname(namespace)


if __name__ == "__main__":
    enter(sys.argv[1])
    program = Path(__file__).parents[2] / sys.argv[2]
    sys.argv = [str(program), *sys.argv[3:]]
    runpy.run_path(str(program), run_name="__main__")
