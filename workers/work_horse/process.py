"""The process that evaluates: forked once, given one order after another, and replaced whenever it may be harmed.

It holds no connection of the worker's; what it can break is itself. The worker notices its death, or that it hangs,
and goes on with another one. `workers.work_horse.child` is what happens in the process itself.
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
from workers.work_horse.channel import ANSWER, CHANGED, FAILURE, ORDER, STAGE, TOLD, Line, Message
from workers.work_horse.child import MUTE, Duty, Stage, live
from workers.work_horse.output import Chatter

MAX_REASON = 2_000
LAST_SECONDS = 5.0
"""Between the end of a process' line and its own."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkHorseResult:
    """How an order ended."""

    result: bytes | None = None
    failure: str | None = None
    """Why there is no answer, in one line."""
    is_harmed: bool = False
    """The process is dead, or not to be trusted with another order."""


class WorkHorse:
    """A forked child of this process that turns orders into answers, one at a time.

    To be forked from a process without threads, which has no other children where the horse's code is a stranger's.
    """

    def __init__(self, standby_run: Duty) -> None:
        parent, self._duty = os.getpid(), standby_run
        self._chatter: Chatter | None = None
        output = self._open_output() if standby_run.is_strange else None
        ours, theirs = socket.socketpair()
        with suppress(OSError, ValueError):  # what is buffered would be written by both
            sys.stdout.flush()
        gc.freeze()  # what is there now is shared with the child for as long as nobody counts its references
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            live(theirs, parent, standby_run, output)
        gc.unfreeze()
        theirs.close()
        if output is not None:
            os.close(output)
        self._line, self._life = Line(ours), _pidfd(self.pid)
        self.trials = 0
        """How many it was given."""
        self._stage, self._is_gone = -1 if standby_run.stages else 0, False
        self._timeout, self._since, self._changed = 0, 0.0, ""

    def send(self, order: bytes, timeout_seconds: int, trials: int) -> None:
        """Hand over an order; what becomes of it is known by `wait`."""
        self.trials += trials
        self._timeout, self._since, self._changed = timeout_seconds, time.monotonic(), ""
        self._line.send(Message(ORDER, timeout_seconds, order))

    def wait(self, seconds: float) -> WorkHorseResult | None:
        """The end of its order, None where it is still at work after so long."""
        end = time.monotonic() + seconds
        while True:
            for message in self._line.messages():
                if (reply := self._take(message)) is not None:
                    return reply
            if self._line.is_over:
                return WorkHorseResult(failure=self._blamed(self._cause_of_death()), is_harmed=True)
            if not self._listen(end - time.monotonic()):
                return None

    @property
    def is_getting_ready(self) -> bool:
        """Whether it has not begun with the trials of its order."""
        return self._at is not None

    @property
    def limit(self) -> int:
        """How many seconds it may take over what it is at."""
        return min(self._timeout, (self._at and self._at.most_seconds) or self._timeout)

    @property
    def seconds(self) -> float:
        """How long it has been at it."""
        return time.monotonic() - self._since

    def give_up(self) -> WorkHorseResult:
        """Kill it, because it has taken too long."""
        reason = self._blamed(f"it did not end within its {self.limit} s, and was killed")
        self.kill()
        return WorkHorseResult(failure=reason, is_harmed=True)

    def go_on(self) -> None:
        """Let it go on where it has stopped itself."""
        if is_stopped(self.pid):
            with suppress(OSError):
                os.kill(self.pid, signal.SIGCONT)

    def left_behind(self) -> str:
        """What the last order has left or changed, for people; empty where all is as it was."""
        if not self._duty.is_strange:
            return ""
        started = children_of(self.pid) | children_of(os.getpid()) - {self.pid}
        return ", ".join(filter(None, (f"{len(started)} processes" if started else "", self._changed)))

    def kill(self) -> None:
        """End it, and whatever it has started, at once."""
        if self._is_gone:
            return
        if self._duty.is_strange:
            end_all(self.pid)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._let_go()

    def retire(self) -> None:
        """Let it end: a stranger's at once, ours when nobody speaks to it any more."""
        if self._duty.is_strange:
            self.kill()
        elif not self._is_gone:
            self._let_go()

    @property
    def _at(self) -> Stage | None:
        """The step of getting ready that it is at."""
        return self._duty.stages[self._stage] if 0 <= self._stage < len(self._duty.stages) else None

    def _let_go(self) -> None:
        self._is_gone = True
        self._line.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        if self._chatter is not None:
            self._chatter.close()
            self._chatter = None
        if self._life is not None:
            os.close(self._life)
            self._life = None

    def _open_output(self) -> int:
        """The end of a pipe that a stranger writes to."""
        adopt_orphans()
        ours, theirs = os.pipe()
        self._chatter = Chatter(ours)
        return theirs

    def _listen(self, seconds: float) -> bool:
        """Take up whatever comes first; False where nothing does in that time."""
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        if self._chatter is not None and not self._chatter.is_over:
            poll.register(self._chatter, select.POLLIN)
        if self._life is not None:
            poll.register(self._life, select.POLLIN)
        ready = {number for number, _ in poll.poll(max(0.0, seconds) * 1000)}
        if self._chatter is not None and self._chatter.fileno() in ready:
            self._chatter.read()
        if self._line.fileno() in ready:
            self._line.read()
        elif self._life in ready:  # it is dead, and all that it has said is read: who holds its line is not it
            self._line.is_over = True
        return bool(ready) and seconds > 0

    def _take(self, message: Message) -> WorkHorseResult | None:
        """The order's end; None where the message is another."""
        text = message.body.decode(errors="replace") if message.kind != ANSWER else ""
        if message.kind in {ANSWER, FAILURE}:
            if self._chatter is not None:
                self._chatter.end_order()
            failure = plain(text)[:MAX_REASON]
            return (
                WorkHorseResult(result=message.body)
                if message.kind == ANSWER
                else WorkHorseResult(failure=failure, is_harmed=True)
            )
        if message.kind == STAGE and self._stage < message.number <= len(self._duty.stages):
            self._stage, self._since = message.number, time.monotonic()
        elif message.kind == CHANGED:
            self._changed = plain(text)[:MAX_REASON]
        elif message.kind == TOLD:
            _pass_on(text)
        return None

    def _blamed(self, reason: str) -> str:
        """The reason, and what it was at."""
        return f"{self._at.blame}: {reason}" if self._at else reason

    def _cause_of_death(self) -> str:
        try:
            ended, status = _wait_for(self.pid)
        except ChildProcessError:
            return "its process is gone"
        if not ended or (os.WIFEXITED(status) and os.WEXITSTATUS(status) == MUTE):
            return "it closed the line to its worker"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            names = {each.value: each.name for each in signal.Signals}
            return f"its process was killed by {names.get(number, f'signal {number}')}"
        return f"its process ended with code {os.waitstatus_to_exitcode(status)}"


def _pidfd(pid: int) -> int | None:
    """A descriptor that tells of a process' end, where the system has such."""
    with suppress(OSError, AttributeError):
        return os.pidfd_open(pid)
    return None


def _wait_for(pid: int) -> tuple[int, int]:
    """How a process has ended that is about to; 0 where it is not."""
    end = time.monotonic() + LAST_SECONDS
    while not (found := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.001)
    return found


def _pass_on(line: str) -> None:
    """Write a line of its log as this process writes its own."""
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
