"""Holdout period of a curriculum: days that no search reads; opened once at the end of a run."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Self

from pydantic import model_validator

from optimizer.level.constraints import StrictModel
from optimizer.level.days import with_days
from tradeschool.markets.catalogue import HOLDOUT_WINDOW, holdout_window
from tradeschool.markets.timerange import settled_day
from tradeschool.markets.windows import Window

SETTLED = "settled"
"""End of a holdout period that lasts to the last settled day; replaced by that day when the curriculum is read."""


class Holdout(StrictModel):
    """The days of a holdout period."""

    start: date = HOLDOUT_WINDOW.start.date()
    end: date = HOLDOUT_WINDOW.end.date()
    """First day after the period."""

    @model_validator(mode="before")
    @classmethod
    def _days(cls, given: object) -> object:
        if not isinstance(given, Mapping) or "timerange" in given or not given:
            return with_days(given)
        if missing := {"start", "end"} - given.keys():
            raise ValueError(f"{' and '.join(sorted(missing))} missing: expected both start and end")
        end = settled_day() if given["end"] == SETTLED else given["end"]
        return with_days({**given, "end": end})

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start {self.start} must come before end {self.end}")
        return self

    @property
    def window(self) -> Window:
        """The days as a time range in UTC."""
        start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (self.start, self.end))
        return Window(start, end)


DEFAULT_HOLDOUT = Holdout()
"""Of a level that no curriculum was read for; a curriculum that sets none has `settled_holdout`."""


def settled_holdout() -> Holdout:
    """Return the default holdout period of a curriculum, which lasts to the last settled day.

    A run records its days when it begins, so it has the same ones whenever it is resumed.
    """
    window = holdout_window()
    return Holdout(start=window.start.date(), end=window.end.date())
