"""The workers that a command starts for itself: kept alive, watched, and gone when the command is."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from redis.exceptions import RedisError

from tradeschool.cli.context import own_command, say
from tradeschool.errors import WorkersFailed
from tradeschool.settings import environment_for_child
from workers.glance import connect_briefly
from workers.guard import TrialQueue
from workers.monitor import take_snapshot
from workers.signing import UNSIGNED, Signer
from workers.stall import FIRST_NOTICE_SECONDS, StallNotices
from workers.starts import Restarts, how_it_ended

STOP_SECONDS = 30.0
"""Until a pool that was told to stop is killed."""
LOOK_SECONDS = 2.0
"""Between two looks at who is connected."""
OWN_START_SECONDS = 30.0
"""How long own workers may take to get up before it is said that none is connected: they compile first."""
ELSEWHERE = "start some: tradeschool worker start -n 2"

Look = Callable[[], None]


class OwnPool:
    """A `worker start` of this command's own, started again when it is killed.

    To be used by the main thread: on Linux the pool ends with the thread that started it.
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
        """Whether it was told to end, by `worker drain`: then it is not started again."""
        self._start()

    def tend(self) -> None:
        """Start it again where it was killed.

        Raises:
            WorkersFailed: where its workers do not get up, or it is killed again and again.
        """
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process.returncode)
        if self._process is None and not self.is_drained and self._restarts.is_due:
            self._start()

    def stop(self) -> None:
        """Have it end, and wait for that."""
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
            say(f"the workers of this command were told to end; {ELSEWHERE}")
            return
        if reason:
            raise WorkersFailed(reason)
        self._restarts.note_death()
        if self._restarts.is_over:
            raise WorkersFailed(
                f"the pool of this command's workers cannot be kept alive: it ended {self._restarts.deaths} times in "
                f"a row, at last {how_it_ended(code)}"
            )
        say(f"the pool of this command's workers was {how_it_ended(code)}; it is started again")

    def _take_reason(self) -> str:
        """What it has left to say; nothing where it was killed."""
        with open(self._reason, "rb") as stream:  # noqa: PTH123  # a descriptor, not a path
            return stream.read().decode(errors="replace")


class Watch:
    """What a search looks at while it waits: its own pool, and whether anybody evaluates."""

    def __init__(
        self,
        queue: TrialQueue,
        pool: OwnPool | None,
        *,
        signer: Signer = UNSIGNED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._pool, self._signer, self._clock = queue, pool, signer, clock
        self._notices = StallNotices(first_seconds=OWN_START_SECONDS if pool else FIRST_NOTICE_SECONDS, clock=clock)
        self._due = clock()

    def look(self) -> None:
        """Say what is due, now and then.

        Raises:
            WorkersFailed: see `OwnPool.tend`.
        """
        if self._pool:
            self._pool.tend()
        if self._clock() < self._due:
            return
        self._due = self._clock() + LOOK_SECONDS
        try:
            seen = take_snapshot(self._queue, signer=self._signer)
        except RedisError:
            return  # the search itself bears an outage, and says so
        if line := self._notices.look(seen.stall, self._how_to_start(), seen.idle_seconds):
            say(line)

    def _how_to_start(self) -> str:
        if self._pool is None or self._pool.is_drained:
            return ELSEWHERE
        return "those that this command started are not up yet"


@contextmanager
def own_workers(count: int, url: str, strategies: Sequence[str], signer: Signer) -> Iterator[Look]:
    """A pool of so many workers, none where that is 0, gone again when the block ends, however it ends.

    They evaluate `strategies`, too. What it gives is to be called while the search goes on; it says when no worker is
    connected.
    """
    with closing(connect_briefly(url)) as connection:
        queue = TrialQueue(connection=connection)
        if not count:
            yield Watch(queue, None, signer=signer).look
            return
        command = [*own_command("worker", "start"), "-n", str(count), "--parent", str(os.getpid())]
        pool = OwnPool(command, environment_for_child(url, strategies))
        try:
            yield Watch(queue, pool, signer=signer).look
        finally:
            pool.stop()
