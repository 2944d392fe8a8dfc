"""A pool of workers on this machine: starts, replaces, scales and drains them."""

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
from workers.processes.heartbeat import VARIABLE as HEARTBEAT_VARIABLE
from workers.processes.heartbeat import forget_worker
from workers.processes.pool_registry import RESCALE, PoolControl
from workers.processes.restart_policy import Connected, FailedStarts, pause_seconds
from workers.processes.stderr_relay import OutputForwarder

POOL_VARIABLE = "WORKER_POOL"
"""Names a worker's pool in its environment, by which the pool knows what the worker has started."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Timing of restarts and draining."""

    first_pause_seconds: float = 0.5
    """Pause before a dead worker is replaced; doubled with each consecutive death."""
    longest_pause_seconds: float = 30.0
    steady_seconds: float = 20.0
    """Lifetime after which a death does not count as a failed start."""
    drain_seconds: float = 600.0
    """Time limit for running trials when draining; then workers are killed and their jobs go to others."""
    look_seconds: float = 0.1
    """Time between two checks of the workers."""


class Slot:
    """One place of the pool: its process, or the time of the next start."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.relay: OutputForwarder | None = None
        self.started = 0.0
        self.due = 0.0
        self.deaths = 0

    def forward(self) -> None:
        """Forward the process's standard error."""
        if self.relay is not None:
            self.relay.forward()

    def end(self) -> str:
        """Wait for the process to end, and return its last line."""
        if self.process is not None:
            self.process.wait()
        said = self.relay.close() if self.relay is not None else ""
        self.process, self.relay = None, None
        return said


class Pool:
    """Keeps `count` workers alive, each a fresh interpreter.

    `command` starts one worker, `standby` one more process beside them (see `workers.coordinator.standby`). Each is
    given `--parent PID` and must ask for SIGTERM when that process ends, so that all drain when this process is
    killed. Run it in the main thread: Linux sends that signal when the starting thread ends. `control` says how many
    workers there shall be; SIGUSR1 makes the pool ask it.

    A dead worker is restarted with a growing pause. The pool ends only if many starts in a row failed while Redis
    answered, and `connected` knows none of the workers.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        settings: PoolSettings,
        *,
        standby: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        control: PoolControl | None = None,
        connected: Connected = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parent = ["--parent", str(os.getpid())]
        self._command = [*command, *parent]
        self._slots = [Slot(self._command) for _ in range(count)]
        self._leaving: list[Slot] = []
        self._failures = FailedStarts(connected)
        self._standbys = [Slot([*standby, *parent])] if standby else []
        self._settings, self._control, self._clock = settings, control or PoolControl(), clock
        self._mark = f"{POOL_VARIABLE}={os.getpid()}"
        self._environment = {**(os.environ if environment is None else environment), POOL_VARIABLE: str(os.getpid())}
        if self._control.files:
            self._environment[HEARTBEAT_VARIABLE] = str(self._control.files.absolute())
        self._is_adopting = False
        self._signals, self._is_rescaled = 0, True  # a request from before the signal handler counts, too

    @property
    def pids(self) -> list[int]:
        """Process ids of the running processes."""
        return [process.pid for process in self._processes() if process.poll() is None]

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, which let running trials end; a second signal kills them.

        Raises:
            WorkersFailed: No worker can start; contains the first worker's error.
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
                f"no worker can start: {self._failures.count} consecutive starts failed; the first worker reported: "
                f"{self._failures.first_reason.removeprefix('tradeschool: ')}"
            )

    def tend(self) -> None:
        """Record dead workers, and start those that are due."""
        is_rescaled, self._is_rescaled = self._is_rescaled, False
        count = self._control.wanted(_running(self._slots), len(self._slots), is_rescaled=is_rescaled)
        if count != len(self._slots):
            self.scale(count)
        self._forward()
        for slot in [each for each in self._leaving if each.process is None or each.process.poll() is not None]:
            self._end(slot)
            self._leaving.remove(slot)
        for slot in (*self._slots, *self._standbys):
            if slot.process is not None and slot.process.poll() is not None:
                self._note_death(slot, slot.process)
            if slot.process is None and self._clock() >= slot.due:
                self._start(slot)
        self._control.beat(_running([*self._slots, *self._leaving]))
        self._end_orphans()

    def scale(self, count: int) -> None:
        """Change the number of workers; surplus ones, idle ones first, end after their trial."""
        log.info("pool scaled", extra={"action": "pool_scaled", "was": len(self._slots), "workers": count})
        busy = self._control.busy(_running(self._slots))
        self._slots.sort(key=lambda slot: slot.process is None or slot.process.pid not in busy)
        gone, self._slots = self._slots[count:], self._slots[:count]
        self._slots += [Slot(self._command) for _ in range(count - len(self._slots))]
        for slot in gone:
            if slot.process is not None:
                slot.process.terminate()
                self._leaving.append(slot)

    def drain(self) -> None:
        """Let every worker end its trial, then kill those that exceed the time limit."""
        log.info("pool drains", extra={"action": "pool_drains", "workers": len(self.pids)})
        end = self._clock() + self._settings.drain_seconds
        self._pass_on(signal.SIGTERM)
        while self.pids and self._clock() < end and self._signals < 2:
            self._forward()
            self._control.beat(_running([*self._slots, *self._leaving]))
            time.sleep(self._settings.look_seconds)
        self._pass_on(signal.SIGKILL)
        for slot in self._every_slot():
            self._end(slot)

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

    def _end(self, slot: Slot) -> str:
        """Reap a process and remove its heartbeat; returns its last line."""
        if slot.process is not None and self._control.files:
            forget_worker(self._control.files, slot.process.pid)
        return slot.end()

    def _start(self, slot: Slot) -> None:
        # A separate session: Ctrl-C reaches the pool only, which passes it on once.
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
        said, slot.due = self._end(slot), now + pause
        if slot in self._slots:
            self._failures.note(process.pid, process.returncode, said, self.pids)
        log.warning(
            "worker died",
            extra={"action": "worker_died", "pid": process.pid, "code": process.returncode, "pause_seconds": pause},
        )


def _running(slots: Sequence[Slot]) -> dict[int, float]:
    """Start times of the running processes by process id."""
    return {slot.process.pid: slot.started for slot in slots if slot.process and slot.process.poll() is None}
