"""Shared rate limiter: several fetchers keep one rate limit by reserving the time of each request in Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis import asyncio as redis
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from fetcher.http.rate_limiter import MARGIN, TokenBucket
from tradeschool.errors import ServiceUnreachable
from tradeschool.settings.redis_address import parse_redis_url
from tradeschool.settings.urls import mask_url

RESERVE = """
local moment = redis.call('TIME')
local now = moment[1] * 1000000 + moment[2]
local stored = redis.call('TYPE', KEYS[1])['ok'] == 'string' and tonumber(redis.call('GET', KEYS[1]))
local due = stored and stored >= now and stored <= now + 3600000000 and stored or now
redis.call('SET', KEYS[1], string.format('%.0f', due + ARGV[1]), 'PX', 60000 + math.ceil((due - now) / 1000))
return due - now
"""
"""Script: reserves the next time slot stored in KEYS[1], advances it by ARGV[1], and returns the wait.

All values are microseconds of the Redis clock. A stored value that is not a number, or more than an hour in the future,
was not written by a fetcher and is ignored.
"""
PAUSE = """
local moment = redis.call('TIME')
local now = moment[1] * 1000000 + moment[2]
local stored = redis.call('TYPE', KEYS[1])['ok'] == 'string' and tonumber(redis.call('GET', KEYS[1]))
local due = now + ARGV[1]
if stored and stored > due and stored <= now + 3600000000 then due = stored end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', 60000 + math.ceil((due - now) / 1000))
return 0
"""
"""Script: sets the next time slot of KEYS[1] to ARGV[1] microseconds from now, unless it is already later."""
KEY = "tradeschool:limit:{}"
RESPONSE_TIMEOUT = 5.0  # seconds


class SharedTokenBucket(TokenBucket):
    """Token bucket shared by all fetchers that use the same Redis server and the same limit name."""

    def __init__(
        self,
        rate: float,
        *,
        url: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(rate, clock=clock, sleep=sleep)
        self._where = url
        self._key = KEY.format(name)
        self._microseconds = round(1_000_000 * (1 + MARGIN) / rate)
        self._redis = _client(url)

    async def acquire(self) -> int:
        """Wait for a local token, then for the time slot that Redis reserves for it.

        Raises:
            ServiceUnreachable: if Redis does not respond, because the shared limit could then be exceeded.
        """
        token = await super().acquire()
        try:
            wait = await self._call(RESERVE, self._microseconds)
        except ServiceUnreachable:
            self.sent(token)
            raise
        if wait > 0:
            await self._sleep(wait / 1_000_000)
        return token

    async def pause(self, seconds: float) -> None:
        """Issue no token for `seconds`, neither here nor in any fetcher that shares the limit.

        Raises:
            ServiceUnreachable: if Redis does not respond.
        """
        await super().pause(seconds)
        await self._call(PAUSE, round(seconds * 1_000_000))

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    async def _call(self, script: str, microseconds: int) -> int:
        try:
            return await cast("Awaitable[int]", self._redis.eval(script, 1, self._key, str(microseconds)))
        except RedisError as error:
            raise ServiceUnreachable(
                f"Redis {mask_url(self._where)}: {error}; fetch.shared_limit requires Redis"
            ) from error


def _client(url: str) -> redis.Redis:
    """Return a client of the server, or of the primary that the sentinels name."""
    address = parse_redis_url(url)
    limits: dict[str, Any] = {"socket_timeout": RESPONSE_TIMEOUT, "socket_connect_timeout": RESPONSE_TIMEOUT}
    if not address.sentinels:
        return redis.Redis.from_url(address.url, **limits)
    asked = {**limits, **address.sentinel_options}
    sentinel = Sentinel(address.sentinels, sentinel_kwargs=asked, **limits, **address.options)  # type: ignore[no-untyped-call]
    client: redis.Redis = sentinel.master_for(address.master)
    return client
