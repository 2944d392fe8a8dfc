"""Product lists: requests a provider's list of instruments and stores it in `instruments.json`.

A list is requested when it is missing, or when it is older than `REFRESH_AFTER` and does not contain a name. A provider
that does not respond costs one attempt; the stored list stays in use.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fetcher.http.client import Client
from fetcher.http.request_statistics import Traffic
from fetcher.protocol.provider import Access
from fetcher.provider_registry import find
from tradeschool.errors import ProviderError, ServiceUnreachable, SettingsError
from tradeschool.markets.instrument_file import read, store_list

log = logging.getLogger(__name__)

REFRESH_AFTER = timedelta(hours=1)
"""Age from which a list is requested again for a name that it does not contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRefresh:
    """Result of a request for one product list."""

    provider: str
    instruments: int
    """Number of instruments in the list now."""
    is_fresh: bool
    """Whether the list was replaced."""
    error: str = ""
    """Reason why the provider's list could not be read, empty if it could."""
    requests: int = 0
    """HTTP requests that were sent, retries included."""

    def line(self) -> str:
        """Return one line for the user, about a failed request."""
        rest = f"using the stored list of {self.instruments:,} instruments" if self.instruments else "no list is stored"
        return f"{self.provider} did not send its product list ({self.error}); {rest}"


async def refresh_list(
    provider: str, access: Access, folder: Path, now: Callable[[], datetime], account: str | None = None
) -> ListRefresh:
    """Request the product list of a provider, with its rate limit and retries, and store it in a data folder.

    Without a request (OANDA without an account id), or if the request fails and none is stored, the list that is
    shipped with the provider is stored.

    Raises:
        StoreUnwritable: if the file cannot be written.
        ForeignFile: if the existing file cannot be read.
    """
    source = find(provider, access.source)
    request, traffic, error = source.product_list(account), Traffic(), ""
    listed = source.products(None)
    if request is not None:
        try:
            async with Client(source, access, traffic, retry_log_level=logging.INFO) as client:
                listed = await client.products(request)
        except (ServiceUnreachable, ProviderError, SettingsError) as failure:  # the last for a missing token
            error = str(failure)
    stored = read(folder).lists.get(provider)
    is_fresh = bool(listed) and (not error or stored is None)
    if is_fresh:
        store_list(folder, provider, listed, now())
    known = len(listed) if is_fresh else len(stored.instruments) if stored else 0
    log.info(
        "Product list",
        extra={
            "action": "product_list",
            "provider": provider,
            "instruments": known,
            "requests": traffic.requests,
            "reason": error,
        },
    )
    return ListRefresh(provider=provider, instruments=known, is_fresh=is_fresh, error=error, requests=traffic.requests)
