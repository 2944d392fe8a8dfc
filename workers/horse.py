"""The process that evaluates: forked once, given one order after another, and replaced whenever it may be harmed.

It holds no connection and no secret of the worker's; what it can break is itself. The worker notices its death, or
that it hangs, and goes on with another one.
"""

import gc
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty

from workers.memory import limit_memory
from workers.parent import die_with_parent

HEADER = struct.Struct("!cIQ")
"""Kind, time-out in seconds, and length of what follows."""
MOST_BYTES = 64_000_000
"""Of an answer: a trial's is some kilobytes."""
ORDER, ANSWER, FAILURE = b"O", b"A", b"F"
FORCE_EXIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How an order ended."""

    answer: bytes | None = None
    failure: str | None = None
    """Why there is no answer, in one line."""
    is_harmed: bool = False
    """The process is dead, or not to be trusted with another order."""


class Horse:
    """A forked child of this process that turns orders into answers, one at a time.

    To be forked from a process without threads. `evaluate` runs in the child; `close` is called there first, to
    let go of what belongs to the parent.
    """

    def __init__(
        self, evaluate: Callable[[bytes], bytes], *, close: Callable[[], None], memory_bytes: int | None = None
    ) -> None:
        parent = os.getpid()
        ours, theirs = socket.socketpair()
        gc.freeze()  # what is there now is shared with the child for as long as nobody counts its references
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _live(theirs, parent, evaluate, close, memory_bytes)
        gc.unfreeze()
        theirs.close()
        self._socket = ours
        self.trials = 0
        """How many it was given."""

    def send(self, order: bytes, timeout_seconds: int, trials: int) -> None:
        """Hand over an order; what becomes of it is known by `wait`."""
        self.trials += trials
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead, as `wait` will find
            self._socket.sendall(HEADER.pack(ORDER, timeout_seconds, len(order)) + order)

    def wait(self, seconds: float) -> Reply | None:
        """The end of its order, None where it is still at work after so long."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return None
        message = _receive(self._socket)
        if message is None:
            return Reply(failure=self._cause_of_death(), is_harmed=True)
        kind, _, body = message
        if kind == ANSWER:
            return Reply(answer=body)
        return Reply(failure=body.decode(errors="replace")[-2000:], is_harmed=True)

    def kill(self) -> None:
        """End it, and whatever it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.retire()

    def retire(self) -> None:
        """Let it end, which it does when nobody speaks to it any more."""
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _cause_of_death(self) -> str:
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return "its process is gone"
        if os.WIFSIGNALED(status):
            return f"its process was killed by {signal.Signals(os.WTERMSIG(status)).name}"
        return f"its process ended with code {os.waitstatus_to_exitcode(status)}"


def _live(
    line: socket.socket,
    parent: int,
    evaluate: Callable[[bytes], bytes],
    close: Callable[[], None],
    memory_bytes: int | None,
) -> None:
    """The child's whole life; it never returns."""
    try:
        os.setpgrp()
        die_with_parent(parent, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        close()
        if memory_bytes:
            limit_memory(memory_bytes)
        while message := _receive(line):
            _, timeout, order = message
            kind, body = _evaluate(evaluate, order, timeout)
            line.sendall(HEADER.pack(kind, 0, len(body)) + body)
    except BaseException:  # noqa: BLE001  # a child that returned would go on as a second worker
        os._exit(FORCE_EXIT)
    os._exit(0)


def _evaluate(evaluate: Callable[[bytes], bytes], order: bytes, timeout: int) -> tuple[bytes, bytes]:
    try:
        with UnixSignalDeathPenalty(timeout, JobTimeoutException):
            return ANSWER, evaluate(order)
    except Exception as error:  # noqa: BLE001  # whatever a strategy raises past its trial is told to the worker
        return FAILURE, f"{type(error).__name__}: {error}".encode()


def _receive(line: socket.socket) -> tuple[bytes, int, bytes] | None:
    """One message; None where the other side is gone, or speaks no sense."""
    with suppress(ConnectionResetError):
        header = _read(line, HEADER.size)
        if header is None:
            return None
        kind, timeout, length = HEADER.unpack(header)
        body = _read(line, length) if length <= MOST_BYTES else None
        return None if body is None else (kind, timeout, body)
    return None


def _read(line: socket.socket, length: int) -> bytes | None:
    parts: list[bytes] = []
    while length:
        part = line.recv(min(length, 1 << 16))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
