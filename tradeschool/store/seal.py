"""Seal: the metadata file that marks a range of a dataset as complete. It is written last.

It accounts for every expected candle of the range: each is either stored or listed as a gap with a reason.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tradeschool.atomic_files import publish_text, sha256_of
from tradeschool.errors import ForeignFile, SettingsError, first_line
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.findings import Finding

FETCHED = "fetched"
"""Source of candles that were downloaded from their provider, or derived from downloaded candles."""
IMPORTED = "imported:"
"""Prefix of the source of imported candles; the name of the file follows."""
SEAL_SUFFIX = ".seal.json"


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GapReason(StrEnum):
    """Reason why expected candles are missing."""

    CONFIRMED_EMPTY = "confirmed empty"
    """The provider repeatedly returned no candle."""
    SOURCE_GAP = "gap in the source"
    """The candles from which this dataset is derived are missing."""
    NOT_IN_FILE = "not in the imported file"
    """The imported file does not contain the candles."""


class Gap(_StrictModel):
    """A run of consecutive expected candles that are missing."""

    start: AwareDatetime
    """Open of the first missing candle."""
    end: AwareDatetime
    """Close of the last missing candle."""
    slots: Annotated[int, Field(gt=0)]
    """Number of missing candles; times at which the market is closed do not count."""
    reason: GapReason


class PartFile(_StrictModel):
    """One parquet file of a seal: one calendar year (UTC) of its range."""

    path: Annotated[str, Field(pattern=r"^year=[0-9]{4}/[^/]+\.parquet$")]
    """Path relative to the seal's folder, such as `year=2020/20200101-20240101.parquet`."""
    rows: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Seal(_StrictModel):
    """Content of a sealed range of a dataset."""

    version: Literal[1] = 1
    dataset: str
    start: AwareDatetime
    end: AwareDatetime
    rows: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)]
    """Number of candles that the trading calendar expects in the range."""
    gaps: tuple[Gap, ...]
    derived: bool
    """Whether the candles were aggregated from a shorter timeframe of the same instrument."""
    source: Annotated[str, Field(pattern=r"^(fetched$|imported:.)")] = FETCHED
    """`fetched`, or `imported:` followed by the name of the imported file."""
    files: tuple[PartFile, ...]
    findings: tuple[Finding, ...] = ()
    """Findings of severity `warn`."""
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
        """The sealed range."""
        return Window(self.start, self.end)

    def files_of(self, piece: Window) -> list[tuple[PartFile, Window]]:
        """Return the files of a part of the range, each with the days to read from it."""
        by_year = {int(file.path.split("/")[0].removeprefix("year=")): file for file in self.files}
        return [(by_year[year], days) for year, days in piece.years() if year in by_year]

    @property
    def is_imported(self) -> bool:
        """Whether the candles were imported from a file, so that they cannot be downloaded again."""
        return self.source.startswith(IMPORTED)

    @property
    def missing(self) -> int:
        """Number of expected candles that are missing."""
        return sum(gap.slots for gap in self.gaps)

    @property
    def unaccounted(self) -> tuple[Gap, ...]:
        """Gaps for which nobody has told that there was no trade: those of an imported file."""
        return tuple(gap for gap in self.gaps if self.is_imported or gap.reason is GapReason.NOT_IN_FILE)

    @property
    def coverage(self) -> float:
        """Fraction of the expected candles that is accounted for: stored, or confirmed not to exist."""
        return 1.0 - sum(gap.slots for gap in self.unaccounted) / self.expected if self.expected else 1.0

    @property
    def density(self) -> float:
        """Fraction of the expected candles that is stored: slots in which the market traded."""
        return 1.0 - self.missing / self.expected if self.expected else 1.0

    def has_candles_of(self, other: "Seal") -> bool:
        """Whether both seals list the same files, gaps and range; time and source may differ."""
        mine, theirs = (
            (each.dataset, each.window, each.gaps, [(file.path, file.sha256) for file in each.files])
            for each in (self, other)
        )
        return mine == theirs


def check_digest(folder: Path, file: PartFile, fetched_by: str) -> None:
    """Check a file of a seal in the folder of its dataset; `fetched_by`: command that downloads it again.

    Raises:
        ForeignFile: if the file is missing, unreadable or changed.
    """
    path = folder / file.path
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ForeignFile(
            f"{path}: {error.strerror}, but its seal lists it; run {fetched_by} to download it again"
        ) from error
    if found != file.sha256:
        raise ForeignFile(
            f"{path}: changed since it was sealed (sha256 {found[:12]}..., expected {file.sha256[:12]}...); "
            f"run {fetched_by} to download it again"
        )


def slots_in(times: NDArray[np.int64], gaps: Iterable[Gap]) -> NDArray[np.bool_]:
    """Return a mask of the times, ascending Unix seconds, that lie in a gap; shape (n_times,)."""
    bounds = [(int(gap.start.timestamp()), int(gap.end.timestamp())) for gap in gaps]
    begun_and_ended = np.zeros(len(times) + 1, dtype=np.int64)
    for sign, moments in ((1, [start for start, _ in bounds]), (-1, [end for _, end in bounds])):
        np.add.at(begun_and_ended, np.searchsorted(times, np.array(moments, dtype=np.int64)), sign)
    inside: NDArray[np.bool_] = np.cumsum(begun_and_ended)[:-1] > 0
    return inside


def seal_path(folder: Path, window: Window) -> Path:
    """Return the file of a range's seal in the folder of its dataset."""
    return folder / f"{window.name}{SEAL_SUFFIX}"


def seal_paths(folder: Path) -> list[Path]:
    """Return all seal files in the folder of a dataset."""
    return sorted(folder.glob(f"*{SEAL_SUFFIX}"))


def write_seal(root: Path, folder: Path, seal: Seal) -> None:
    """Write a seal to the folder of its dataset, which lies below the root of the store; its files must exist.

    Raises:
        StoreUnwritable: if the seal cannot be written.
    """
    publish_text(root, seal_path(folder, seal.window), seal_text(seal))


def seal_text(seal: Seal) -> str:
    """Return the content of a seal's file."""
    return seal.model_dump_json(indent=1) + "\n"


def read_seals(folder: Path, dataset: Dataset) -> list[Seal]:
    """Return all seals in the folder of a dataset in time order.

    Raises:
        ForeignFile: if a seal cannot be read or belongs to another dataset.
    """
    found = [read_seal(path, dataset) for path in seal_paths(folder)]
    return sorted(found, key=lambda seal: (seal.start, seal.end))


def read_seal(path: Path, dataset: Dataset) -> Seal:
    """Read a seal.

    Raises:
        ForeignFile: if the file cannot be read or belongs to another dataset.
    """
    try:
        seal = Seal.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ForeignFile(
            f"{path}: not a seal of this version ({first_line(error)}); run: tradeschool data repair {dataset}"
        ) from error
    if seal.dataset != dataset.name:
        raise ForeignFile(f"{path}: seal of {seal.dataset}, expected {dataset}; move the file back or remove it")
    return seal


def is_readable(path: Path, dataset: Dataset) -> bool:
    """Whether a file is a readable seal of the dataset."""
    try:
        read_seal(path, dataset)
    except ForeignFile:
        return False
    return True
