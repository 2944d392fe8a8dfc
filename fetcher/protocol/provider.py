"""The provider protocol: pages, requests, access and errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tradeschool.errors import ProviderRejected
from tradeschool.markets.instruments import Dataset, Instrument
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.frame import Candles


class PageTooLarge(ProviderRejected):
    """The provider rejects the page because its range is too long; the client requests its halves instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The candles of a dataset in a window on its grid, requested at once."""

    dataset: Dataset
    window: Window

    def __str__(self) -> str:
        return f"{self.dataset} {self.window}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """HTTP GET request of a provider's API."""

    path: str
    """Path below the provider's base URL, with a leading slash."""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Connection parameters of a provider, taken from the user's settings."""

    url: str
    rate: float
    """Maximum requests per second, retries included."""
    source: str | None = None
    """API of the provider, None for the default one."""
    token: str | None = field(default=None, repr=False)
    shared_limit_url: str | None = field(default=None, repr=False)
    """Redis URL for a rate limit shared by several fetchers, None for a limit of this process."""
    total_timeout_seconds: float = 60.0
    """Time limit of one attempt."""
    patience_seconds: float = 300.0
    """Time for which an unresponsive provider is retried before the run fails."""


class Provider(Protocol):
    """Source of candles; each implementation is the constant `PROVIDER` of a module in `fetcher/providers/`."""

    name: str
    """Name of the provider, the first part of its dataset names."""
    source: str
    """Name of the API; each API has a module, the default one that of the provider's name."""
    url: str
    """Default base URL."""
    rate: float
    """Default maximum requests per second."""
    needs_token: bool
    """Whether requests require a token; other providers never receive one."""
    busy: frozenset[int]
    """HTTP statuses below 500 that mean "retry later"."""
    timeframes: frozenset[Timeframe]
    """Timeframes that the API has; the others are derived."""
    slots_per_page: int
    """Maximum number of candles per request."""
    connections: int
    """Maximum number of concurrent connections."""

    def headers(self, token: str | None) -> Mapping[str, str]:
        """Return the headers of every request.

        Raises:
            SettingsError: if the provider needs a token and none is given.
        """

    def probe(self, dataset: Dataset) -> Request:
        """Return a cheap request that fails for a wrong host, token or instrument."""

    def product_list(self, account: str | None) -> Request | None:
        """Return the request for the list of all instruments, None if it needs an account and none is given."""

    def products(self, body: bytes | None) -> tuple[Instrument, ...]:
        """Parse the response to that request; None returns the list that is shipped with the provider, if any.

        Products that are not spot pairs, or whose names cannot be part of a file path, are dropped.

        Raises:
            ProviderUnusable: if the body is not a product list.
        """

    def request(self, page: Page) -> Request:
        """Return the request for a page."""

    def parse(self, body: bytes, page: Page) -> Candles:
        """Parse a response into its finished candles, in order; candles outside the page are dropped.

        Raises:
            ProviderUnusable: if the body is not a response to this page.
            InvalidCandles: if the candles violate the contract.
        """

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """Return the error for a 4xx response, including the provider's message."""
