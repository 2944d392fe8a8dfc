"""What can be odd about candles that meet the contract, and what that does to their range.

A finding that refuses keeps a range from being sealed, because what it means is certain and no backtest over it
means anything. One that warns may be honest (an outage, a crash, a holiday's stray price) and is stored in the seal.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tradeschool.errors import InvalidCandles
from tradeschool.market import Dataset, Window


class Severity(StrEnum):
    """What a finding does to a range."""

    REFUSE = "refuse"
    """It is not sealed."""
    WARN = "warn"
    """It is sealed, and the seal tells of it."""


class FindingKind(StrEnum):
    """What can be odd about candles."""

    WRONG_STEP = "wrong step"
    """They lie as far apart as those of another timeframe."""
    WRONG_TIME_ZONE = "wrong time zone"
    """FX weekends begin and end hours away from Friday and Sunday 17:00 New York time."""
    PRICE_SCALE = "price scale"
    """A close is a multiple of the one before: another scale or instrument."""
    VOLUME_SCALE = "volume scale"
    """A day's volume is a large multiple of its neighbour's: another unit."""
    PRICE_JUMP = "price jump"
    """A candle reaches far from the close before."""
    FLAT_WITHOUT_VOLUME = "flat without volume"
    """One price and no volume: filled in by somebody, or a halted market."""
    OUT_OF_SESSION = "out of session"
    """FX candles at a time at which the calendar says that the market is closed."""
    SWAPPED_VOLUMES = "swapped volumes"
    """An imported file's columns of base and quote volume were swapped; the right one was taken."""
    UNFINISHED = "unfinished"
    """The last candle of an imported file was still in progress; it was left out."""

    @property
    def severity(self) -> Severity:
        """What a finding of this kind does."""
        return SEVERITIES[self]


SEVERITIES = {
    FindingKind.WRONG_STEP: Severity.REFUSE,
    FindingKind.WRONG_TIME_ZONE: Severity.REFUSE,
    FindingKind.PRICE_SCALE: Severity.REFUSE,
    FindingKind.VOLUME_SCALE: Severity.REFUSE,
    FindingKind.PRICE_JUMP: Severity.WARN,
    FindingKind.FLAT_WITHOUT_VOLUME: Severity.WARN,
    FindingKind.OUT_OF_SESSION: Severity.WARN,
    FindingKind.SWAPPED_VOLUMES: Severity.WARN,
    FindingKind.UNFINISHED: Severity.WARN,
}


class Finding(BaseModel):
    """All of one kind in one calendar year (UTC) of a range."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: FindingKind
    start: AwareDatetime
    """Open of the first candle that shows it."""
    end: AwareDatetime
    """Where the last one closes."""
    rows: Annotated[int, Field(gt=0)]
    """How many places show it: candles, days or weekends, as the message says."""
    message: str
    """With the worst value and its bound."""

    @property
    def severity(self) -> Severity:
        """What it does to its range."""
        return self.kind.severity


def refuse(dataset: Dataset, findings: Iterable[Finding], advice: str) -> None:
    """Go on only where nothing refuses.

    Raises:
        InvalidCandles: the first finding that refuses, how many more there are, and the advice.
    """
    refusing = [finding for finding in findings if finding.severity is Severity.REFUSE]
    if refusing:
        first, more = refusing[0], f" (and {len(refusing) - 1} more)" if len(refusing) > 1 else ""
        raise InvalidCandles(
            f"{dataset}: {first.kind} in {Window(first.start, first.end)}: {first.message}{more}; {advice}"
        )
