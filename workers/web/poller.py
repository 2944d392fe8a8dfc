"""Poller: reads each source at its own interval in one thread, independent of the number of open pages."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import JsonValue

from workers.coordinator import event_log
from workers.monitoring.overview import Overview
from workers.monitoring.run_status_json import as_page
from workers.web.details import ImportanceCache
from workers.web.topics import TopicStore

log = logging.getLogger(__name__)

REMEMBER_SECONDS = 2.0
"""Seconds for which the response to a detail request is cached."""
MAX_REMEMBERED = 256
MAX_EVENTS = 200
MAX_RUNS = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledTopic:
    """One topic and its polling intervals."""

    topic: str
    look: Callable[[], JsonValue]
    watched_seconds: float
    idle_seconds: float
    """Interval while no page is open and no client asks; history and metrics are still updated."""


class Poller:
    """Reads all sources and puts the results into the topic store."""

    def __init__(self, overview: Overview, topics: TopicStore) -> None:
        self.overview, self.topic_store = overview, topics
        self.looked = time.monotonic()
        """Monotonic time of the last completed read; detects a hanging poller."""
        self.importances = ImportanceCache()
        self._thread = ThreadPoolExecutor(1, "overview")
        self._answers: dict[object, tuple[float, asyncio.Task[Any]]] = {}
        self._run: str | None = None
        self._parts = (
            PolledTopic(topic="queue", look=self._queue, watched_seconds=1.0, idle_seconds=4.9),
            PolledTopic(topic="run", look=self._run_status, watched_seconds=2.0, idle_seconds=10.0),
            PolledTopic(topic="events", look=self._events, watched_seconds=2.0, idle_seconds=10.0),
            PolledTopic(topic="download", look=self._download, watched_seconds=2.0, idle_seconds=10.0),
            PolledTopic(topic="forward", look=self._forward_tests, watched_seconds=5.0, idle_seconds=30.0),
            PolledTopic(topic="candles", look=self._candles, watched_seconds=5.0, idle_seconds=30.0),
        )

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._parts:
                    group.create_task(self._keep(part))
        finally:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.overview.close)
            self._thread.shutdown(wait=False)

    async def look(self) -> None:
        """Read all sources once, in order."""
        for part in self._parts:
            await self._once(part)

    async def ask(self, work: Callable[[], T]) -> T:
        """Run a single request, for example a requeue, in the poller's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def recent(self, key: object, work: Callable[[], T]) -> T:
        """Run a detail request in the poller's thread; equal requests within two seconds share one result."""
        now = time.monotonic()
        known = self._answers.get(key)
        if known is None or now - known[0] > REMEMBER_SECONDS:
            if len(self._answers) >= MAX_REMEMBERED:
                self._answers.clear()
            known = self._answers[key] = (now, asyncio.create_task(self.ask(work)))
        # Shielded: the cancellation of one request must not cancel the result of others.
        return cast(T, await asyncio.shield(known[1]))  # a key always has the same result type

    async def _keep(self, part: PolledTopic) -> None:
        while True:
            await self._once(part)
            await self.topic_store.pause(part.watched_seconds, part.idle_seconds)

    async def _once(self, part: PolledTopic) -> None:
        try:
            self.topic_store.put(part.topic, await self.ask(part.look))
        except Exception:  # outermost loop: an unreadable source must not stop the page
            log.exception("poll failed", extra={"action": "look_failed", "topic": part.topic})
            self.topic_store.put(part.topic, {"error": f"{part.topic}: not readable; see the log of tradeschool serve"})
        self.looked = time.monotonic()

    def _queue(self) -> JsonValue:
        view = self.overview.queue()
        return {
            "error": view.error,
            "note": view.note,
            "time": self.overview.clock(),
            "queue": view.value.to_json() if view.value else None,
        }

    def _run_status(self) -> JsonValue:
        view = self.overview.run()
        self._run = view.value.name if view.value else self._run
        names: list[JsonValue] = [*(self.overview.runs().value or ())[:MAX_RUNS]]
        return {"error": view.error, "run": as_page(view.value) if view.value else None, "runs": names}

    def _events(self) -> JsonValue:
        found = event_log.read(self.folder(self._run), MAX_EVENTS) if self._run else ()
        return {"run": self._run, "events": [event.to_json() for event in found]}

    def _download(self) -> JsonValue:
        view = self.overview.download()
        found = view.value
        if found is None:
            return {"error": view.error, "state": None, "download": None}
        told = found.model_dump(mode="json")
        for each, seconds in zip(told["downloads"], found.etas_seconds, strict=True):
            each["eta_seconds"] = seconds
        state = found.state(datetime.fromtimestamp(self.overview.clock(), UTC))
        return {"error": view.error, "state": state, "download": told}

    def _candles(self) -> JsonValue:
        view = self.overview.candles()
        datasets: list[JsonValue] = [
            {**leased.inventory.to_json(), "months": dict(leased.months)} for leased in view.value or ()
        ]
        return {"error": view.error, "datasets": datasets}

    def _forward_tests(self) -> JsonValue:
        view = self.overview.forward()
        return {"error": view.error, "tests": [*(view.value or ())]}

    def history(self) -> JsonValue:
        """Return the queue history."""
        view = self.overview.past()
        return {"error": view.error, "samples": [asdict(moment) for moment in view.value or ()]}

    def folder(self, run: str) -> Path:
        """Return the folder of a run; the caller has validated the name."""
        return self.overview.sources.context.folder(run)
