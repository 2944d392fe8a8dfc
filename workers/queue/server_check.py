"""Checks that a Redis server is suitable for the queue; uses commands of an ordinary user only."""

from redis import Redis
from redis.exceptions import NoPermissionError

from tradeschool.errors import SettingsError
from tradeschool.settings.urls import mask_url
from workers.connection.server_time import server_now
from workers.queue.trial_queue import connect, translated

SAFE_POLICY = "noeviction"


def connect_to_work(url: str) -> Redis:
    """Connect and check the server.

    Raises:
        SettingsError: The server may evict keys, or its user lacks permissions.
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
            memory = connection.info("memory")
        except NoPermissionError as error:
            raise SettingsError(f"{where}: {error}: grant the permissions of deploy/valkey-users.acl") from None
    policy, most = memory.get("maxmemory_policy", SAFE_POLICY), int(memory.get("maxmemory", 0))
    if most and policy != SAFE_POLICY:
        raise SettingsError(
            f"{where} may evict jobs and results: maxmemory-policy is {policy} with maxmemory {most} bytes: "
            f"set maxmemory-policy {SAFE_POLICY}, or use a dedicated server"
        )
    return f"answers; memory {f'limited to {most / 1e6:,.0f} MB' if most else 'without limit'}, no eviction"
