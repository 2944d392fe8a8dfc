"""Worker pool of a search command: started with the command, restarted when it dies, stopped at the end."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from redis.exceptions import RedisError

from tradeschool.app.context import own_command
from tradeschool.errors import WorkersFailed
from tradeschool.settings.loading import environment_for_child
from tradeschool.views.terminal import say
from workers.connection.brief_connection import connect_briefly
from workers.connection.signing import UNSIGNED, Signer
from workers.monitoring.snapshot import take_snapshot
from workers.monitoring.stall_detection import FIRST_ALERT_SECONDS, StallAlerts
from workers.processes.restart_policy import Restarts, how_it_ended
from workers.queue.job_allowlist import TrialQueue

STOP_SECONDS = 30.0
"""Seconds between stopping a pool and killing it."""
LOOK_SECONDS = 2.0
"""Seconds between two checks of the connected workers."""
OWN_START_SECONDS = 30.0
"""Seconds before missing workers of this command are reported: they may compile first."""
ELSEWHERE = "start some: tradeschool worker start -n 2"

Look = Callable[[], None]


class OwnPool:
    """Child process `worker start`, restarted when it is killed.

    Use it from the main thread: on Linux the pool ends with the thread that started it.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._environment = command, environment
        self._restarts = Restarts(clock)
        self._process: subprocess.Popen[bytes] | None = None
        self._reason = -1
        self.is_drained = False
        """Whether `worker drain` stopped the pool; it is not restarted then."""
        self._start()

    def tend(self) -> None:
        """Restart the pool if it was killed.

        Raises:
            WorkersFailed: If its workers cannot start, or the pool dies repeatedly.
        """
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process.returncode)
        if self._process is None and not self.is_drained and self._restarts.is_due:
            self._start()

    def stop(self) -> None:
        """Stop the pool and wait for its end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._take_reason()
        self._process = None

    def _start(self) -> None:
        self._reason, write = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                [*self._command, "--reason-to", str(write)],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
                pass_fds=(write,),
            )
        finally:
            os.close(write)
        self._restarts.note_start()

    def _note_end(self, code: int) -> None:
        reason, self._process = self._take_reason(), None
        if code == 0:
            self.is_drained = True
            say(f"the workers of this command were drained; {ELSEWHERE}")
            return
        if reason:
            raise WorkersFailed(reason)
        self._restarts.note_death()
        if self._restarts.is_over:
            raise WorkersFailed(
                f"the worker pool of this command died {self._restarts.deaths} times in a row, most recently: "
                f"{how_it_ended(code)}"
            )
        say(f"restarting the worker pool of this command: {how_it_ended(code)}")

    def _take_reason(self) -> str:
        """Return the error that the pool reported; empty if it was killed."""
        with open(self._reason, "rb") as stream:  # noqa: PTH123  # a descriptor, not a path
            return stream.read().decode(errors="replace")


class PoolWatch:
    """Periodic check during a search: keeps the pool alive and reports missing workers."""

    def __init__(
        self,
        queue: TrialQueue,
        pool: OwnPool | None,
        *,
        signer: Signer = UNSIGNED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._pool, self._signer, self._clock = queue, pool, signer, clock
        self._notices = StallAlerts(first_seconds=OWN_START_SECONDS if pool else FIRST_ALERT_SECONDS, clock=clock)
        self._due = clock()

    def look(self) -> None:
        """Check the pool, and every few seconds the connected workers; print what changed.

        Raises:
            WorkersFailed: See `OwnPool.tend`.
        """
        if self._pool:
            self._pool.tend()
        if self._clock() < self._due:
            return
        self._due = self._clock() + LOOK_SECONDS
        try:
            seen = take_snapshot(self._queue, signer=self._signer)
        except RedisError:
            return  # the search itself handles and reports an outage
        if line := self._notices.look(seen.stall, self._how_to_start(), seen.idle_seconds):
            say(line)

    def _how_to_start(self) -> str:
        if self._pool is None or self._pool.is_drained:
            return ELSEWHERE
        return "the workers of this command are still starting"


@contextmanager
def own_workers(count: int, url: str, strategies: Sequence[str], signer: Signer) -> Iterator[Look]:
    """Run a pool of `count` workers until the block ends; none if `count` is 0.

    The workers also evaluate `strategies`. The yielded function must be called repeatedly during the search; it
    reports when no worker is connected.
    """
    with closing(connect_briefly(url)) as connection:
        queue = TrialQueue(connection=connection)
        if not count:
            yield PoolWatch(queue, None, signer=signer).look
            return
        command = [*own_command("worker", "start"), "-n", str(count), "--parent", str(os.getpid())]
        pool = OwnPool(command, environment_for_child(url, strategies))
        try:
            yield PoolWatch(queue, pool, signer=signer).look
        finally:
            pool.stop()
