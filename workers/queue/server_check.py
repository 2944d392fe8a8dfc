"""Checks that a Redis server is suitable for the queue; uses commands of an ordinary user only."""

from collections.abc import Mapping

from redis import Redis
from redis.exceptions import NoPermissionError

from tradeschool.errors import SettingsError
from tradeschool.settings.redis_address import MASTER, NO_CLUSTER, parse_redis_url
from tradeschool.settings.urls import mask_url
from workers.connection.server_time import server_now
from workers.queue.trial_queue import connect, translated

SAFE_POLICY = "noeviction"
OLDEST = "7.0"
"""Oldest release of Redis that is supported; Valkey reports the release of Redis that it is compatible with."""


def connect_to_work(url: str) -> Redis:
    """Connect and check the server.

    Raises:
        SettingsError: The server may evict keys, is a cluster, a sentinel or too old, or its user lacks permissions.
        ServiceUnreachable: The server does not answer.
    """
    connection = connect(url)
    require_fit(connection, url)
    return connection


def require_fit(connection: Redis, url: str) -> str:
    """Check a server and return a description of it; raises like `connect_to_work`."""
    where = f"Redis {mask_url(url)}"
    with translated(url):
        try:
            server_now(connection)
            found = connection.info()
        except NoPermissionError as error:
            raise SettingsError(f"{where}: {error}: grant the permissions of deploy/valkey-users.acl") from None
    _require_kind(found, where)
    policy, most = found.get("maxmemory_policy", SAFE_POLICY), int(found.get("maxmemory", 0))
    if most and policy != SAFE_POLICY:
        raise SettingsError(
            f"{where} may evict jobs and results: maxmemory-policy is {policy} with maxmemory {most} bytes: "
            f"set maxmemory-policy {SAFE_POLICY}, or use a dedicated server"
        )
    memory = f"limited to {most / 1e6:,.0f} MB" if most else "without limit"
    return f"answers; {parse_redis_url(url).transport}; memory {memory}, no eviction"


def _require_kind(found: Mapping[str, object], where: str) -> None:
    """Check that the server is one server of a supported release."""
    if str(found.get("redis_mode")) == "sentinel":
        raise SettingsError(f"{where} is a sentinel: write redis-sentinel://HOST:PORT/0?{MASTER}=NAME")
    if str(found.get("cluster_enabled", 0)) == "1":
        raise SettingsError(f"{where} is a server of a cluster; clusters are not supported: {NO_CLUSTER}")
    release = str(found.get("redis_version", OLDEST))
    if int(release.partition(".")[0]) < int(OLDEST.partition(".")[0]):
        raise SettingsError(f"{where} has version {release}: expected Valkey, or Redis {OLDEST} or later")
