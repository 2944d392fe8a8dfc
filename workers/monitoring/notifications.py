"""Looks at what there is and says what is new: datasets sealed, levels judged, workers lost, providers that pause.

It goes by state, not by messages from others, so it can be started and stopped at any time, in any process; what it
has said is remembered in a file, and a lock keeps two from saying the same. What it notices of candles and workers
it also records with the run under way, for the timeline.
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

from tradeschool.errors import StoreUnwritable
from tradeschool.notify import Notification
from tradeschool.private_folders import make_private
from tradeschool.store.atomic_files import publish_text
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
"""Of a provider's pause, from which on it is told."""
MAX_REMEMBERED = 2_000
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
"""How a recommendation is told; any other is bad news."""
ENDS = frozenset({"run_finished", "run_interrupted"})
"""After which a run is not under way, until it is resumed."""

log = logging.getLogger(__name__)


class NotificationState(BaseModel):
    """What was said before, and how far the run's log was read."""

    model_config = ConfigDict(extra="ignore")

    run: str | None = None
    offset: int = 0
    """Of the run's log, in bytes."""
    sent: list[str] = []
    """Keys of what is said once."""
    digest: float = 0.0
    """Unix time of the latest digest."""
    done: dict[str, int] = {}
    """What had been done then, by name, to tell what was done since."""
    stalled_since: float | None = None
    """Unix time at which the search was first seen to stand still; None while it moves."""
    stall_reported: bool = False


@dataclass(slots=True, kw_only=True)
class NotificationMonitor:
    """One installation's; to be used by one thread at a time."""

    overview: Overview
    tell: Callable[[Notification], None]
    folder: Path
    """Where its memory is: the state folder."""
    wanted: frozenset[str]
    """The events that are told; others are recorded alone."""
    digest_seconds: float
    """Between two digests; 0 for none."""
    _memory: NotificationState = field(default_factory=NotificationState)
    _follower: Follower | None = None
    _under_way: bool = False

    def begin(self) -> None:
        """Take up where the last one left off; what there was before the very first is old, and not told."""
        known = _read(self.folder / STATE_NAME)
        self._memory = known or NotificationState()
        if known is None:
            self._look(tells=False)
            self._memory.digest = self.overview.clock()
            self._remember()

    def look(self) -> None:
        """Say what is new."""
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
        """Record what was noticed with the run under way, from whose log it is told; or else tell it here."""
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
            self._under_way = event.name not in ENDS
            if event.name == "dataset_sealed":  # whoever fetches for a run records it, too
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
        """A worker that ends takes its name away by itself; one that is killed is silent until Redis forgets it."""
        if queue is None:
            return
        for worker in queue.workers:
            if worker.heartbeat_age_seconds > SILENT_SECONDS:
                yield from self._once("worker_lost", worker.name, worker=worker.name, host=worker.host)

    def _of_search(self, run: RunStatus | None) -> Iterator[Event]:
        """That it stands still, once it has for a while, and that it goes on."""
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
        """Whether this was not heard of before; from now on it was."""
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
            title = f"run {run.name}: how it goes" if self._under_way and run else "how the download goes"
            self.tell(
                Notification(event="digest", kind="info", title=title, time=time, lines=tuple(lines), facts={**done})
            )
            self._memory.done = done
        self._memory.digest = now

    def _remember(self) -> None:
        try:
            publish_text(self.folder, self.folder / STATE_NAME, self._memory.model_dump_json())
        except StoreUnwritable as error:
            log.warning("memory not kept", extra={"action": "memory_lost", "reason": str(error)})


@contextmanager
def notification_lock(folder: Path) -> Iterator[Callable[[], bool]]:
    """A function that says whether this process is the one that tells; another takes its place when it ends."""
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
