"""Findings: anomalies in candles that meet the contract, and the severity of each kind.

A finding of severity `refuse` is certainly a data error, so its range is not sealed. A finding of severity `warn` may
be real (an outage, a crash, a single price on a holiday); it is stored in the seal.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tradeschool.errors import InvalidCandles
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window


class Severity(StrEnum):
    """Effect of a finding on its range."""

    REFUSE = "refuse"
    """The range is not sealed."""
    WARN = "warn"
    """The range is sealed and the seal lists the finding."""


class FindingKind(StrEnum):
    """Kind of anomaly."""

    WRONG_STEP = "wrong step"
    """The spacing of the candles is that of another timeframe."""
    WRONG_TIME_ZONE = "wrong time zone"
    """FX weekends do not begin and end at Friday and Sunday 17:00 New York time."""
    PRICE_SCALE = "price scale"
    """A close is a multiple of the previous close: another price scale or instrument."""
    VOLUME_SCALE = "volume scale"
    """A day's median volume is a large multiple of the previous day's: another unit."""
    PRICE_JUMP = "price jump"
    """A candle's high or low is far from the previous close."""
    FLAT_WITHOUT_VOLUME = "flat without volume"
    """All prices are equal and the volume is 0: a filled gap or a halted market."""
    OUT_OF_SESSION = "out of session"
    """FX candles at times when the market is closed by calendar."""
    SWAPPED_VOLUMES = "swapped volumes"
    """The base and quote volume columns of an imported file were swapped; the base volume was used."""
    UNFINISHED = "unfinished"
    """The last candle of an imported file was unfinished; it was dropped."""

    @property
    def severity(self) -> Severity:
        """Severity of findings of this kind."""
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
    """All anomalies of one kind in one calendar year (UTC) of a range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FindingKind
    start: AwareDatetime
    """Open of the first affected candle."""
    end: AwareDatetime
    """Close of the last affected candle."""
    rows: Annotated[int, Field(gt=0)]
    """Number of affected candles, days or weekends; the message names the unit."""
    message: str
    """Description with the most extreme value."""

    @property
    def severity(self) -> Severity:
        """Effect on the range."""
        return self.kind.severity


def refuse(dataset: Dataset, findings: Iterable[Finding], advice: str) -> None:
    """Raise an error if any finding has severity `refuse`.

    Raises:
        InvalidCandles: with the first such finding, the number of further ones, and the advice.
    """
    refusing = [finding for finding in findings if finding.severity is Severity.REFUSE]
    if refusing:
        first, more = refusing[0], f" (and {len(refusing) - 1} more)" if len(refusing) > 1 else ""
        raise InvalidCandles(
            f"{dataset}: {first.kind} in {Window(first.start, first.end)}: {first.message}{more}; {advice}"
        )
