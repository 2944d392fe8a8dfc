"""Time windows [start, end) in UTC, their union and difference."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tradeschool.errors import SettingsError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open time range [start, end) with UTC-aware bounds.

    Raises:
        SettingsError: if a bound is not in UTC, or the range is empty or reversed.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if {self.start.utcoffset(), self.end.utcoffset()} != {timedelta(0)}:
            raise SettingsError(f"time range {self.start}..{self.end} is not in UTC: give both bounds in UTC")
        if self.start >= self.end:
            raise SettingsError(
                f"time range {self.start:%Y-%m-%d %H:%M}..{self.end:%Y-%m-%d %H:%M} is empty: "
                "the end must be after the start"
            )

    @classmethod
    def of_seconds(cls, start: int, end: int) -> "Window":
        """Return the window between two Unix times in seconds."""
        return cls(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))

    @property
    def start_seconds(self) -> int:
        """Unix time of the start."""
        return int(self.start.timestamp())

    @property
    def end_seconds(self) -> int:
        """Unix time of the exclusive end."""
        return int(self.end.timestamp())

    @property
    def name(self) -> str:
        """Name in file names, such as `20200101-20220101`; a bound other than midnight includes hours and minutes."""
        return f"{_stamp(self.start)}-{_stamp(self.end)}"

    def contains(self, other: "Window") -> bool:
        """Whether this range contains the whole of `other`."""
        return self.start <= other.start and other.end <= self.end

    def overlap(self, other: "Window") -> "Window | None":
        """Return the intersection of both ranges, None if it is empty."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start < end else None

    def years(self) -> Iterator[tuple[int, "Window"]]:
        """Yield each calendar year (UTC) of the range with the part of the range inside that year."""
        for year in range(self.start.year, self.end.year + 1):
            whole = Window(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))
            if part := self.overlap(whole):
                yield year, part

    def __str__(self) -> str:
        return f"{_readable(self.start)}..{_readable(self.end)}"


def merge(windows: list[Window]) -> list[Window]:
    """Return the union of ranges as the fewest possible ranges, sorted."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return merged


def subtract(wanted: Window, present: list[Window]) -> list[Window]:
    """Return the parts of `wanted` that no range of `present` covers, sorted."""
    missing: list[Window] = []
    start = wanted.start
    for window in merge(present):
        if window.start > start and (gap := Window(start, window.start).overlap(wanted)):
            missing.append(gap)
        start = max(start, window.end)
        if start >= wanted.end:
            return missing
    missing.append(Window(start, wanted.end))
    return missing


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%d}" if (time - EPOCH) % timedelta(days=1) == timedelta(0) else f"{time:%Y%m%dT%H%M}"


def _readable(time: datetime) -> str:
    return f"{time:%Y-%m-%d}" if (time - EPOCH) % timedelta(days=1) == timedelta(0) else f"{time:%Y-%m-%d %H:%M}"
