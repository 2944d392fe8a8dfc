"""Goes on with runs whose conductor was killed: looks for them, and starts another conductor.

A process of its own beside a pool, so that the pool's supervisor stays small. What it starts is the command that a
person would type, `optimize resume`; who holds the role decides by its lock, whoever else starts one. Which runs are
under way, the study's database says, and nothing else: what Redis holds starts no process.
"""

import logging
import math
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from optimizer.runs.active_runs import MarkedRuns
from tradeschool.errors import TradeschoolError
from workers.connection.signing import UNSIGNED, Signer
from workers.coordinator.leadership import is_conducted
from workers.queue.announcements import notices
from workers.queue.job_names import STUDY

LOOK_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""How long nobody may hold a run's role before it is taken for abandoned: it is free for a moment between levels."""
START_SECONDS = 30.0
"""Until a conductor that was started has its run's role; the next one is not started before that."""
STOP_SECONDS = 30.0
"""Until a conductor that was told to stop is killed; what it has not committed is found again."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
"""Before a conductor that has failed is started again."""
MOST_FAILURES = 5
"""In a row; then the run is left to people, and to other machines."""
MOST_TOLD = 100
"""Runs of other databases that are named in the log."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Duty:
    """One run that is watched over."""

    process: subprocess.Popen[bytes] | None = None
    started: float = -math.inf
    owner: str = ""
    """Who was at work on the run when the last process ended that was started here."""
    failures: int = 0
    due: float = 0.0
    free_since: float | None = None


class Deputy:
    """Watches over the runs of one study database; `command(run)` is how one is gone on with."""

    def __init__(
        self,
        connection: Redis,
        storage_url: str,
        command: Callable[[str], Sequence[str]],
        *,
        signer: Signer = UNSIGNED,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection, self._storage_url, self._command = connection, storage_url, command
        self._signer, self._clock, self._sleep = signer, clock, sleep
        self._marked = MarkedRuns(storage_url)
        self._duties: dict[str, _Duty] = {}
        self._told: set[str] = set()
        self._is_told, self._is_blind = False, False

    def run(self) -> None:
        """Until SIGTERM or SIGINT, which stop its conductors, too: the runs stay where they are."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        while not self._is_told:
            try:
                self.look()
                self.tell_unknown()
                self._is_blind = False
            except (RedisError, TradeschoolError) as error:
                if not self._is_blind:  # once an outage
                    log.warning("deputy cannot look", extra={"action": "deputy_blind", "reason": str(error)[:512]})
                self._is_blind = True
            self._sleep(LOOK_SECONDS)
        self.end()

    def look(self) -> None:
        """Start a conductor for a run that has lost its own, and note how those that were started ended.

        One at a time: the next one is started when the last one is at work, or has ended.
        """
        owners = self._marked.owners()
        for run, duty in list(self._duties.items()):
            if duty.process is not None and duty.process.poll() is not None:
                self._note_end(run, duty, owners)
            if duty.process is None and run not in owners:
                del self._duties[run]
        for run, owner in sorted(owners.items()):
            duty = self._duties.setdefault(run, _Duty())
            if duty.process is None and self._is_abandoned(run, duty, owner) and not self._is_starting():
                self._start(run, duty)

    def tell_unknown(self) -> None:
        """Say once of each announced run that it could not be taken over here: another database holds it."""
        announced = {
            found["run"] for study in notices(self._connection, self._signer) if (found := STUDY.fullmatch(study))
        }
        for run in sorted(announced - self._told - self._marked.known())[: MOST_TOLD - len(self._told)]:
            self._told.add(run)
            reason = "its study is not in this machine's database; set the same storage_url to have it taken over here"
            log.warning("run not watched over", extra={"action": "run_unknown", "run": run[:80], "reason": reason})

    def end(self) -> None:
        """Stop every conductor that was started here."""
        self._marked.close()
        running = [duty.process for duty in self._duties.values() if duty.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, run: str, duty: _Duty) -> None:
        log.warning("run taken over", extra={"action": "run_taken_over", "run": run})
        duty.started = self._clock()
        duty.process = subprocess.Popen(  # noqa: S603  # our own command
            self._command(run), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def _is_starting(self) -> bool:
        """Whether a conductor that was started a moment ago does not have its run's role yet."""
        latest = self._clock() - START_SECONDS
        young = [run for run, duty in self._duties.items() if duty.process is not None and duty.started > latest]
        return any(not is_conducted(self._storage_url, run) for run in young)

    def _is_abandoned(self, run: str, duty: _Duty, owner: str) -> bool:
        now = self._clock()
        if duty.failures and owner != duty.owner:  # somebody else has gone on with it since
            duty.failures, duty.due = 0, now
        if now < duty.due or is_conducted(self._storage_url, run):
            duty.free_since = None
            return False
        duty.free_since = now if duty.free_since is None else duty.free_since
        return now - duty.free_since >= GRACE_SECONDS

    def _stop(self) -> None:
        self._is_told = True

    def _note_end(self, run: str, duty: _Duty, owners: Mapping[str, str]) -> None:
        """It may end well, or miss a gate, and takes its mark down itself; else it is tried again, ever later."""
        code = duty.process.returncode if duty.process is not None else 0
        duty.process, duty.failures, duty.free_since = None, duty.failures + 1, None
        duty.owner = owners.get(run, "")
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (duty.failures - 1), LONGEST_PAUSE_SECONDS)
        duty.due = self._clock() + pause
        log.info("conductor ended", extra={"action": "conductor_ended", "run": run, "code": code})
        if duty.failures >= MOST_FAILURES and run in owners:
            duty.due = math.inf
            log.error("run left alone", extra={"action": "run_left_alone", "run": run, "code": code})
