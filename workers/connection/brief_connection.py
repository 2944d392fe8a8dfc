"""Connections with short time-outs for monitoring."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.connection.redis_client import make_client

RESPONSE_SECONDS = 2.0
"""Time-out of a command."""


def connect_briefly(url: str) -> Redis:
    """A connection with a short time-out and without retries.

    Raises:
        ServiceUnreachable: The URL is invalid.
    """
    try:
        return make_client(
            url,
            socket_connect_timeout=RESPONSE_SECONDS,
            socket_timeout=RESPONSE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except SettingsError as error:
        raise ServiceUnreachable(f"Redis cannot be used: {error}") from error
