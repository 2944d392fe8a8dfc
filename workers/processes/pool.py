"""Several workers on this machine: started, replaced when they die, scaled, drained together."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from tradeschool.errors import WorkersFailed
from workers.processes.descendants import adopt_orphans, end_orphans
from workers.processes.pool_registry import RESCALE
from workers.processes.restart_policy import Connected, FailedStarts, pause_seconds
from workers.processes.stderr_relay import OutputForwarder

POOL_VARIABLE = "WORKER_POOL"
"""Names a worker's pool in its environment, by which the pool knows what the worker has started."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How workers are replaced and drained."""

    first_pause_seconds: float = 0.5
    """Before a dead worker is replaced; doubled with every death in a row."""
    longest_pause_seconds: float = 30.0
    steady_seconds: float = 20.0
    """A worker that has lived this long did not die of its start."""
    drain_seconds: float = 600.0
    """How long running trials may take to end; what is left is killed, and its jobs are given to others."""
    look_seconds: float = 0.1
    """Between two looks at the workers."""


class Slot:
    """The place of one process: the process, or the time at which the place gets the next."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.relay: OutputForwarder | None = None
        self.started = 0.0
        self.due = 0.0
        self.deaths = 0

    def forward(self) -> None:
        """Pass on what the process says."""
        if self.relay is not None:
            self.relay.forward()

    def end(self) -> str:
        """Empty the place of a process that has ended, or is about to; its last line."""
        if self.process is not None:
            self.process.wait()
        said = self.relay.close() if self.relay is not None else ""
        self.process, self.relay = None, None
        return said


class Pool:
    """Keeps `count` workers alive, each a fresh interpreter.

    A fork would inherit threads and open connections. `command` becomes one worker, `standby` one more process beside
    them (see `workers.coordinator.standby`); each is given `--parent PID`, and is to ask for SIGTERM when that one
    dies, so that all drain when this process is killed. To be run in a process's main thread: on Linux a child is told
    of the death of the thread that started it. On SIGUSR1 it keeps as many workers as `wanted` says then.

    A worker that dies is started again, without end and ever later. Only where `connected` tells that Redis answers
    and has not come to know one of them in many starts, the pool ends: nothing would ever be evaluated.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        settings: PoolSettings,
        *,
        standby: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        wanted: Callable[[], int | None] = lambda: None,
        connected: Connected = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parent = ["--parent", str(os.getpid())]
        self._command = [*command, *parent]
        self._slots = [Slot(self._command) for _ in range(count)]
        self._leaving: list[Slot] = []
        self._failures = FailedStarts(connected)
        self._standbys = [Slot([*standby, *parent])] if standby else []
        self._settings, self._wanted, self._clock = settings, wanted, clock
        self._mark = f"{POOL_VARIABLE}={os.getpid()}"
        self._environment = {**(os.environ if environment is None else environment), POOL_VARIABLE: str(os.getpid())}
        self._is_adopting = False
        self._signals, self._is_rescaled = 0, True  # what was asked for before it listened counts, too

    @property
    def pids(self) -> list[int]:
        """The processes that are alive."""
        return [process.pid for process in self._processes() if process.poll() is None]

    def run(self) -> None:
        """Until SIGTERM or SIGINT, which lets running trials end; a second one does not.

        Raises:
            WorkersFailed: where no worker gets up, with what the first one said.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(RESCALE, self._on_rescale)
        adopt_orphans()  # what a strategy has started outlives its worker where that is killed
        self._is_adopting = True
        try:
            while not self._signals and not self._failures.is_hopeless(len(self._slots)):
                self.tend()
                time.sleep(self._settings.look_seconds)
            self.drain()
        finally:
            self._end_orphans()
            self._is_adopting = False
            adopt_orphans(is_on=False)
        if self._failures.is_hopeless(len(self._slots)):
            raise WorkersFailed(
                f"no worker gets up: {self._failures.count} starts in a row failed; the first worker said: "
                f"{self._failures.first_reason.removeprefix('tradeschool: ')}"
            )

    def tend(self) -> None:
        """Note who has died, and start who is due."""
        count = self._wanted() if self._is_rescaled else None
        self._is_rescaled = False
        if count is not None and count != len(self._slots):
            self.scale(count)
        self._forward()
        for slot in [each for each in self._leaving if each.process is None or each.process.poll() is not None]:
            slot.end()
            self._leaving.remove(slot)
        for slot in (*self._slots, *self._standbys):
            if slot.process is not None and slot.process.poll() is not None:
                self._note_death(slot, slot.process)
            if slot.process is None and self._clock() >= slot.due:
                self._start(slot)
        self._end_orphans()

    def scale(self, count: int) -> None:
        """Keep so many workers from now on; those that are too many are told to end, and end their trial first."""
        log.info("pool scaled", extra={"action": "pool_scaled", "was": len(self._slots), "workers": count})
        gone, self._slots = self._slots[count:], self._slots[:count]
        self._slots += [Slot(self._command) for _ in range(count - len(self._slots))]
        for slot in gone:
            if slot.process is not None:
                slot.process.terminate()
                self._leaving.append(slot)

    def drain(self) -> None:
        """Let every worker end its trial, then kill what has not ended in time."""
        log.info("pool drains", extra={"action": "pool_drains", "workers": len(self.pids)})
        end = self._clock() + self._settings.drain_seconds
        self._pass_on(signal.SIGTERM)
        while self.pids and self._clock() < end and self._signals < 2:
            self._forward()
            time.sleep(self._settings.look_seconds)
        self._pass_on(signal.SIGKILL)
        for slot in self._every_slot():
            slot.end()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _on_rescale(self, number: int, frame: FrameType | None) -> None:
        self._is_rescaled = True

    def _pass_on(self, number: signal.Signals) -> None:
        for process in self._processes():
            process.send_signal(number)

    def _forward(self) -> None:
        for slot in self._every_slot():
            slot.forward()

    def _end_orphans(self) -> None:
        if self._is_adopting:
            end_orphans([process.pid for process in self._processes()], self._mark.encode())

    def _every_slot(self) -> list[Slot]:
        return [*self._slots, *self._standbys, *self._leaving]

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [slot.process for slot in self._every_slot() if slot.process is not None]

    def _start(self, slot: Slot) -> None:
        # In a session of its own: Ctrl-C is for the pool, which passes it on once.
        slot.process = subprocess.Popen(  # noqa: S603  # our own command
            slot.command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=self._environment,
            start_new_session=True,
        )
        slot.relay = OutputForwarder(slot.process)
        slot.started = self._clock()

    def _note_death(self, slot: Slot, process: subprocess.Popen[bytes]) -> None:
        now = self._clock()
        slot.deaths = 1 if now - slot.started > self._settings.steady_seconds else slot.deaths + 1
        pause = pause_seconds(slot.deaths, self._settings.first_pause_seconds, self._settings.longest_pause_seconds)
        said, slot.due = slot.end(), now + pause
        if slot in self._slots:
            self._failures.note(process.pid, process.returncode, said, self.pids)
        log.warning(
            "worker died",
            extra={"action": "worker_died", "pid": process.pid, "code": process.returncode, "pause_seconds": pause},
        )
