"""Starts the Python programs of a forked program as forks too, instead of as new interpreters.

A search starts workers, evaluators and strategy processes. Each new interpreter spends two seconds of processor time on
imports. A helper process of the program, which has imported everything and runs nothing, forks what `subprocess` would
fork and execute. The fork becomes a child of the program, because its first parent ends at once and the program is a
subreaper during that time. The child has an id, a session, signals, files and an exit code as usual. Only its command
line in /proc is that of the fork server.
"""

import _posixsubprocess
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 1, 36, 37
MARK = "TESTS_START_INTERPRETERS"
"""Environment variable: if it is set, each program is a new interpreter."""
ABOVE_ALL = 500  # a file descriptor
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
StartRequest = dict[str, Any]


def words_of(command: Sequence[str | bytes]) -> list[str] | None:
    """Return the arguments of Python that a fork can run: `[-P] -m module ...` or `[-P] file.py ...`; else None."""
    executable, *words = map(os.fsdecode, command)
    can = executable == sys.executable and words and words[words[0] == "-P" :]
    return words if can and (can[0] == "-m" or can[0].endswith(".py")) else None


class ChildForks:
    """Replaces the fork and exec of `subprocess` in this process until they are restored."""

    def __init__(self, line: socket.socket) -> None:
        self._line, self._lock, self._prctl = line, threading.Lock(), ctypes.CDLL(None).prctl
        self._pid = os.getpid()
        self._fork_exec = _posixsubprocess.fork_exec
        subprocess._fork_exec = self.start  # type: ignore[attr-defined]

    def start(self, command: Sequence[str | bytes], *rest: Any) -> int:
        """Start a child and return its process id, like `_posixsubprocess.fork_exec`."""
        _, _, kept, cwd, env, stdin, _, _, stdout, _, stderr, _, failure, _, has_session, group, *others = rest
        words = words_of(command)
        has_preparation = any(map(callable, others))
        if os.getpid() != self._pid or words is None or has_preparation or group != -1:
            return int(self._fork_exec(command, *rest))
        passed = [fd for fd in kept if fd != failure]
        files = [number if fd == -1 else fd for number, fd in enumerate((stdin, stdout, stderr))] + passed
        variables = dict(os.environb) if env is None else dict(each.split(b"=", 1) for each in env)
        request = {
            "words": words,
            "cwd": os.fsdecode(cwd) if cwd is not None else os.getcwd(),  # noqa: PTH109  # text is needed
            "env": {os.fsdecode(name): os.fsdecode(value) for name, value in variables.items()},
            "files": [0, 1, 2, *passed],
            "has_session": bool(has_session),
            "ignored": [number for number in INTERRUPTS if signal.getsignal(number) is signal.SIG_IGN],
            "parent": self._pid,
        }
        with self._lock:
            before = ctypes.c_int()
            self._prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
            self._prctl(PR_SET_CHILD_SUBREAPER, 1)
            try:
                return self._ask(request, files)
            finally:
                self._prctl(PR_SET_CHILD_SUBREAPER, before.value)

    def restore(self) -> None:
        """Start new interpreters again."""
        subprocess._fork_exec = self._fork_exec  # type: ignore[attr-defined]

    def _ask(self, request: StartRequest, files: list[int]) -> int:
        text = json.dumps(request).encode()
        socket.send_fds(self._line, [len(text).to_bytes(4, "big")], files)
        self._line.sendall(text)
        return int.from_bytes(exactly(self._line, 4), "big")


def exactly(line: socket.socket, count: int) -> bytes:
    """Read `count` bytes."""
    found = b""
    while len(found) < count:
        if not (more := line.recv(count - len(found))):
            raise EOFError
        found += more
    return found


def open_child_forks() -> StartRequest | None:
    """Fork the helper. Returns None in the program, and its request in each process that the helper starts."""
    if MARK in os.environ or not sys.platform.startswith("linux"):
        return None
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    if os.fork():
        theirs.close()
        ChildForks(ours)
        return None
    ours.close()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    return help_out(theirs)


def help_out(line: socket.socket) -> StartRequest:
    """Start a process for each request until the program ends. Returns in the started process."""
    os.chdir("/")
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    close_all_but(line.fileno())
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    os.close(nothing)
    while True:
        size, files, _, _ = socket.recv_fds(line, 4, 250)
        if not size:
            os._exit(0)
        request: StartRequest = json.loads(exactly(line, int.from_bytes(size, "big")))
        here, there = os.pipe()
        if (between := os.fork()) == 0:
            if (pid := os.fork()) == 0:
                line.detach()  # closed with all else
                become_child(request, files)
                return request
            os.write(there, pid.to_bytes(4, "big"))
            os._exit(0)
        os.waitpid(between, 0)  # from here on the program is the parent
        line.sendall(os.read(here, 4))
        for fd in (*files, here, there):
            os.close(fd)


def close_all_but(kept: int) -> None:
    """Close inherited files, so that pipes of the program end when the program closes them."""
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 16)


def become_child(request: StartRequest, files: list[int]) -> None:
    """Set up files, parent, session and signals as for an executed program."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, ABOVE_ALL) for fd in files]
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    os.closerange(0, ABOVE_ALL)
    for fd, number in zip(high, request["files"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    open_streams()
    while os.getppid() != request["parent"]:  # until the first parent has ended
        os.sched_yield()
    if request["has_session"]:
        os.setsid()
    for number in INTERRUPTS:
        handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else handler)


def open_streams() -> None:
    """Open standard input, output and error over the file descriptors 0, 1 and 2."""
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
