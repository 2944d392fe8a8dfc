"""Instruments, timeframes, datasets and time windows, and the catalogue that is downloaded by default.

A candle's time is always its *open* in UTC. A time range is always half-open: [start, end).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from tradeschool.errors import SettingsError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(Enum):
    """Length of one candle; the enum value is in seconds."""

    M5 = 300
    M15 = 900
    H1 = 3600

    @property
    def seconds(self) -> int:
        """Length of one candle in seconds."""
        return self.value

    @property
    def duration(self) -> timedelta:
        """Length of one candle as a timedelta."""
        return timedelta(seconds=self.value)


class Market(Enum):
    """Kind of market; it determines the trading hours (see `tradeschool.sessions`)."""

    CRYPTO = "crypto"
    """Always open."""
    FX = "fx"
    """Open from Sunday 17:00 to Friday 17:00 New York time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A currency pair of one provider; prices are in `quote` per `base`."""

    provider: str
    base: str
    quote: str
    market: Market
    decimals: int
    """Decimal places of the tick, the smallest price step."""

    @property
    def name(self) -> str:
        """Name in file paths and dataset names, such as `BTC-USD`."""
        return f"{self.base}-{self.quote}"

    @property
    def pair(self) -> str:
        """Name as shown to users, such as `BTC/USD`."""
        return f"{self.base}/{self.quote}"

    @property
    def tick(self) -> float:
        """Smallest price step, in quote units."""
        return float(10**-self.decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """All candles of one instrument at one timeframe."""

    instrument: Instrument
    timeframe: Timeframe

    @property
    def name(self) -> str:
        """Name, also the folder below `data_dir`, such as `coinbase/BTC-USD/M5`."""
        return f"{self.instrument.provider}/{self.instrument.name}/{self.timeframe.name}"

    def at(self, timeframe: Timeframe) -> "Dataset":
        """Return the dataset of the same instrument at another timeframe."""
        return Dataset(instrument=self.instrument, timeframe=timeframe)

    def __str__(self) -> str:
        return self.name


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A range of a dataset to download and seal as one unit."""

    dataset: Dataset
    window: Window


BTC_USD = Instrument(provider="coinbase", base="BTC", quote="USD", market=Market.CRYPTO, decimals=2)
ETH_USD = Instrument(provider="coinbase", base="ETH", quote="USD", market=Market.CRYPTO, decimals=2)
EUR_USD = Instrument(provider="oanda", base="EUR", quote="USD", market=Market.FX, decimals=5)
GBP_USD = Instrument(provider="oanda", base="GBP", quote="USD", market=Market.FX, decimals=5)
BTC_USDT = Instrument(provider="binance", base="BTC", quote="USDT", market=Market.CRYPTO, decimals=2)
ETH_USDT = Instrument(provider="binance", base="ETH", quote="USDT", market=Market.CRYPTO, decimals=2)
CURRICULUM_INSTRUMENTS = (BTC_USD, EUR_USD, ETH_USD, GBP_USD)
"""Instruments of the default curriculum in download order: those of the first level come first."""
INSTRUMENTS = (*CURRICULUM_INSTRUMENTS, BTC_USDT, ETH_USDT)
"""All known instruments; those outside the curriculum are downloaded only when named explicitly."""

CURRICULUM_WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
EUR_USD_BULL_WINDOW = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
SEALED_WINDOW = Window(datetime(2024, 4, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))


def default_catalogue(instruments: Iterable[Instrument] = CURRICULUM_INSTRUMENTS) -> tuple[Wanted, ...]:
    """Return the dataset ranges of the curriculum for these instruments: 12 datasets for the default instruments.

    EUR/USD additionally has the first quarter of 2024.
    """
    windows = {EUR_USD: (EUR_USD_BULL_WINDOW, CURRICULUM_WINDOW)}
    return tuple(
        Wanted(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=window)
        for instrument in instruments
        for window in windows.get(instrument, (CURRICULUM_WINDOW,))
        for timeframe in Timeframe
    )


def sealed_catalogue(instruments: Iterable[Instrument] = CURRICULUM_INSTRUMENTS) -> tuple[Wanted, ...]:
    """Return the same datasets over the holdout period, which is stored below a separate root."""
    return tuple(
        Wanted(dataset=Dataset(instrument=instrument, timeframe=timeframe), window=SEALED_WINDOW)
        for instrument in instruments
        for timeframe in Timeframe
    )


def find_instrument(text: str) -> Instrument:
    """Return the instrument named `BTC/USD`, `BTC-USD`, `BTC_USD` or `BTCUSD`; the case is ignored.

    Raises:
        SettingsError: if no such instrument exists.
    """
    wanted = _letters(text)
    for instrument in INSTRUMENTS:
        if wanted == _letters(instrument.name):
            return instrument
    known = ", ".join(instrument.pair for instrument in INSTRUMENTS)
    raise SettingsError(f"unknown pair {text!r}: expected one of {known}")


def find_timeframe(text: str) -> Timeframe:
    """Return the timeframe named `M5`, `M15` or `H1`; the case is ignored.

    Raises:
        SettingsError: if no such timeframe exists.
    """
    try:
        return Timeframe[text.strip().upper()]
    except KeyError:
        known = ", ".join(timeframe.name for timeframe in Timeframe)
        raise SettingsError(f"unknown timeframe {text!r}: expected one of {known}") from None


def find_dataset(name: str) -> Dataset:
    """Return the dataset of a name such as `coinbase/BTC-USD/M5`.

    Raises:
        SettingsError: if the name is malformed or has an unknown part.
    """
    parts = name.split("/")
    if len(parts) != 3:
        raise SettingsError(f"dataset {name!r}: expected provider/PAIR/timeframe, such as coinbase/BTC-USD/M5")
    instrument = find_instrument(parts[1])
    if parts[0] != instrument.provider:
        raise SettingsError(f"dataset {name!r}: {instrument.pair} comes from {instrument.provider!r}, not {parts[0]!r}")
    return Dataset(instrument=instrument, timeframe=find_timeframe(parts[2]))


def parse_timerange(text: str) -> Window:
    """Parse a range such as `20200101-20240101`: whole UTC days, end exclusive.

    Raises:
        SettingsError: if the text is malformed or the range is empty.
    """
    try:
        start, end = (datetime.strptime(part, "%Y%m%d").replace(tzinfo=UTC) for part in text.split("-"))
    except ValueError:
        raise SettingsError(f"time range {text!r}: expected YYYYMMDD-YYYYMMDD, such as 20200101-20240101") from None
    return Window(start, end)


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


def _letters(text: str) -> str:
    return "".join(letter for letter in text.upper() if letter.isalnum())


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%d}" if (time - EPOCH) % timedelta(days=1) == timedelta(0) else f"{time:%Y%m%dT%H%M}"


def _readable(time: datetime) -> str:
    return f"{time:%Y-%m-%d}" if (time - EPOCH) % timedelta(days=1) == timedelta(0) else f"{time:%Y-%m-%d %H:%M}"
