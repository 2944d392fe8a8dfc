"""Request of an import: what the user says about the files and about the dataset."""

from dataclasses import dataclass

from fetcher.importing.forms.layout import FileFormat, Side
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """Options of an import; None where the files shall say it."""

    dataset: Dataset | None = None
    """Dataset of all files; it replaces provider, pair and timeframe."""
    provider: str | None = None
    pair: str | None = None
    timeframe: Timeframe | None = None
    tick: str | None = None
    """Price step of an instrument that is not known yet; it is defined together with the import."""
    calendar: str | None = None
    """Calendar code of an instrument that is not known yet."""
    kind: str | None = None
    """Market of an instrument that is not known yet, a value of `Market`."""
    form: FileFormat = FileFormat.AUTO
    columns: str | None = None
    """Mapping such as `ts=0,open=1`; it replaces what the form says."""
    time_format: str | None = None
    zone: str | None = None
    """Time zone of times without one."""
    decimal_mark: str | None = None
    side: Side | None = None
    spread_pips: float | None = None
    resample: bool = False
    """Whether files of a shorter timeframe are aggregated to that of the dataset."""
    window: Window | None = None
    """Range to seal; None for the range of the files."""
