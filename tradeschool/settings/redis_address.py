"""Parses `redis_url`: one server, or the sentinels that know the current primary; refuses clusters with the reason.

Sentinel URLs have the form of the Lettuce client: `redis-sentinel://user:password@host1:26379,host2:26379/0` and
`?sentinelMasterId=NAME`; `rediss-sentinel://` uses TLS for sentinels and servers. User and password are those of the
servers; `sentinelUsername` and `sentinelPassword` are those of the sentinels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from tradeschool.errors import SettingsError
from tradeschool.settings.urls import mask_url

SERVER_SCHEMES = ("redis", "rediss", "unix")
SENTINEL_SCHEMES = ("redis-sentinel", "rediss-sentinel")
CLUSTER_SCHEMES = ("redis-cluster", "rediss-cluster", "redis+cluster", "rediss+cluster")
TLS_SCHEMES = ("rediss", "rediss-sentinel")
SENTINEL_PORT = 26_379
MASTER, SENTINEL_USERNAME, SENTINEL_PASSWORD = "sentinelMasterId", "sentinelUsername", "sentinelPassword"
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
NO_CLUSTER = (
    "a transaction of the queue uses several keys, which a cluster stores on several servers: use one server, or "
    "Sentinel (redis-sentinel://)"
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A parsed `redis_url`."""

    url: str = field(repr=False)
    """URL of the server; empty with sentinels."""
    sentinels: tuple[tuple[str, int], ...] = ()
    """Host and port of each sentinel."""
    master: str = ""
    """Name of the primary that the sentinels monitor."""
    options: Mapping[str, str | int | bool] = field(default_factory=dict, repr=False)
    """Options of a connection to the primary."""
    sentinel_options: Mapping[str, str | int | bool] = field(default_factory=dict, repr=False)
    """Options of a connection to a sentinel."""
    transport: str = ""
    """How the connection is protected, in words."""


def parse_redis_url(url: str) -> RedisAddress:
    """Parse and check a `redis_url`.

    Raises:
        SettingsError: The scheme is unknown, it names a cluster, has an unescaped # or ?, or names no primary.
    """
    where, parts = f"redis_url {mask_url(url)}", urlsplit(url)
    if parts.scheme in CLUSTER_SCHEMES:
        raise SettingsError(f"{where}: clusters are not supported: {NO_CLUSTER}")
    if parts.scheme not in SERVER_SCHEMES + SENTINEL_SCHEMES:
        raise SettingsError(f"{where}: expected redis://, rediss://, unix://, redis-sentinel:// or rediss-sentinel://")
    if parts.fragment or any("=" not in option for option in parts.query.split("&") if option):
        raise SettingsError(f"{where}: the path ends at # or ?: write %23 for #, and %3F for ?")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    transport = _transport(parts, query)
    if parts.scheme in SERVER_SCHEMES:
        if "," in parts.netloc.rpartition("@")[2]:
            raise SettingsError(f"{where}: names several servers; clusters are not supported: {NO_CLUSTER}")
        return RedisAddress(url=url, transport=transport)
    if not query.get(MASTER):
        raise SettingsError(f"{where}: expected ?{MASTER}=NAME, the name under which the sentinels know the primary")
    tls = _tls_options(parts, query)
    return RedisAddress(
        url="",
        sentinels=tuple(_sentinel(each, where) for each in parts.netloc.rpartition("@")[2].split(",")),
        master=query[MASTER],
        options={**tls, **_credentials(parts.username, parts.password), "db": _database(parts.path, where)},
        sentinel_options={**tls, **_credentials(query.get(SENTINEL_USERNAME), query.get(SENTINEL_PASSWORD))},
        transport=transport,
    )


def _sentinel(text: str, where: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SettingsError(f"{where}: expected HOST:PORT of each sentinel, separated by commas, was {text!r}")
    return unquote(host), port or SENTINEL_PORT


def _database(path: str, where: str) -> int:
    text = path.strip("/")
    if text and not text.isdigit():
        raise SettingsError(f"{where}: expected the number of a database after the hosts, was {text!r}")
    return int(text or 0)


def _credentials(username: str | None, password: str | None) -> dict[str, str | int | bool]:
    given = {"username": username, "password": password}
    return {name: unquote(value) for name, value in given.items() if value}


def _tls_options(parts: SplitResult, query: Mapping[str, str]) -> dict[str, str | int | bool]:
    if parts.scheme not in TLS_SCHEMES:
        return {}
    given: dict[str, str | int | bool] = {name: query[name] for name in TLS_OPTIONS if name in query}
    if "ssl_check_hostname" in given:
        given["ssl_check_hostname"] = str(given["ssl_check_hostname"]).lower() not in {"0", "f", "false", "n", "no"}
    return {"ssl": True, **given}


def _transport(parts: SplitResult, query: Mapping[str, str]) -> str:
    if parts.scheme == "unix":
        return "local socket"
    if parts.scheme in TLS_SCHEMES:
        is_checked = query.get("ssl_cert_reqs", "required") == "required"
        return "TLS" if is_checked else "TLS without a check of the server's certificate"
    hosts = [urlsplit(f"//{each}").hostname for each in parts.netloc.rpartition("@")[2].split(",")]
    if all(host in LOOPBACK for host in hosts):
        return "loopback without TLS"
    return "without TLS: the network can read passwords and jobs; use rediss:// or rediss-sentinel://"
