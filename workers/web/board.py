"""What is known now, by topic, and everybody who is told when it changes.

A topic's text is made once and handed to every listener as the same bytes. A listener that is slow gets the latest
of each topic and misses what lay between, so it costs no memory, and nobody waits for it.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pydantic import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The latest of one topic."""

    version: int
    text: bytes
    """JSON."""
    frame: bytes
    """The same as a server-sent event."""


class Board:
    """To be used by one event loop."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._version = 0
        self._changed = asyncio.Event()
        self._joined = asyncio.Event()
        self.listeners = 0
        """How many listen now."""

    def put(self, topic: str, value: JsonValue) -> None:
        """Tell every listener, unless nothing has changed."""
        text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        known = self._entries.get(topic)
        if known is not None and known.text == text:
            return
        self._version += 1
        frame = b"event: " + topic.encode() + b"\ndata: " + text + b"\n\n"
        self._entries[topic] = Entry(version=self._version, text=text, frame=frame)
        self._changed.set()
        self._changed = asyncio.Event()

    def text(self, topic: str) -> bytes | None:
        """The latest of a topic as JSON, None before the first."""
        entry = self._entries.get(topic)
        return entry.text if entry else None

    async def news(self, seen: int) -> tuple[list[bytes], int]:
        """The frames of all topics that are newer than `seen`, and what has been seen then; waits for the first."""
        while self._version <= seen:
            await self._changed.wait()
        return [entry.frame for entry in self._entries.values() if entry.version > seen], self._version

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Count somebody who listens, and wake who looks seldom because nobody did."""
        self.listeners += 1
        self._joined.set()
        self._joined = asyncio.Event()
        try:
            yield
        finally:
            self.listeners -= 1

    async def pause(self, watched_seconds: float, idle_seconds: float) -> None:
        """Sleep between two looks: longer while nobody listens, but not beyond the moment at which somebody does."""
        if self.listeners:
            await asyncio.sleep(watched_seconds)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._joined.wait(), idle_seconds)
