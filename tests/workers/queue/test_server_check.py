"""Server check: a server that evicts keys is refused before the start; one that only refuses writes is accepted."""

from collections.abc import Iterator

import pytest
from redis import Redis

from tradeschool.errors import ServiceUnreachable, SettingsError
from workers.queue.server_check import connect_to_work

EVICTING = [f"{which}-{how}" for which in ("allkeys", "volatile") for how in ("lru", "lfu", "random")] + [
    "volatile-ttl"
]


@pytest.fixture
def operator(url: str) -> Iterator[Redis]:
    """Changes settings of the shared server and restores them."""
    with Redis.from_url(url) as connection:
        yield connection
        for name, value in (("maxmemory", "0"), ("maxmemory-policy", "noeviction")):
            connection.config_set(name, value)
        connection.execute_command("ACL", "DELUSER", "narrow")


@pytest.mark.parametrize("policy", EVICTING)
def test_a_server_with_eviction_is_refused(operator: Redis, url: str, policy: str) -> None:
    operator.config_set("maxmemory-policy", policy)
    operator.config_set("maxmemory", "1000000000")

    with pytest.raises(SettingsError, match=f"maxmemory-policy is {policy} .*: set maxmemory-policy noeviction"):
        connect_to_work(url)


@pytest.mark.parametrize(("policy", "most"), [("noeviction", "1000000000"), ("allkeys-lru", "0")])
def test_a_server_without_eviction_is_accepted(operator: Redis, url: str, policy: str, most: str) -> None:
    operator.config_set("maxmemory-policy", policy)
    operator.config_set("maxmemory", most)

    with connect_to_work(url) as connection:
        assert connection.ping()


def test_a_user_without_the_time_command_gets_advice(operator: Redis, url: str) -> None:
    operator.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "-time")
    named = f"{url}{'&' if '?' in url else '?'}username=narrow&password=pw"

    with pytest.raises(SettingsError, match=r"'time' command.*deploy/valkey-users.acl"):
        connect_to_work(named)


def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(ServiceUnreachable, match="is it running"):
        connect_to_work("redis://127.0.0.1:1/0")
