"""The parent side of a process that runs a user's strategy; `workers.coordinator.run.isolated_child` is its program."""

import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from tradeschool.interpreter import python_command
from workers.isolation.strategy_protocol import Message, receive, send
from workers.processes.bounded_output import forward_bounded
from workers.processes.exit_reason import exit_reason

START_SECONDS = 120.0
"""Time limit for importing the project's own modules on a busy machine."""
SLICE_SECONDS = 0.25
LONGEST_SLICE = 1.0
"""Seconds that one poll counts at most: the time in which a machine was suspended does not count."""
MessageCallback = Callable[[str], None]
"""Called with a message for the user."""
PartCallback = Callable[[Any], None]
"""Called with each part of a response as it arrives."""
StopCheck = Callable[[], bool]
WaitCallback = Callable[[float], None]
"""Called with the seconds since the request."""


def ignore(*_: object) -> None:
    """Do nothing: the default of optional callbacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationSettings:
    """Limits and logging of strategies' processes."""

    trial_seconds: float
    """Time limit of a single backtest."""
    memory_bytes: int | None = None
    """Memory limit of a trial; None is without limit."""
    log_format: Literal["text", "json"] = "text"
    log_level: int = logging.WARNING


class StrategyProcessEnded(Exception):
    """A strategy's process ended, or was killed, before its response. `is_late`: it exceeded its time limit."""

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.is_late = is_late


class StrategyProcess:
    """One process that runs one strategy. Linux ends it together with the thread that starts it."""

    def __init__(self, strategy: str, settings: IsolationSettings) -> None:
        self._settings = settings
        self.is_ended = False
        """Whether it was ended, and answers no more."""
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(START_SECONDS)  # of each piece of a message
        self._poll, self._last_poll = select.poll(), 0.0
        self._poll.register(self._socket, select.POLLIN)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                python_command("-m", "workers.coordinator.run.isolated_child", str(theirs.fileno()), str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._output = forward_bounded(self._process.stdout)
        with suppress(OSError):  # a dead process is noticed at the first response
            send(
                self._socket,
                {
                    "strategy": strategy,
                    "call_seconds": settings.trial_seconds,
                    "memory_bytes": settings.memory_bytes,
                    "log_format": settings.log_format,
                    "log_level": settings.log_level,
                },
            )

    def wait_until_ready(self, stop: StopCheck) -> None:
        """Wait until it has imported the project's own modules.

        Raises:
            StrategyProcessEnded: It has died, or exceeded `START_SECONDS`.
        """
        self._receive(START_SECONDS, ignore, stop, ignore)

    def call(
        self, request: Message, seconds: float | None, on_part: PartCallback, stop: StopCheck, on_wait: WaitCallback
    ) -> Message:
        """Send a request and return the response; `on_part` is called with the parts that come before it.

        Raises:
            StrategyProcessEnded: The process died, or did not respond within `seconds`.
            KeyboardInterrupt: `stop` has returned True; the process was ended.
        """
        with suppress(OSError):  # a dead process is noticed at the response
            send(self._socket, request)
        return self._receive(seconds, on_part, stop, on_wait)

    def end(self) -> None:
        """Kill it and every process of its session."""
        if self.is_ended:
            return
        self.is_ended = True
        with suppress(ProcessLookupError, PermissionError):  # the session has no process left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()
        self._output.join(1.0)

    def _receive(self, seconds: float | None, on_part: PartCallback, stop: StopCheck, on_wait: WaitCallback) -> Message:
        waited = 0.0
        try:
            while (message := self._next_message()) is None or "part" in message:
                if message is not None:
                    on_part(message["part"])
                waited += min(time.monotonic() - self._last_poll, LONGEST_SLICE)
                _check(waited, seconds, stop)
                on_wait(waited)
        except BaseException:
            self.end()  # a late response would be taken for that to the next request
            raise
        return message

    def _next_message(self) -> Message | None:
        """The next message; None if none arrives within `SLICE_SECONDS`."""
        self._last_poll = time.monotonic()
        if self._poll.poll(SLICE_SECONDS * 1000):
            return self._read()
        if self._process.poll() is not None:
            raise self._ended()
        if self._has_stopped_itself():
            raise StrategyProcessEnded("its process has stopped itself")
        return None

    def _read(self) -> Message:
        with suppress(OSError):
            message = receive(self._socket)
            if message is not None:
                return message
        raise self._ended()

    def _has_stopped_itself(self) -> bool:
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        return False

    def _ended(self) -> StrategyProcessEnded:
        """The reason why it has closed its socket: it is about to die, or lives without one."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return StrategyProcessEnded("its process has closed its socket")
        return StrategyProcessEnded(exit_reason(code, self._settings.trial_seconds))


def _check(waited: float, seconds: float | None, stop: StopCheck) -> None:
    if stop():
        raise KeyboardInterrupt
    if seconds is not None and waited > seconds:
        raise StrategyProcessEnded(f"it did not end within {seconds:g} s", is_late=True)
