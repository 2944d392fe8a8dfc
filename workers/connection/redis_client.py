"""Makes the clients of Redis: of one server, or of the primary that the sentinels name."""

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from tradeschool.errors import SettingsError
from tradeschool.settings.redis_address import parse_redis_url
from tradeschool.settings.urls import mask_url

SENTINEL_SECONDS = 2.0
"""Time limit of one sentinel; then the next one is asked."""


def make_client(url: str, **options: Any) -> Redis:
    """A client that connects at its first command; after a failover, to the new primary.

    Raises:
        SettingsError: The URL is invalid, see `parse_redis_url`.
    """
    address = parse_redis_url(url)
    if not address.sentinels:
        try:
            return Redis.from_url(address.url, **options)
        except ValueError as error:
            raise SettingsError(f"redis_url {mask_url(url)}: {error}") from None
    asked = {
        "socket_connect_timeout": SENTINEL_SECONDS,
        "socket_timeout": SENTINEL_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        **address.sentinel_options,
    }
    known = {**options, **address.options}
    sentinel = Sentinel(address.sentinels, sentinel_kwargs=asked, **known)  # type: ignore[no-untyped-call]  # redis-py's
    client: Redis = sentinel.master_for(address.master)  # type: ignore[no-untyped-call]
    return client
