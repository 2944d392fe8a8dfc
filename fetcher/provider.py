"""What the fetcher knows of a source of candles, and nothing of any one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from fetcher import providers
from tradeschool.candles import Candles
from tradeschool.errors import ProviderRejected, SettingsError
from tradeschool.folder import entries
from tradeschool.market import Dataset, Window


class PageTooLarge(ProviderRejected):
    """The provider holds the page for too long a range: ask for its halves instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One question: the candles of a dataset in a window that lies on its grid."""

    dataset: Dataset
    window: Window

    def __str__(self) -> str:
        return f"{self.dataset} {self.window}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question in a provider's own words."""

    path: str
    """Below the provider's URL, with a leading slash."""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a provider: what differs between users, not between providers."""

    url: str
    rate: float
    """Requests a second, all attempts counted."""
    source: str | None = None
    """Which of the provider's APIs is asked; None is its usual one."""
    token: str | None = field(default=None, repr=False)
    shared_limit_url: str | None = field(default=None, repr=False)
    """Redis through which all fetchers of this provider keep one limit; None if this one is alone."""
    total_timeout_seconds: float = 60.0
    """Of one attempt."""
    patience_seconds: float = 300.0
    """How long a provider that does not answer is asked again before the run gives up."""


class Provider(Protocol):
    """All that differs between sources of candles; one file each, found in `fetcher/providers/`."""

    name: str
    """As in a dataset's name."""
    source: str
    """Which of a provider's APIs this is; each one has a file, the usual one in the file of the provider's name."""
    url: str
    """Where it is when the settings say nothing."""
    rate: float
    """Requests a second when the settings say nothing."""
    needs_token: bool
    """Whether it answers to nobody without one; any other is never sent one."""
    busy: frozenset[int]
    """Statuses below 500 that mean "ask again later"."""
    slots_per_page: int
    """The longest range that one request may ask for, in candles."""
    connections: int
    """How many connections may be open at once."""

    def headers(self, token: str | None) -> Mapping[str, str]:
        """What every request carries.

        Raises:
            SettingsError: if the provider needs a token and there is none.
        """

    def probe(self, dataset: Dataset) -> Request:
        """A cheap question that fails for a wrong host, token or instrument."""

    def request(self, page: Page) -> Request:
        """The question that asks for a page."""

    def parse(self, body: bytes, page: Page) -> Candles:
        """The settled candles of an answer, in order; those outside the page are left out.

        Raises:
            ProviderUnusable: if the body is not an answer to this page.
            InvalidCandles: if its candles break the contract.
        """

    def refusal(self, status: int, body: bytes, page: str) -> ProviderRejected:
        """The error of a 4xx answer, with the provider's own words in it."""


@cache
def load() -> dict[str, Provider]:
    """Every provider, by the name of its file."""
    return entries(providers, "PROVIDER")


def find(name: str, source: str | None = None) -> Provider:
    """The provider of that name, or that one of its APIs.

    Raises:
        SettingsError: if there is none.
    """
    sources = {each.source: each for each in load().values() if each.name == name}
    if not sources:
        known = ", ".join(sorted({each.name for each in load().values()}))
        raise SettingsError(f"unknown provider {name!r}: expected one of {known}")
    if source is None:
        return load()[name]
    if source not in sources:
        raise SettingsError(f"unknown source {source!r} of {name}: expected one of {', '.join(sources)}")
    return sources[source]
