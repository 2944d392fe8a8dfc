"""Status of a download as a fetcher publishes it."""

from tradeschool.store.download_status import Durations, ProviderState

SPREAD = Durations(bounds_seconds=(0.1, 1.0), counts=(3, 2, 1), seconds=4.5)


def provider_state(**changes: object) -> ProviderState:
    """Coinbase at 3 requests per second, with changed fields."""
    defaults = {
        "provider": "coinbase",
        "limit_per_second": 3,
        "requests": 6,
        "retries": 0,
        "requests_per_second": 1,
        "waiting_for_token": 0,
        "waiting_for_network": 0,
        "paused_seconds": 0,
        "eta_seconds": 120,
        "outcomes": {},
        "token_seconds": SPREAD,
        "response_seconds": SPREAD,
    }
    return ProviderState(**(defaults | changes))  # type: ignore[arg-type]
