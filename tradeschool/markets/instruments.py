"""Markets, instruments and datasets."""

from dataclasses import dataclass
from enum import Enum

from tradeschool.markets.timeframes import Timeframe


class Market(Enum):
    """Kind of market; it determines the trading hours (see `tradeschool.markets.calendars`)."""

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
