"""A seal: the file that says that a range of a dataset is complete, written last.

It accounts for every candle that the range should hold: stored, or listed as a gap with its reason.
"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tradeschool.errors import ForeignFile, SettingsError
from tradeschool.findings import Finding
from tradeschool.market import Dataset, Window

FETCHED = "fetched"
"""Source of candles that were asked of their provider, or derived from such."""
IMPORTED = "imported:"
"""Before the name of the file that candles came from."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GapReason(StrEnum):
    """Why candles that the calendar expects are not there."""

    CONFIRMED_EMPTY = "confirmed empty"
    """The provider said so again when it was asked again."""
    SOURCE_GAP = "gap in the source"
    """The candles that this dataset is derived from are not there."""
    NOT_IN_FILE = "not in the imported file"
    """The file that the range was imported from does not hold them."""


class Gap(_Strict):
    """Neighbouring candles that are expected but not there."""

    start: AwareDatetime
    """Open of the first one."""
    end: AwareDatetime
    """Where the last one would have closed."""
    slots: Annotated[int, Field(gt=0)]
    """How many candles: fewer than the time between start and end where the market closes in it."""
    reason: GapReason


class PartFile(_Strict):
    """One parquet file of a seal: one calendar year (UTC) of its range."""

    path: Annotated[str, Field(pattern=r"^year=[0-9]{4}/[^/]+\.parquet$")]
    """Relative to the seal's folder, such as `year=2020/20200101-20240101.parquet`."""
    rows: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Seal(_Strict):
    """What a sealed range of a dataset holds."""

    version: Literal[1] = 1
    dataset: str
    start: AwareDatetime
    end: AwareDatetime
    rows: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)]
    """Candles that the market's calendar expects in the range."""
    gaps: tuple[Gap, ...]
    derived: bool
    """Built from a shorter timeframe of the same instrument, not asked of the provider."""
    source: Annotated[str, Field(pattern=r"^(fetched$|imported:.)")] = FETCHED
    """`fetched`, or `imported:` and the name of the file that the candles came from."""
    files: tuple[PartFile, ...]
    findings: tuple[Finding, ...] = ()
    """What is odd about the candles, but did not keep them from being sealed."""
    sealed_at: datetime

    @model_validator(mode="after")
    def _has_a_window(self) -> Self:
        try:
            Window(self.start, self.end)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def window(self) -> Window:
        """The range that is sealed."""
        return Window(self.start, self.end)

    @property
    def is_imported(self) -> bool:
        """Whether the candles came from a file, so that no provider can mend them."""
        return self.source.startswith(IMPORTED)

    @property
    def missing(self) -> int:
        """How many expected candles are not there."""
        return sum(gap.slots for gap in self.gaps)

    @property
    def coverage(self) -> float:
        """Share of the expected candles that is there; 1 where none is expected."""
        return 1.0 - self.missing / self.expected if self.expected else 1.0


def read_seal(path: Path, dataset: Dataset) -> Seal:
    """The seal in a file.

    Raises:
        ForeignFile: where it cannot be read, or speaks of another dataset.
    """
    try:
        seal = Seal.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ForeignFile(
            f"{path}: not a seal that this version reads ({reason}); run: tradeschool data repair {dataset}"
        ) from error
    if seal.dataset != dataset.name:
        raise ForeignFile(f"{path}: seals {seal.dataset}, expected {dataset}; was it moved or copied?")
    return seal


def is_readable(path: Path, dataset: Dataset) -> bool:
    """Whether a file holds a seal of that dataset."""
    try:
        read_seal(path, dataset)
    except ForeignFile:
        return False
    return True
