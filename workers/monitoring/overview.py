"""Status of a whole installation: queue, run, candles and download, each read independently.

If Redis, the database or the data folder is not available, that part holds an error message; the other parts are
still read. Each figure comes from the function that the command of the same name uses.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import JsonValue
from redis import Redis
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError

from optimizer.forward.summary import SummaryCache
from optimizer.runs.live_reader import StudyWatch
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import TradeschoolError
from tradeschool.markets.instruments import Dataset
from tradeschool.settings.urls import mask_url
from tradeschool.store.download_status import DownloadStatus, read_download_status
from tradeschool.store.inventory import Inventory, InventoryEntry, stored_datasets
from workers.connection.brief_connection import connect_briefly
from workers.connection.server_time import server_now
from workers.coordinator.context import RunContext
from workers.monitoring.absence import NOT_RUNNING
from workers.monitoring.queue_history import HistorySample, load_history, read_history, record_sample
from workers.monitoring.run_status import RunStatus, read_run_status, with_queue
from workers.monitoring.snapshot import Snapshot, take_snapshot
from workers.queue.job_allowlist import TrialQueue

SAME_LOOK_SECONDS = 3.0
"""Maximum age of a queue snapshot that the run status reuses."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[T]):
    """One part of the status: its value, or the error that prevented reading it."""

    value: T | None = None
    error: str = ""
    """Error message; empty if there was no error."""
    note: str = ""
    """Reason for a missing value that is not an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Sources of the status: Redis, database, result folder and candle store."""

    redis_url: str
    context: RunContext
    datasets: Sequence[Dataset]
    """Datasets that the inventory of candles covers, besides those that are stored."""
    embedded: EmbeddedValkey | None = None
    """The embedded server at `redis_url`; None for an external server."""


class Overview:
    """Reads the status of an installation; keeps connections and caches between calls. Not thread-safe.

    Args:
        sources: Services and folders to read.
        clock: Returns Unix time in seconds.
        is_quiet: Whether to omit log messages on unavailable parts.
    """

    def __init__(self, sources: Sources, *, clock: Callable[[], float] = time.time, is_quiet: bool = False) -> None:
        self.sources, self.clock = sources, clock
        self._is_quiet = is_quiet
        self.studies = StudyWatch(sources.context.storage_url)
        self._queue: TrialQueue | None = None
        self._inventory = Inventory(sources.context.store)
        self._forward = SummaryCache()
        self._errors: dict[str, str] = {}
        self._queue_seen: tuple[float, View[Snapshot]] | None = None

    def queue(self) -> View[Snapshot]:
        """Return a snapshot of the queue and its workers; record a sample of it in the queue history if one is due."""
        seen = self._see("queue", self._snapshot)
        self._queue_seen = (self.clock(), seen)
        return seen

    def past(self) -> View[list[HistorySample]]:
        """Return the queue history; read it from the saved file if the embedded server is not running."""
        seen = self._see("queue", lambda: read_history(self.connection()))
        if self.sources.embedded and not seen.value and not seen.error:
            return View(value=load_history(self.sources.embedded.folder))
        return seen

    def run(self, name: str | None = None) -> View[RunStatus]:
        """Return the status of a run, by default the newest; neither value nor error if the run does not exist."""
        return self._see("run", lambda: self._run_status(name))

    def runs(self) -> View[list[str]]:
        """Return the names of all runs, newest first."""
        return self._see("run", lambda: list(reversed(self.studies.runs())))

    def candles(self) -> View[list[InventoryEntry]]:
        """Return the inventory of sealed candles."""
        return self._see("candles", self._look_at_candles)

    def _look_at_candles(self) -> list[InventoryEntry]:
        stored, _ = stored_datasets(self.sources.context.store)
        return self._inventory.look(list(dict.fromkeys((*self.sources.datasets, *stored))))

    def forward(self) -> View[list[dict[str, JsonValue]]]:
        """Return the summaries of the forward tests of all runs."""
        return self._see("forward", lambda: self._forward.look(self.sources.context.results_dir))

    def download(self) -> View[DownloadStatus]:
        """Return the status of the last download; no value if there was none."""
        return self._see("download", lambda: read_download_status(self.sources.context.store.root))

    def connection(self) -> Redis:
        """Return a connection to Redis with short timeouts; opened at the first call."""
        return self.trials().connection

    def trials(self) -> TrialQueue:
        """Return the trial queue, which uses the same connection."""
        if self._queue is None:
            self._queue = TrialQueue(connection=connect_briefly(self.sources.redis_url))
        return self._queue

    def close(self) -> None:
        """Close all connections."""
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
            seen = View(error=str(error))
        except OSError as error:
            seen = View(error=f"{error.filename or what}: {error.strerror or error}")
        self._tell(what, seen.error)
        return seen

    def _without_redis(self, error: RedisError) -> View[T]:
        embedded = self.sources.embedded
        if embedded and isinstance(error, RedisGone) and not embedded.is_in_use:
            return View(note=NOT_RUNNING)
        return View(error=f"Redis {mask_url(self.sources.redis_url)} does not answer: {_reason(error)}")

    def _tell(self, what: str, error: str) -> None:
        """Log once when a part becomes unavailable and once when it is available again; nothing if `is_quiet`."""
        if self._is_quiet:
            return
        before = self._errors.get(what, "")
        if error and not before:
            log.warning("status not available", extra={"action": "view_lost", "what": what, "reason": error})
        if before and not error:
            log.warning("status available again", extra={"action": "view_back", "what": what})
        self._errors[what] = error


def _reason(error: Exception) -> str:
    """Return the first line of an error without the address, which redis-py repeats."""
    first = str(error).partition("\n")[0]
    return re.sub(r"^Error -?\d+ connecting to \S+ ", "", first).rstrip(".").lower()
