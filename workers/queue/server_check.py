"""Whether a Redis is fit for a queue, asked before any work begins; only what an ordinary user may ask."""

from redis import Redis
from redis.exceptions import NoPermissionError

from tradeschool.errors import SettingsError
from tradeschool.settings.urls import mask_url
from workers.connection.server_time import server_now
from workers.queue.trial_queue import connect, translated

SAFE_POLICY = "noeviction"


def connect_to_work(url: str) -> Redis:
    """A connection to a server that a queue can rely on.

    Raises:
        SettingsError: where the server may throw keys away, or its user may not do what a queue needs.
        ServiceUnreachable: where nobody answers there.
    """
    connection = connect(url)
    require_fit(connection, url)
    return connection


def require_fit(connection: Redis, url: str) -> str:
    """What was found; see `connect_to_work`."""
    where = f"Redis {mask_url(url)}"
    with translated(url):
        try:
            server_now(connection)
            memory = connection.info("memory")
        except NoPermissionError as error:
            raise SettingsError(f"{where}: {error}: give the user what deploy/valkey-users.acl gives") from None
    policy, most = memory.get("maxmemory_policy", SAFE_POLICY), int(memory.get("maxmemory", 0))
    if most and policy != SAFE_POLICY:
        raise SettingsError(
            f"{where} may throw jobs and answers away: maxmemory-policy is {policy} with maxmemory {most} bytes: "
            f"set maxmemory-policy {SAFE_POLICY}, or use a server of its own"
        )
    return f"answers; memory {f'limited to {most / 1e6:,.0f} MB' if most else 'without limit'}, nothing is thrown away"
