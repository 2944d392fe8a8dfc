"""Goes on with runs whose conductor was killed: looks for them, and starts another conductor.

A process of its own beside a pool, so that the pool's supervisor stays small. What it starts is the command that a
person would type, `optimize resume`; who holds the role decides by its lock, whoever else starts one.
"""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from tradeschool.errors import TradeschoolError
from workers.board import conducted_runs, forget_run
from workers.role import is_conducted

LOOK_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""How long nobody may hold a run's role before it is taken for abandoned: it is free for a moment between levels."""
STOP_SECONDS = 30.0
"""Until a conductor that was told to stop is killed; what it has not committed is found again."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
"""Before a conductor that has failed is started again."""
MOST_FAILURES = 5
"""In a row; then the run is left to people."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Duty:
    """One run that was taken over."""

    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    due: float = 0.0
    free_since: float | None = None


class Deputy:
    """Watches over runs; `command(run)` is how one is gone on with."""

    def __init__(
        self,
        connection: Redis,
        storage_url: str,
        command: Callable[[str], Sequence[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection, self._storage_url, self._command = connection, storage_url, command
        self._clock, self._sleep = clock, sleep
        self._duties: dict[str, _Duty] = {}
        self._is_told, self._is_blind = False, False

    def run(self) -> None:
        """Until SIGTERM or SIGINT, which stop its conductors, too: the runs stay where they are."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        while not self._is_told:
            try:
                self.look()
                self._is_blind = False
            except (RedisError, TradeschoolError) as error:
                if not self._is_blind:  # once an outage
                    log.warning("deputy cannot look", extra={"action": "deputy_blind", "reason": str(error)[:512]})
                self._is_blind = True
            self._sleep(LOOK_SECONDS)
        self.end()

    def look(self) -> None:
        """Start a conductor for every run that has lost its own, and note how those that were started ended."""
        for run in conducted_runs(self._connection):
            duty = self._duties.setdefault(run, _Duty())
            if duty.process is not None and duty.process.poll() is not None:
                self._note_end(run, duty, duty.process.returncode)
            if duty.process is None and self._is_abandoned(run, duty):
                log.warning("run taken over", extra={"action": "run_taken_over", "run": run})
                duty.process = subprocess.Popen(  # noqa: S603  # our own command
                    self._command(run), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
                )

    def end(self) -> None:
        """Stop every conductor that was started here."""
        running = [duty.process for duty in self._duties.values() if duty.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _is_abandoned(self, run: str, duty: _Duty) -> bool:
        now = self._clock()
        if now < duty.due or is_conducted(self._storage_url, run):
            duty.free_since = None
            return False
        duty.free_since = now if duty.free_since is None else duty.free_since
        return now - duty.free_since >= GRACE_SECONDS

    def _stop(self) -> None:
        self._is_told = True

    def _note_end(self, run: str, duty: _Duty, code: int) -> None:
        """It may end well, or miss a gate, and takes its mark down itself; else it is tried again, ever later."""
        duty.process, duty.failures, duty.free_since = None, duty.failures + 1, None
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (duty.failures - 1), LONGEST_PAUSE_SECONDS)
        duty.due = self._clock() + pause
        log.info("conductor ended", extra={"action": "conductor_ended", "run": run, "code": code})
        if duty.failures >= MOST_FAILURES:
            log.error("run left alone", extra={"action": "run_left_alone", "run": run, "code": code})
            forget_run(self._connection, run)
            del self._duties[run]
