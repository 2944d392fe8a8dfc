"""The standby: starts a new coordinator for runs whose coordinator was killed.

A separate process beside a pool of workers. It starts `optimize resume`; the run's lock ensures that one coordinator
works, however many are started. The study's database alone lists the active runs: data in Redis starts no process.
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
from tradeschool.errors import SettingsError, TradeschoolError
from workers.connection.signing import UNSIGNED, Signer
from workers.coordinator.leadership import has_leader
from workers.queue.announcements import read_announcements
from workers.queue.job_names import STUDY

LOOK_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""Time without a holder of the lock after which a run is abandoned; it is free for a moment between levels."""
START_SECONDS = 30.0
"""Time limit for a new coordinator to acquire its lock; the next one starts after that."""
STOP_SECONDS = 30.0
"""Time after SIGTERM at which a coordinator is killed; uncommitted results are read again later."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
"""Pause before a failed coordinator is started again, doubled with each failure."""
MAX_FAILURES = 5
"""Consecutive failures after which the run is left to users and other machines; a refusal is the only one."""
MAX_LOGGED = 100
"""Runs of other databases that the log names at most."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _StandbyRun:
    """One monitored run."""

    process: subprocess.Popen[bytes] | None = None
    started: float = -math.inf
    owner: str = ""
    """The run's owner when the last process that was started here ended."""
    failures: int = 0
    due: float = 0.0
    free_since: float | None = None


class Standby:
    """Monitors the runs of one study database; `command(run)` is the command that continues one."""

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
        self._runs: dict[str, _StandbyRun] = {}
        self._logged: set[str] = set()
        self._is_stopped, self._is_blind = False, False

    def run(self) -> None:
        """Monitor until SIGTERM or SIGINT, which also stop its coordinators; the runs can be resumed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        while not self._is_stopped:
            try:
                self.look()
                self.log_unknown()
                self._is_blind = False
            except (RedisError, TradeschoolError) as error:
                if not self._is_blind:  # once an outage
                    log.warning(
                        "standby cannot read runs", extra={"action": "standby_blind", "reason": str(error)[:512]}
                    )
                self._is_blind = True
            self._sleep(LOOK_SECONDS)
        self.end()

    def look(self) -> None:
        """Start a coordinator for an abandoned run, and record how earlier ones ended.

        One at a time: the next one starts once the last one holds its lock, or has ended.
        """
        owners = self._marked.owners()
        for run, standby_run in list(self._runs.items()):
            if standby_run.process is not None and standby_run.process.poll() is not None:
                self._note_end(run, standby_run, owners)
            if standby_run.process is None and run not in owners:
                del self._runs[run]
        for run, owner in sorted(owners.items()):
            standby_run = self._runs.setdefault(run, _StandbyRun())
            if standby_run.process is None and self._is_abandoned(run, standby_run, owner) and not self._is_starting():
                self._start(run, standby_run)

    def log_unknown(self) -> None:
        """Log once per announced run that it cannot be taken over here, because another database holds it."""
        announced = {
            found["run"]
            for study in read_announcements(self._connection, self._signer)
            if (found := STUDY.fullmatch(study))
        }
        for run in sorted(announced - self._logged - self._marked.known())[: MAX_LOGGED - len(self._logged)]:
            self._logged.add(run)
            reason = "its study is not in this machine's database; set the same storage_url to have it taken over here"
            log.warning("run not monitored", extra={"action": "run_unknown", "run": run[:80], "reason": reason})

    def end(self) -> None:
        """Stop every coordinator that was started here."""
        self._marked.close()
        running = [standby_run.process for standby_run in self._runs.values() if standby_run.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, run: str, standby_run: _StandbyRun) -> None:
        log.warning("run taken over", extra={"action": "run_taken_over", "run": run})
        standby_run.started = self._clock()
        standby_run.process = subprocess.Popen(  # noqa: S603  # our own command
            self._command(run), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def _is_starting(self) -> bool:
        """Whether a new coordinator does not hold its lock yet."""
        latest = self._clock() - START_SECONDS
        young = [
            run
            for run, standby_run in self._runs.items()
            if standby_run.process is not None and standby_run.started > latest
        ]
        return any(not has_leader(self._storage_url, run) for run in young)

    def _is_abandoned(self, run: str, standby_run: _StandbyRun, owner: str) -> bool:
        now = self._clock()
        if standby_run.failures and owner != standby_run.owner:  # another process has continued it since
            standby_run.failures, standby_run.due = 0, now
        if now < standby_run.due or has_leader(self._storage_url, run):
            standby_run.free_since = None
            return False
        standby_run.free_since = now if standby_run.free_since is None else standby_run.free_since
        return now - standby_run.free_since >= GRACE_SECONDS

    def _stop(self) -> None:
        self._is_stopped = True

    def _note_end(self, run: str, standby_run: _StandbyRun, owners: Mapping[str, str]) -> None:
        """Schedule the next start with a growing pause; a coordinator that ends normally has cleared the run's mark.

        A coordinator that refuses the run (it is not in this database, or of another release) would refuse it again.
        """
        code = standby_run.process.returncode if standby_run.process is not None else 0
        is_refused = code == SettingsError.exit_code
        failures = MAX_FAILURES if is_refused else standby_run.failures + 1
        standby_run.process, standby_run.failures, standby_run.free_since = None, failures, None
        standby_run.owner = owners.get(run, "")
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (standby_run.failures - 1), LONGEST_PAUSE_SECONDS)
        standby_run.due = self._clock() + pause
        log.info("coordinator ended", extra={"action": "coordinator_ended", "run": run, "code": code})
        if standby_run.failures >= MAX_FAILURES and run in owners:
            standby_run.due = math.inf
            reason = "this machine refuses it, see the line before" if is_refused else f"{failures} starts have failed"
            log.error("run left alone", extra={"action": "run_left_alone", "run": run, "code": code, "reason": reason})
