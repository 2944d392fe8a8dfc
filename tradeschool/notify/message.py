"""What is told, whatever the channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

MARKS = {"good": "✅", "info": "ℹ️", "warning": "⚠️", "bad": "❌"}  # noqa: RUF001  # the sign is meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing that somebody wants to hear."""

    event: str
    """Such as `level_passed`; `digest` for a summary."""
    kind: str
    """good, info, warning or bad."""
    title: str
    """One line."""
    time: datetime
    lines: tuple[str, ...] = ()
    """What is to be said beyond the title."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """The same for programs."""

    @property
    def text(self) -> str:
        """Title and lines, for people."""
        return "\n".join((f"{MARKS.get(self.kind, '')} {self.title}".strip(), *self.lines))

    def to_json(self) -> dict[str, JsonValue]:
        """What a webhook gets."""
        return {
            "source": "tradeschool",
            "event": self.event,
            "kind": self.kind,
            "title": self.title,
            "text": "\n".join(self.lines),
            "time": self.time.isoformat(timespec="seconds"),
            "facts": dict(self.facts),
        }
