"""What a user asks of a forward test."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tradeschool.errors import SettingsError
from tradeschool.markets.timerange import parse_timerange
from tradeschool.markets.windows import EPOCH, Window

LIVE = "live"
"""Default name of a forward test on candles to come."""
FORWARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRequest:
    """What a user asks for; None or empty for options that were not given."""

    run_name: str | None = None
    params: Path | None = None
    name: str | None = None
    replay: str | None = None
    """Range of sealed candles, instead of candles to come."""
    limits: Mapping[str, float | int] = field(default_factory=dict)
    """Changes of the rule's limits by field name."""
    force: bool = False

    @property
    def window(self) -> Window | None:
        """The range of a replay, in whole days.

        Raises:
            SettingsError: it is malformed, or does not begin and end at midnight UTC.
        """
        if self.replay is None:
            return None
        window = parse_timerange(self.replay)
        if any((each - EPOCH) % timedelta(days=1) for each in (window.start, window.end)):
            raise SettingsError(f"--replay {self.replay}: expected whole days, such as 2024-01-01..2025-01-01")
        return window

    @property
    def test_name(self) -> str:
        """Name of the forward test.

        Raises:
            SettingsError: it is no name.
        """
        if self.name and not FORWARD_NAME.fullmatch(self.name):
            raise SettingsError(f"--name {self.name}: expected up to 64 letters, digits, dashes and underscores")
        return self.name or (f"replay-{self.window.name}" if self.window else LIVE)
