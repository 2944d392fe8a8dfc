"""One process that runs a user's strategy, seen from the process that asks; the other side is `strategy_child`."""

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
from workers.processes.capped_output import pass_on_capped
from workers.processes.exit_reason import ended_words

START_SECONDS = 120.0
"""For our own imports, on a machine that has much to do."""
SLICE_SECONDS = 0.25
LONGEST_SLICE = 1.0
"""That a look at the clock may count for: a machine that was suspended has not waited."""
ProgressCallback = Callable[[str], None]
Take = Callable[[Any], None]
"""Told of each part of an answer as it comes."""
Stop = Callable[[], bool]
Waits = Callable[[float], None]
"""Told for how many seconds an answer has not come."""


def nothing(*_: object) -> None:
    """For whoever does not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which strategies are run."""

    trial_seconds: float
    """A single backtest may take so long."""
    memory_bytes: int | None = None
    """A trial may allocate so much."""
    log_format: Literal["text", "json"] = "text"
    log_level: int = logging.WARNING


class StrategyProcessEnded(Exception):
    """A strategy's process has ended, or was ended, before its answer; why, in words."""

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.is_late = is_late


class StrategyProcess:
    """One process that runs one strategy. To be started by a thread that lives as long: Linux ends it with that."""

    def __init__(self, strategy: str, terms: Terms) -> None:
        self._terms = terms
        self.is_over = False
        """Whether it was ended, and answers no more."""
        self._line, theirs = socket.socketpair()
        self._line.settimeout(START_SECONDS)  # of each piece of a message
        self._poll, self._looked = select.poll(), 0.0
        self._poll.register(self._line, select.POLLIN)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                python_command("-m", "workers.coordinator.isolated_child", str(theirs.fileno()), str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._output = pass_on_capped(self._process.stdout)
        with suppress(OSError):  # it is dead, as the first answer will tell
            send(
                self._line,
                {
                    "strategy": strategy,
                    "call_seconds": terms.trial_seconds,
                    "memory_bytes": terms.memory_bytes,
                    "log_format": terms.log_format,
                    "log_level": terms.log_level,
                },
            )

    def wait_until_ready(self, stop: Stop) -> None:
        """Until it has imported what is ours.

        Raises:
            Ended: where it does not.
        """
        self._receive(START_SECONDS, nothing, stop, nothing)

    def ask(self, question: Message, seconds: float | None, take: Take, stop: Stop, waits: Waits) -> Message:
        """The answer to a question, its parts taken as they come; `waits` hears after how many seconds it is not there.

        Raises:
            Ended: where the process dies, or has not answered after so many seconds.
            KeyboardInterrupt: where `stop` says so; the process has ended then.
        """
        with suppress(OSError):  # it is dead, as the answer will tell
            send(self._line, question)
        return self._receive(seconds, take, stop, waits)

    def end(self) -> None:
        """End it, and whatever it has started."""
        if self.is_over:
            return
        self.is_over = True
        with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._line.close()
        self._output.join(1.0)

    def _receive(self, seconds: float | None, take: Take, stop: Stop, waits: Waits) -> Message:
        waited = 0.0
        try:
            while (message := self._look()) is None or "part" in message:
                if message is not None:
                    take(message["part"])
                waited += min(time.monotonic() - self._looked, LONGEST_SLICE)
                _check(waited, seconds, stop)
                waits(waited)
        except BaseException:
            self.end()  # what it would say later answers no question
            raise
        return message

    def _look(self) -> Message | None:
        """What it says next, None where it is at work for a moment longer."""
        self._looked = time.monotonic()
        if self._poll.poll(SLICE_SECONDS * 1000):
            return self._read()
        if self._process.poll() is not None:
            raise self._ended()
        if self._has_stopped_itself():
            raise StrategyProcessEnded("its process has stopped itself")
        return None

    def _read(self) -> Message:
        with suppress(OSError):
            message = receive(self._line)
            if message is not None:
                return message
        raise self._ended()

    def _has_stopped_itself(self) -> bool:
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        return False

    def _ended(self) -> StrategyProcessEnded:
        """Why it has closed its line: it dies a moment later, or lives on and is of no use."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return StrategyProcessEnded("its process has closed what it answers with")
        return StrategyProcessEnded(ended_words(code, self._terms.trial_seconds))


def _check(waited: float, seconds: float | None, stop: Stop) -> None:
    if stop():
        raise KeyboardInterrupt
    if seconds is not None and waited > seconds:
        raise StrategyProcessEnded(f"it did not end within {seconds:g} s", is_late=True)
