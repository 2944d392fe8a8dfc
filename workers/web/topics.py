"""Current state by topic, with notification of all open streams on a change.

A topic is serialized once; every stream sends the same bytes. A slow stream gets the latest state of each topic and
skips intermediate ones, so it needs no buffer and delays no other stream.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pydantic import JsonValue

WATCHED_SECONDS = 10.0
"""Seconds after a request for a topic during which the poller reads as if a page were open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEntry:
    """Latest state of one topic."""

    version: int
    text: bytes
    """JSON."""
    frame: bytes
    """The JSON as a server-sent event."""


class TopicStore:
    """Holds the latest state of each topic; used by one event loop."""

    def __init__(self) -> None:
        self._entries: dict[str, TopicEntry] = {}
        self._version = 0
        self._changed = asyncio.Event()
        self._joined = asyncio.Event()
        self._watched_until = float("-inf")
        self.listeners = 0
        """Number of open streams."""

    def put(self, topic: str, value: JsonValue) -> None:
        """Store the state of a topic and notify all streams if it changed."""
        text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        known = self._entries.get(topic)
        if known is not None and known.text == text:
            return
        self._version += 1
        frame = b"event: " + topic.encode() + b"\ndata: " + text + b"\n\n"
        self._entries[topic] = TopicEntry(version=self._version, text=text, frame=frame)
        self._changed.set()
        self._changed = asyncio.Event()

    def text(self, topic: str) -> bytes | None:
        """Return the latest state of a topic as JSON; None before the first one."""
        entry = self._entries.get(topic)
        return entry.text if entry else None

    async def changes(self, seen: int) -> tuple[list[bytes], int]:
        """Wait for topics newer than version `seen`; return their frames and the new version."""
        while self._version <= seen:
            await self._changed.wait()
        return [entry.frame for entry in self._entries.values() if entry.version > seen], self._version

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count an open stream until the block ends, and wake the poller from its slow rhythm."""
        self.listeners += 1
        self._wake()
        try:
            yield
        finally:
            self.listeners -= 1

    def note_request(self) -> None:
        """Wake the poller from its slow rhythm for a client that asks for topics and opens no stream."""
        now = asyncio.get_running_loop().time()
        if now >= self._watched_until:
            self._wake()
        self._watched_until = now + WATCHED_SECONDS

    def _wake(self) -> None:
        self._joined.set()
        self._joined = asyncio.Event()

    async def pause(self, watched_seconds: float, idle_seconds: float) -> None:
        """Sleep between two reads; longer while nobody watches, until the first stream or request."""
        if self.listeners or asyncio.get_running_loop().time() < self._watched_until:
            await asyncio.sleep(watched_seconds)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._joined.wait(), idle_seconds)
