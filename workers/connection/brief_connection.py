"""A connection for looks at a server, which nobody waits for; it needs nothing of a search."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tradeschool.errors import ServiceUnreachable
from tradeschool.settings.urls import mask_url

RESPONSE_SECONDS = 2.0
"""In which a server that is there answers a look."""


def connect_briefly(url: str) -> Redis:
    """A connection for looks: it waits for no more than a moment, and is tried once.

    Raises:
        ServiceUnreachable: where the URL cannot be used.
    """
    try:
        return Redis.from_url(
            url,
            socket_connect_timeout=RESPONSE_SECONDS,
            socket_timeout=RESPONSE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise ServiceUnreachable(f"Redis {mask_url(url)}: cannot be used: {error}: check redis_url") from error
