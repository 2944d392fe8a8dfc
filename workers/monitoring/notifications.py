"""Sends notifications on new events: sealed datasets, level verdicts, lost workers, paused providers, stalled searches.

The monitor compares the current status with the last one, so any process can start and stop it at any time. A state
file stores the sent notifications, and a lock allows one sender at a time. Events of downloads and workers are also
recorded in the event log of the active run.
"""

import fcntl
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tradeschool.atomic_files import publish_text
from tradeschool.errors import StoreUnwritable
from tradeschool.notify import Notification
from tradeschool.private_folders import make_private
from tradeschool.store.download_status import FRESH, DownloadStatus
from workers.coordinator import event_log
from workers.coordinator.event_log import Event, Follower
from workers.monitoring.digest import resources, summary
from workers.monitoring.overview import Overview
from workers.monitoring.run_status import RunStatus
from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import SILENT_SECONDS, STALL_EVENT_SECONDS

STATE_NAME, LOCK_NAME = "notifications.json", "notifications.lock"
PAUSE_SECONDS = 30.0
"""Shortest pause of a provider that is reported."""
MAX_REMEMBERED = 2_000
"""Number of sent notifications that the state file stores."""
KINDS: Mapping[str, str] = {
    "level_passed": "good",
    "run_finished": "good",
    "dataset_sealed": "good",
    "level_failed": "bad",
    "level_escalated": "bad",
    "provider_banned": "bad",
    "download_failed": "bad",
    "fetcher_lost": "bad",
    "trial_given_up": "bad",
    "search_stalled": "bad",
    "search_resumed": "good",
    "worker_lost": "warning",
    "provider_paused": "warning",
    "run_interrupted": "warning",
}
ADVICE: Mapping[str, str] = {"deploy": "good", "paper trade": "warning"}
"""Notification kind by recommendation; every other recommendation is `bad`."""
ENDS = frozenset({"run_finished", "run_interrupted"})
"""Events after which a run is inactive until it is resumed."""
AFTER_RUN = frozenset({"forward_started", "forward_decided"})
"""Events of forward tests, which follow a run's end; the process that continues a test sends them itself."""

log = logging.getLogger(__name__)


class NotificationState(BaseModel):
    """State file: the notifications already sent, and the read position in the event log."""

    model_config = ConfigDict(extra="ignore")

    run: str | None = None
    offset: int = 0
    """Read position in the event log of the run, in bytes."""
    sent: list[str] = []
    """Keys of notifications that are sent once."""
    digest: float = 0.0
    """Unix time of the last digest, in seconds."""
    done: dict[str, int] = {}
    """Progress counts at the last digest, by study name or `pages`."""
    stalled_since: float | None = None
    """Unix time at which the stall was first observed; None if the search is not stalled."""
    stall_reported: bool = False
    """Whether `search_stalled` was sent for the current stall."""


@dataclass(slots=True, kw_only=True)
class NotificationMonitor:
    """Detects events of one installation and sends them as notifications. Not thread-safe."""

    overview: Overview
    tell: Callable[[Notification], None]
    """Sends a notification."""
    folder: Path
    """State folder, which contains the state file."""
    wanted: frozenset[str]
    """Names of the events that are sent; other events are only recorded."""
    digest_seconds: float
    """Seconds between two digests; 0 disables them."""
    _memory: NotificationState = field(default_factory=NotificationState)
    _follower: Follower | None = None
    _under_way: bool = False

    def begin(self) -> None:
        """Load the state file. Without one, mark all current events as sent, so that only later events are sent."""
        known = _read(self.folder / STATE_NAME)
        self._memory = known or NotificationState()
        if known is None:
            self._look(tells=False)
            self._memory.digest = self.overview.clock()
            self._remember()

    def look(self) -> None:
        """Send notifications for all events since the last call."""
        before = self._memory.model_copy(deep=True)
        self._look(tells=True)
        if self._memory != before:
            self._remember()

    def _look(self, *, tells: bool) -> None:
        queue, run, download = self.overview.queue().value, self.overview.run().value, self.overview.download().value
        self._follow(run.name if run else None, tells=tells)
        noticed = [*self._of_download(download), *self._of_workers(queue), *self._of_search(run)]
        if tells:
            for event in noticed:
                self._announce(event)
            self._follow(run.name if run else None, tells=True)
            self._digest(queue, run, download)

    def _announce(self, event: Event) -> None:
        """Record an event in the log of the active run, which `_follow` then sends; without an active run, send it."""
        if self._under_way and self._memory.run:
            event_log.record(self.overview.sources.context.folder(self._memory.run), event.name, **dict(event.facts))
        else:
            self._send(event)

    def _follow(self, run: str | None, *, tells: bool) -> None:
        if run is None:
            return
        if self._follower is None or run != self._memory.run:
            begin = self._memory.offset if run == self._memory.run else 0
            self._under_way = begin > 0
            self._follower = Follower(self.overview.sources.context.folder(run), offset=begin)
            self._memory.run = run
        for event in self._follower.new_events():
            if event.name in AFTER_RUN:
                continue
            self._under_way = event.name not in ENDS
            if event.name == "dataset_sealed":  # also recorded by a download that belongs to a run
                self._is_new("dataset_sealed", f"{event.facts.get('dataset')} {event.facts.get('window')}")
            if tells:
                self._send(event)
        self._memory.offset = self._follower.offset

    def _of_download(self, download: DownloadStatus | None) -> Iterator[Event]:
        if download is None:
            return
        for each in download.downloads:
            place: dict[str, JsonValue] = {"window": each.range}
            for dataset in each.sealed:
                yield from self._once("dataset_sealed", f"{dataset} {each.range}", dataset=dataset, **place)
            if each.error:
                name = "provider_banned" if each.banned else "download_failed"
                facts: dict[str, JsonValue] = {"provider": each.provider, "dataset": each.dataset, "reason": each.error}
                yield from self._once(name, f"{each.dataset} {each.range} {each.error}", **facts, **place)
        now = datetime.fromtimestamp(self.overview.clock(), UTC)
        if download.state(now) == "lost":
            yield from self._once("fetcher_lost", download.time.isoformat(), seconds=int(FRESH.total_seconds()))
        for provider in download.providers:
            if download.running and provider.paused_seconds >= PAUSE_SECONDS:
                until = int((download.time.timestamp() + provider.paused_seconds) // PAUSE_SECONDS)
                seconds = round(provider.paused_seconds)
                yield from self._once(
                    "provider_paused", f"{provider.provider} {until}", provider=provider.provider, seconds=seconds
                )

    def _of_workers(self, queue: Snapshot | None) -> Iterator[Event]:
        """Yield `worker_lost` for workers without a recent heartbeat.

        A worker that exits normally removes its registration; the registration of a killed worker expires later.
        """
        if queue is None:
            return
        for worker in queue.workers:
            if worker.heartbeat_age_seconds > SILENT_SECONDS:
                yield from self._once("worker_lost", worker.name, worker=worker.name, host=worker.host)

    def _of_search(self, run: RunStatus | None) -> Iterator[Event]:
        """Yield `search_stalled` once the stall has lasted long enough, and `search_resumed` when it ends."""
        now, memory = self.overview.clock(), self._memory
        stall = run.stall if run else None
        if stall:
            memory.stalled_since = now if memory.stalled_since is None else memory.stalled_since
            if not memory.stall_reported and now - memory.stalled_since >= STALL_EVENT_SECONDS:
                memory.stall_reported = True
                yield self._event("search_stalled", reason=stall.sentence(), stall=stall.value)
            return
        if memory.stall_reported and run and run.is_active and memory.stalled_since is not None:
            yield self._event("search_resumed", seconds=round(now - memory.stalled_since))
        memory.stalled_since, memory.stall_reported = None, False

    def _event(self, name: str, **facts: JsonValue) -> Event:
        return Event(time=datetime.fromtimestamp(self.overview.clock(), UTC), name=name, facts=facts)

    def _once(self, name: str, key: str, **facts: JsonValue) -> Iterator[Event]:
        if self._is_new(name, key):
            yield self._event(name, **facts)

    def _is_new(self, name: str, key: str) -> bool:
        """Return whether the event was not sent before, and mark it as sent."""
        mark = f"{name} {key}"[:400]
        if mark in self._memory.sent:
            return False
        self._memory.sent = [*self._memory.sent, mark][-MAX_REMEMBERED:]
        return True

    def _send(self, event: Event) -> None:
        if event.name in self.wanted:
            title, facts = event.sentence, dict(event.facts)
            self.tell(Notification(event=event.name, kind=_kind(event), title=title, time=event.time, facts=facts))

    def _digest(self, queue: Snapshot | None, run: RunStatus | None, download: DownloadStatus | None) -> None:
        now = self.overview.clock()
        is_fetching = download is not None and download.state(datetime.fromtimestamp(now, UTC)) == "running"
        if not self.digest_seconds or now - self._memory.digest < self.digest_seconds:
            return
        if self._under_way or is_fetching:
            done, lines = summary(run, download if is_fetching else None, self._memory.done)
            context = self.overview.sources.context
            lines += resources(queue, download, (context.store.root, context.results_dir))
            time = datetime.fromtimestamp(now, UTC)
            title = f"run {run.name}: progress" if self._under_way and run else "download progress"
            self.tell(
                Notification(event="digest", kind="info", title=title, time=time, lines=tuple(lines), facts={**done})
            )
            self._memory.done = done
        self._memory.digest = now

    def _remember(self) -> None:
        try:
            publish_text(self.folder, self.folder / STATE_NAME, self._memory.model_dump_json())
        except StoreUnwritable as error:
            log.warning("notification state not saved", extra={"action": "memory_lost", "reason": str(error)})


@contextmanager
def notification_lock(folder: Path) -> Iterator[Callable[[], bool]]:
    """Yield a function that tries to take the lock and returns whether this process holds it.

    The lock is released when the block or the process ends; another process can then take it.
    """
    make_private(folder)
    with (folder / LOCK_NAME).open("w") as file:

        def is_ours() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        yield is_ours


def _read(path: Path) -> NotificationState | None:
    try:
        return NotificationState.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None


def _kind(event: Event) -> str:
    match event.name:
        case "run_finished" if event.facts.get("outcome") == "escalated":
            return "bad"
        case "recommendation":
            return ADVICE.get(str(event.facts.get("action")), "bad")
    return KINDS.get(event.name, "info")
