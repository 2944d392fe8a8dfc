"""The work horse: a forked process that evaluates batches, and is replaced when it may be damaged.

It holds no connection of the worker's, so a strategy can only break the work horse itself. The worker notices its
death or hang and starts another. `workers.work_horse.child` is the code of the process.
"""

import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from tradeschool.plain_text import plain
from workers.processes.descendants import adopt_orphans, children_of, end_all, is_stopped
from workers.work_horse.channel import BATCH, CHANGES, FAILURE, LOG, RESULT, STEP, Channel, Message
from workers.work_horse.child import CHANNEL_CLOSED_EXIT, PreparationStep, WorkHorseTask, run_child
from workers.work_horse.output import StrategyOutput

MAX_REASON = 2_000
EXIT_SECONDS = 5.0
"""Time limit between the end of a process's channel and the process's own end."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkHorseResult:
    """The outcome of a batch."""

    result: bytes | None = None
    failure: str | None = None
    """Why there is no result, in one line."""
    is_damaged: bool = False
    """Whether the process is dead, or unsafe for another batch."""


class WorkHorse:
    """A forked child of this process that evaluates batches, one at a time.

    To be forked from a process without threads; with an untrusted task, from one without other children.
    """

    def __init__(self, task: WorkHorseTask) -> None:
        parent, self._task = os.getpid(), task
        self._output: StrategyOutput | None = None
        output = self._open_output() if task.is_untrusted else None
        ours, theirs = socket.socketpair()
        with suppress(OSError, ValueError):  # both processes would write what is buffered
            sys.stdout.flush()
        gc.freeze()  # keeps the memory shared with the child until an object's reference count changes
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            run_child(theirs, parent, task, output)
        gc.unfreeze()
        theirs.close()
        if output is not None:
            os.close(output)
        self._channel, self._pidfd = Channel(ours), _pidfd(self.pid)
        self.trials = 0
        """Trials that were sent to it."""
        self._step, self._is_ended = -1 if task.steps else 0, False
        self._timeout, self._since, self._changes = 0, 0.0, ""

    def send(self, batch: bytes, timeout_seconds: int, trials: int) -> None:
        """Send a batch; `wait` returns its outcome."""
        self.trials += trials
        self._timeout, self._since, self._changes = timeout_seconds, time.monotonic(), ""
        self._channel.send(Message(BATCH, timeout_seconds, batch))

    def wait(self, seconds: float) -> WorkHorseResult | None:
        """The outcome of the batch; None if it is still being evaluated after that time."""
        end = time.monotonic() + seconds
        while True:
            for message in self._channel.messages():
                if (result := self._handle(message)) is not None:
                    return result
            if self._channel.is_closed:
                return WorkHorseResult(failure=self._with_step(self._cause_of_death()), is_damaged=True)
            if not self._poll(end - time.monotonic()):
                return None

    @property
    def is_preparing(self) -> bool:
        """Whether the trials of the batch have not started yet."""
        return self._current_step is not None

    @property
    def limit_seconds(self) -> int:
        """Time limit of the current step or batch."""
        return min(self._timeout, (self._current_step and self._current_step.timeout_seconds) or self._timeout)

    @property
    def elapsed_seconds(self) -> float:
        """Time since the start of the current step or batch."""
        return time.monotonic() - self._since

    def kill_late(self) -> WorkHorseResult:
        """Kill it because it exceeds its time limit; the outcome of its batch."""
        reason = self._with_step(f"it did not end within its {self.limit_seconds} s, and was killed")
        self.kill()
        return WorkHorseResult(failure=reason, is_damaged=True)

    def resume_if_stopped(self) -> None:
        """Send SIGCONT to a process that has stopped itself."""
        if is_stopped(self.pid):
            with suppress(OSError):
                os.kill(self.pid, signal.SIGCONT)

    def leftovers(self) -> str:
        """Processes and changes that the last batch has left, in words; empty if there are none."""
        if not self._task.is_untrusted:
            return ""
        started = children_of(self.pid) | children_of(os.getpid()) - {self.pid}
        return ", ".join(filter(None, (f"{len(started)} processes" if started else "", self._changes)))

    def kill(self) -> None:
        """Kill it and every process that it has started."""
        if self._is_ended:
            return
        if self._task.is_untrusted:
            end_all(self.pid)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._release()

    def retire(self) -> None:
        """End it: an untrusted one by SIGKILL, any other by closing its channel."""
        if self._task.is_untrusted:
            self.kill()
        elif not self._is_ended:
            self._release()

    @property
    def _current_step(self) -> PreparationStep | None:
        return self._task.steps[self._step] if 0 <= self._step < len(self._task.steps) else None

    def _release(self) -> None:
        self._is_ended = True
        self._channel.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        if self._output is not None:
            self._output.close()
            self._output = None
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _open_output(self) -> int:
        """Open the pipe of a strategy's output; the end to write to."""
        adopt_orphans()
        ours, theirs = os.pipe()
        self._output = StrategyOutput(ours)
        return theirs

    def _poll(self, seconds: float) -> bool:
        """Read what arrives first; False if nothing does within that time."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        if self._output is not None and not self._output.is_closed:
            poll.register(self._output, select.POLLIN)
        if self._pidfd is not None:
            poll.register(self._pidfd, select.POLLIN)
        ready = {number for number, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._output is not None and self._output.fileno() in ready:
            self._output.read()
        if self._channel.fileno() in ready:
            self._channel.read()
        elif (
            self._pidfd in ready
        ):  # it is dead and the channel is empty; a process that it forked may hold the other end
            self._channel.is_closed = True
        return bool(ready) and seconds > 0

    def _handle(self, message: Message) -> WorkHorseResult | None:
        """The outcome of the batch; None for any other message."""
        text = message.body.decode(errors="replace") if message.kind != RESULT else ""
        if message.kind in {RESULT, FAILURE}:
            if self._output is not None:
                self._output.end_batch()
            failure = plain(text)[:MAX_REASON]
            return (
                WorkHorseResult(result=message.body)
                if message.kind == RESULT
                else WorkHorseResult(failure=failure, is_damaged=True)
            )
        if message.kind == STEP and self._step < message.number <= len(self._task.steps):
            self._step, self._since = message.number, time.monotonic()
        elif message.kind == CHANGES:
            self._changes = plain(text)[:MAX_REASON]
        elif message.kind == LOG:
            _write_log_line(text)
        return None

    def _with_step(self, reason: str) -> str:
        """The reason, after the preparation step that it belongs to."""
        return f"{self._current_step.failure}: {reason}" if self._current_step else reason

    def _cause_of_death(self) -> str:
        try:
            ended, status = _wait_for(self.pid)
        except ChildProcessError:
            return "its process is gone"
        if not ended or (os.WIFEXITED(status) and os.WEXITSTATUS(status) == CHANNEL_CLOSED_EXIT):
            return "it closed the channel to its worker"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            names = {each.value: each.name for each in signal.Signals}
            return f"its process was killed by {names.get(number, f'signal {number}')}"
        return f"its process ended with code {os.waitstatus_to_exitcode(status)}"


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none."""
    with suppress(OSError, AttributeError):
        return os.pidfd_open(pid)
    return None


def _wait_for(pid: int) -> tuple[int, int]:
    """Process id and status of a process that is about to end; the id is 0 if it does not end in time."""
    end = time.monotonic() + EXIT_SECONDS
    while not (found := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.001)
    return found


def _write_log_line(line: str) -> None:
    """Write a formatted line of the work horse's log to standard error."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
