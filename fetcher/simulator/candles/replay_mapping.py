"""Replay mapping: a TOML file of `[[candles]]` entries that assigns files to datasets, see `replay.toml`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_instrument
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe, find_timeframe

DEFAULT_MAPPING = Path(__file__).with_name("replay.toml")


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pair: str
    timeframe: str
    file: str
    aggregate: tuple[str, ...] = ()
    bid_ask_file: str | None = None
    spread_pips: float | None = None


class _Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    candles: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFile:
    """A file and the datasets that are served from it."""

    dataset: Dataset
    file: str
    """File name, relative to the replay folder."""
    aggregate: tuple[Timeframe, ...] = ()
    """Longer timeframes that are aggregated from the file."""
    bid_ask_file: str | None = None
    """Name of a file with bid and ask prices; FX only, `file` then contains mid prices."""
    spread_ticks: int | None = None
    """Ask - bid in ticks; FX only, `file` then contains bid prices."""

    @property
    def served(self) -> tuple[Dataset, ...]:
        """Datasets served from this file, its own dataset first."""
        return self.dataset, *(self.dataset.at(timeframe) for timeframe in self.aggregate)


def read_mapping(path: Path) -> tuple[ReplayFile, ...]:
    """Read the entries of a mapping file, in order.

    Raises:
        SettingsError: if the file cannot be read, an entry is malformed, or two serve the same dataset.
    """
    files = tuple(_replay_file(entry, path) for entry in _entries(path))
    served: set[Dataset] = set()
    for dataset in (dataset for file in files for dataset in file.served):
        if dataset in served:
            raise SettingsError(f"replay mapping {path}: {dataset} is served from two files; remove one")
        served.add(dataset)
    return files


def _entries(path: Path) -> tuple[_Entry, ...]:
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text()), _Mapping).candles
    except OSError as error:
        raise SettingsError(f"replay mapping {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"replay mapping {path} is not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(f"replay mapping {path}: {error}; expected [[candles]] as in {DEFAULT_MAPPING}") from error
    if not entries:
        raise SettingsError(f"replay mapping {path} has no entries; expected [[candles]] as in {DEFAULT_MAPPING}")
    return entries


def _replay_file(entry: _Entry, path: Path) -> ReplayFile:
    where = f"replay mapping {path}: {entry.pair} {entry.timeframe}"
    try:
        dataset = Dataset(instrument=find_instrument(entry.pair), timeframe=find_timeframe(entry.timeframe))
        longer = tuple(find_timeframe(name) for name in entry.aggregate)
    except SettingsError as error:
        raise SettingsError(f"replay mapping {path}: {error}") from error
    for timeframe in longer:
        if timeframe.seconds <= dataset.timeframe.seconds:
            raise SettingsError(f"{where}: aggregate: {timeframe.name} is not longer than {dataset.timeframe.name}")
    _check_quotes(entry, dataset.instrument, where)
    return ReplayFile(
        dataset=dataset,
        file=entry.file,
        aggregate=longer,
        bid_ask_file=entry.bid_ask_file,
        spread_ticks=_spread_ticks(entry.spread_pips, dataset.instrument, where),
    )


def _check_quotes(entry: _Entry, instrument: Instrument, where: str) -> None:
    n_given = (entry.bid_ask_file is not None) + (entry.spread_pips is not None)
    if instrument.has_spread and n_given != 1:
        raise SettingsError(f"{where}: expected one of bid_ask_file and spread_pips, was {n_given}")
    if not instrument.has_spread and n_given:
        raise SettingsError(f"{where}: crypto has no bid and ask here; remove bid_ask_file and spread_pips")


def _spread_ticks(pips: float | None, instrument: Instrument, where: str) -> int | None:
    if pips is None:
        return None
    # A pip is ten ticks, because FX is quoted with one digit more than a pip.
    ticks = round(pips * 10)
    if pips <= 0 or abs(ticks - pips * 10) > 1e-6:
        raise SettingsError(
            f"{where}: spread_pips: expected a positive multiple of 0.1 for {instrument.pair}, was {pips}"
        )
    return ticks
