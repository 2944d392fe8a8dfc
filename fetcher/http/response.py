"""HTTP responses of a provider: body, status code and the headers `Retry-After` and `Date`."""

import gzip
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fetcher.http.request_statistics import RequestOutcome
from fetcher.protocol.provider import Provider


class TransientError(Exception):
    """An attempt failed and a retry may succeed; internal to `fetcher.http`."""

    def __init__(self, reason: str, outcome: RequestOutcome, *, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.pause_seconds = pause_seconds
        """Pause that the provider requested (Retry-After), None if it requested none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawResponse:
    """An HTTP response with its body as received and uncompressed."""

    status: int
    retry_after: str | None
    packed: bytes
    """The body as received."""
    body: bytes
    """The uncompressed body."""


def classify(response: RawResponse, provider: Provider, what: str) -> RawResponse:
    """Return a response of status 200.

    Raises:
        TransientError: if the provider is busy or fails.
        ProviderRejected: for any other status.
    """
    if response.status == 200:
        return response
    if response.status in provider.busy or response.status >= 500:
        seconds = _seconds(response.retry_after)
        later = "" if seconds is None else f", retry after {seconds:g} s"
        outcome = RequestOutcome.SERVER_ERROR if response.status >= 500 else RequestOutcome.BUSY
        raise TransientError(f"status {response.status}{later}", outcome, pause_seconds=seconds)
    raise provider.refusal(response.status, response.body, what)


def inflated(packed: bytes) -> bytes:
    """Uncompress a gzip body.

    Raises:
        TransientError: if the body is damaged or cut.
    """
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise TransientError(f"invalid gzip body: {error}", RequestOutcome.UNREADABLE) from error


def _seconds(retry_after: str | None) -> float | None:
    """Parse a Retry-After header in whole seconds; dates are ignored, because no provider sends them."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None


def moment(date: str | None) -> datetime | None:
    """Parse a Date header; None if it is missing or invalid."""
    try:
        return parsedate_to_datetime(date).astimezone(UTC) if date else None
    except ValueError:
        return None
