"""Markets, instruments and datasets."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from tradeschool.markets.timeframes import Timeframe

WIDE_DECIMALS = 6
"""Decimal places from which prices in ticks are stored as 64-bit integers."""


class Market(Enum):
    """Kind of market; it determines the usual trading calendar and whether candles have a half-spread."""

    CRYPTO = "crypto"
    """Always open."""
    FX = "fx"
    """Open from Sunday 17:00 to Friday 17:00 New York time."""
    METAL = "metal"
    """FX hours with a break from 17:00 to 18:00 New York time every day."""
    INDEX = "index"
    COMMODITY = "commodity"
    BOND = "bond"
    STOCK = "stock"

    @property
    def calendar(self) -> str:
        """Code of the usual trading calendar."""
        return {Market.CRYPTO: "24/7", Market.FX: "fx", Market.STOCK: "24/7"}.get(self, "fx-breaks")

    @property
    def has_spread(self) -> bool:
        """Whether the usual provider of this market quotes bid and ask, so that candles have a half-spread."""
        return self not in (Market.CRYPTO, Market.STOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A tradable instrument of one provider; prices are in `quote` per `base`.

    Two values are equal if provider, base and quote are: the tick and the status of an instrument change over time.
    """

    provider: str
    base: str
    quote: str
    market: Market = field(compare=False)
    decimals: int = field(compare=False)
    """Decimal places of prices: the engine counts in whole steps of 10^-decimals."""
    tick_size: Decimal | None = field(default=None, compare=False)
    """Smallest price step of the provider, None for 10^-decimals; it may be a multiple of it, such as 0.25."""
    calendar_code: str = field(default="", compare=False)
    """Code of the trading calendar, empty for the market's."""
    symbol: str = field(default="", compare=False)
    """Name in the provider's API, empty for the one that follows from base and quote."""
    status: str = field(default="online", compare=False)
    """Status in the provider's product list."""
    spread: bool | None = field(default=None, compare=False)
    """Whether candles have a half-spread, None for the market's rule."""
    has_finer_history: bool = field(default=False, compare=False)
    """Whether older candles may have more decimal places than `decimals`, because the provider changed its tick."""

    @property
    def name(self) -> str:
        """Name in file paths and dataset names, such as `BTC-USD`."""
        return f"{self.base}-{self.quote}"

    @property
    def pair(self) -> str:
        """Name as shown to users, such as `BTC/USD`."""
        return f"{self.base}/{self.quote}"

    @property
    def full_name(self) -> str:
        """Name that is unique among all providers, such as `coinbase:BTC/USD`."""
        return f"{self.provider}:{self.pair}"

    @property
    def tick(self) -> float:
        """Price step of the engine, in quote units."""
        return float(10**-self.decimals)

    @property
    def exact_tick(self) -> Decimal:
        """Smallest price step of the provider."""
        return self.tick_size if self.tick_size is not None else Decimal(1).scaleb(-self.decimals)

    @property
    def calendar(self) -> str:
        """Code of the trading calendar, see `tradeschool.markets.calendars`."""
        return self.calendar_code or self.market.calendar

    @property
    def has_spread(self) -> bool:
        """Whether candles have a half-spread."""
        return self.market.has_spread if self.spread is None else self.spread

    @property
    def integer_bits(self) -> int:
        """Width of a price in ticks: 32 or 64 bits."""
        return 64 if self.decimals >= WIDE_DECIMALS else 32


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
