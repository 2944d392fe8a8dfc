"""Notification message, independent of the channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

MARKS = {"good": "✅", "info": "ℹ️", "warning": "⚠️", "bad": "❌"}  # noqa: RUF001  # the sign is meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One notification."""

    event: str
    """Name of the event, such as `level_passed`; `digest` for a summary."""
    kind: str
    """Severity: good, info, warning or bad."""
    title: str
    """One line."""
    time: datetime
    lines: tuple[str, ...] = ()
    """Lines of text below the title."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """The same information for programs."""

    @property
    def text(self) -> str:
        """Title and lines as one text."""
        return "\n".join((f"{MARKS.get(self.kind, '')} {self.title}".strip(), *self.lines))

    def to_json(self) -> dict[str, JsonValue]:
        """Return the payload of a webhook."""
        return {
            "source": "tradeschool",
            "event": self.event,
            "kind": self.kind,
            "title": self.title,
            "text": "\n".join(self.lines),
            "time": self.time.isoformat(timespec="seconds"),
            "facts": dict(self.facts),
        }
