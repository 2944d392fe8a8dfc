"""What there is to see of a whole installation: queue, run, candles, download; each on its own.

What is away - Redis, the study, the data folder - is a line that says so, and the others are told all the same.
Every figure comes from the function that the command of the same name uses.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from redis import Redis
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError

from optimizer.runs.live_reader import StudyWatch
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import TradeschoolError
from tradeschool.markets.instruments import Dataset
from tradeschool.settings.urls import mask_url
from tradeschool.store.download_status import DownloadStatus, read_download_status
from tradeschool.store.inventory import Inventory, InventoryEntry
from workers.connection.brief_connection import connect_briefly
from workers.connection.server_time import server_now
from workers.coordinator.context import RunContext
from workers.monitoring.queue_history import HistorySample, load_history, read_history, record_sample
from workers.monitoring.run_status import RunStatus, read_run_status, with_queue
from workers.monitoring.snapshot import Snapshot, take_snapshot
from workers.queue.job_allowlist import TrialQueue

NOT_RUNNING = "Redis is not running: no run is active; the embedded server starts and ends with a run"
SAME_LOOK_SECONDS = 3.0
"""How long a look at the queue serves for what a run's state needs of it."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[T]):
    """One part of the whole, or the reason why it cannot be seen now."""

    value: T | None = None
    trouble: str = ""
    note: str = ""
    """Why there is no value although nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where to look."""

    redis_url: str
    context: RunContext
    datasets: Sequence[Dataset]
    """Those whose candles are looked for."""
    embedded: EmbeddedValkey | None = None
    """The server at `redis_url`, where it is the one that starts and ends with a run."""


class Overview:
    """Keeps connections and what was read before between looks; to be used by one thread at a time."""

    def __init__(self, sources: Sources, *, clock: Callable[[], float] = time.time, is_quiet: bool = False) -> None:
        self.sources, self.clock = sources, clock
        self._is_quiet = is_quiet
        self.studies = StudyWatch(sources.context.storage_url)
        self._queue: TrialQueue | None = None
        self._inventory = Inventory(sources.context.store)
        self._troubles: dict[str, str] = {}
        self._queue_seen: tuple[float, View[Snapshot]] | None = None

    def queue(self) -> View[Snapshot]:
        """The queue and its workers, kept for the history where it is time for that."""
        seen = self._see("queue", self._snapshot)
        self._queue_seen = (self.clock(), seen)
        return seen

    def past(self) -> View[list[HistorySample]]:
        """The queue's past; what was kept of it where the embedded server is not running."""
        seen = self._see("queue", lambda: read_history(self.connection()))
        if self.sources.embedded and not seen.value and not seen.trouble:
            return View(value=load_history(self.sources.embedded.folder))
        return seen

    def run(self, name: str | None = None) -> View[RunStatus]:
        """How a run stands, the newest where none is named; no value and no trouble where there is no such run."""
        return self._see("run", lambda: self._run_status(name))

    def runs(self) -> View[list[str]]:
        """The names of all runs, the newest first."""
        return self._see("run", lambda: list(reversed(self.studies.runs())))

    def candles(self) -> View[list[InventoryEntry]]:
        """What is sealed."""
        return self._see("candles", lambda: self._inventory.look(self.sources.datasets))

    def download(self) -> View[DownloadStatus]:
        """How the latest download goes; no value where there was none."""
        return self._see("download", lambda: read_download_status(self.sources.context.store.root))

    def connection(self) -> Redis:
        """A connection to Redis that does not wait for long; made when it is needed."""
        return self.trials().connection

    def trials(self) -> TrialQueue:
        """The queue, over that connection."""
        if self._queue is None:
            self._queue = TrialQueue(connection=connect_briefly(self.sources.redis_url))
        return self._queue

    def close(self) -> None:
        """Give every connection back."""
        self.studies.close()
        if self._queue is not None:
            self._queue.connection.close()
            self._queue = None

    def _snapshot(self) -> Snapshot:
        snapshot = take_snapshot(self.trials(), signer=self.sources.context.signer)
        record_sample(self.connection(), snapshot, server_now(self.connection()))
        return snapshot

    def _run_status(self, name: str | None) -> RunStatus | None:
        chosen = name or next(reversed(self.studies.runs()), None)
        record = self.studies.run(chosen) if chosen else None
        if record is None:
            return None
        status = read_run_status(self.sources.context, record, self.studies, self.clock())
        return with_queue(status, self._queue_lately()) if status.is_active else status

    def _queue_lately(self) -> Snapshot | None:
        known = self._queue_seen
        if known and abs(self.clock() - known[0]) <= SAME_LOOK_SECONDS:
            return known[1].value
        return self.queue().value

    def _see(self, what: str, look: Callable[[], T | None]) -> View[T]:
        try:
            seen = View(value=look())
        except RedisError as error:
            seen = self._without_redis(error)
        except TradeschoolError as error:
            seen = View(trouble=str(error))
        except OSError as error:
            seen = View(trouble=f"{error.filename or what}: {error.strerror or error}")
        self._tell(what, seen.trouble)
        return seen

    def _without_redis(self, error: RedisError) -> View[T]:
        embedded = self.sources.embedded
        if embedded and isinstance(error, RedisGone) and not embedded.is_in_use:
            return View(note=NOT_RUNNING)
        return View(trouble=f"Redis {mask_url(self.sources.redis_url)} does not answer: {_reason(error)}")

    def _tell(self, what: str, trouble: str) -> None:
        """Say in the log when something goes away and when it is back; once each, unless somebody else does."""
        if self._is_quiet:
            return
        before = self._troubles.get(what, "")
        if trouble and not before:
            log.warning("cannot see", extra={"action": "view_lost", "what": what, "reason": trouble})
        if before and not trouble:
            log.warning("seen again", extra={"action": "view_back", "what": what})
        self._troubles[what] = trouble


def _reason(error: Exception) -> str:
    """Without the address, which redis-py says twice more."""
    first = str(error).partition("\n")[0]
    return re.sub(r"^Error -?\d+ connecting to \S+ ", "", first).rstrip(".").lower()
