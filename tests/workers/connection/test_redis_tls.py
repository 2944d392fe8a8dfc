"""Redis over TLS with client certificates and users, through sentinels, and refused clusters."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import ResponseError

from fetcher.http.shared_rate_limiter import SharedTokenBucket
from tests.factories.certificates import Authority
from tests.workers.tls_servers import PASSWORD, TlsServers, free_port, holds_data, tls_servers
from tradeschool.errors import ServiceUnreachable, SettingsError
from tradeschool.settings.model import Settings
from tradeschool.settings.redis_address import parse_redis_url
from tradeschool.settings.services import RedisSettings
from tradeschool.settings.urls import mask_url
from workers.connection.brief_connection import connect_briefly
from workers.connection.redis_client import make_client
from workers.connection.redis_outage import remedy
from workers.monitoring.snapshot import take_snapshot
from workers.queue.server_check import connect_to_work, require_fit


@pytest.fixture(scope="module")
def servers() -> Iterator[TlsServers]:
    with tls_servers() as made:
        yield made


@pytest.fixture(scope="module")
def port(servers: TlsServers) -> int:
    """Port of a server with TLS, client certificates and the users of the ACL file."""
    return servers.start()


@pytest.fixture(scope="module")
def files(servers: TlsServers) -> RedisSettings:
    """The settings of an installation that uses these servers; no secret is in a URL."""
    password = servers.folder / "password"
    password.write_text(f"{PASSWORD}\n")
    return RedisSettings(
        password_file=password,
        ca_file=servers.authority.ca,
        cert_file=servers.client.cert,
        key_file=servers.client.key,
    )


def test_a_search_over_tls_gives_the_same_table(plan, port: int, files: RedisSettings, start_program) -> None:
    url = files.complete(f"rediss://trials@127.0.0.1:{port}/0")
    worker = start_program("worker_process.py", "--url", url)
    with connect_to_work(url) as connection:
        found = require_fit(connection, url)
        table = replace(plan, url=url).table_by_queue()
        waited = asyncio.run(acquire(url))
    worker.terminate()

    assert worker.wait(timeout=60) == 0
    assert table == plan.table_in_process()
    assert found == "answers; TLS; memory without limit, no eviction"
    assert waited >= 0
    assert PASSWORD not in mask_url(url)


async def acquire(url: str) -> int:
    bucket = SharedTokenBucket(100.0, url=url, name="coinbase")
    try:
        return await bucket.acquire()
    finally:
        await bucket.close()


@pytest.mark.parametrize(
    ("missing", "host", "advice"),
    [
        ("ca_file", "127.0.0.1", "set redis.ca_file to the CA of its certificate"),
        ("client", "127.0.0.1", "does it ask for redis.cert_file and redis.key_file?"),
        ("name", "localhost", "redis_url must name the host of its certificate"),
        ("password", "127.0.0.1", "are user and password right?"),
    ],
)
def test_each_wrong_setting_of_tls_is_explained(
    port: int, files: RedisSettings, missing: str, host: str, advice: str
) -> None:
    empty = {"ca_file": ("ca_file",), "client": ("cert_file", "key_file"), "password": ("password_file",), "name": ()}
    given = files.model_copy(update=dict.fromkeys(empty[missing]))

    with pytest.raises(ServiceUnreachable, match=re.escape(advice)) as caught:
        connect_to_work(given.complete(f"rediss://trials@{host}:{port}/0"))

    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_of_another_authority_is_refused(port: int, files: RedisSettings, tmp_path: Path) -> None:
    other = files.model_copy(update={"ca_file": Authority(tmp_path, "another authority").ca})

    with pytest.raises(ServiceUnreachable, match=r"CERTIFICATE_VERIFY_FAILED.*set redis\.ca_file"):
        connect_to_work(other.complete(f"rediss://trials@127.0.0.1:{port}/0"))


def test_a_server_without_tls_is_explained(servers: TlsServers, files: RedisSettings) -> None:
    plain = servers.start(acl=False, tls=False)

    with pytest.raises(ServiceUnreachable, match=r"does it use TLS on this port"):
        connect_to_work(files.complete(f"rediss://127.0.0.1:{plain}/0"))


def test_a_url_without_tls_for_a_server_with_tls_is_explained(port: int) -> None:
    with pytest.raises(ServiceUnreachable, match=r"does it expect TLS \(rediss://\)"):
        connect_to_work(f"redis://127.0.0.1:{port}/0")


def test_a_search_survives_a_failover_of_the_primary(
    plan, servers: TlsServers, files: RedisSettings, start_program, eventually, tmp_path: Path
) -> None:
    """Eight trials can finish before the failover; the others wait until the primary is gone."""
    for ticket in range(8):
        (tmp_path / str(ticket)).touch()
    primary = servers.start("--repl-diskless-sync-delay", "0")
    secret = ("--masteruser", "operator", "--masterauth", "c4nary-operator-password")
    replica = servers.start("--replicaof", "127.0.0.1", str(primary), *secret)
    sentinel = servers.start_sentinel(primary)
    with servers.operator(replica) as looking:
        eventually(lambda: holds_data(looking))
    asked = files.model_copy(update={"sentinel_password_file": files.password_file})
    url = asked.complete(f"rediss-sentinel://trials@127.0.0.1:1,127.0.0.1:{sentinel}/0?sentinelMasterId=trials-primary")
    with make_client(url) as client:
        eventually(lambda: knows_replica(servers, sentinel))
        slow = replace(plan, url=url, title=f"tickets {tmp_path}", trials=24)
        worker = start_program("worker_process.py", "--url", url)
        study = slow.open()
        coordinator = start_program("coordinator_process.py", slow.as_json())
        eventually(lambda: len(study.trials()) >= 6)
        eventually(lambda: fails_over(servers, sentinel, replica))  # as after a loss, but whatever the machine's speed
        servers.kill(primary)
        before = len(study.trials())
        (tmp_path / "all").touch()
        assert coordinator.wait(timeout=300) == 0
        assert client.ping()
        now_at = client.connection_pool.get_master_address()
    worker.terminate()
    worker.wait(timeout=60)
    study.close()

    assert 6 <= before <= 8
    assert now_at == ("127.0.0.1", replica)
    assert slow.table_by_queue() == slow.table_in_process()


def knows_replica(servers: TlsServers, sentinel: int) -> bool:
    with servers.operator(sentinel, user=None, password=PASSWORD) as asked:
        return asked.sentinel_master("trials-primary")["num-slaves"] == 1


def fails_over(servers: TlsServers, sentinel: int, replica: int) -> bool:
    """Tell the sentinel to fail over, until the replica is the primary."""
    with servers.operator(sentinel, user=None, password=PASSWORD) as asked:
        if asked.sentinel_master("trials-primary")["port"] == replica:
            return True
        with suppress(ResponseError):  # the sentinel does not know enough of the replica yet, or is at it
            asked.execute_command("SENTINEL FAILOVER", "trials-primary")
    return False


def test_sentinels_that_do_not_answer_are_explained_without_a_secret(files: RedisSettings) -> None:
    asked = files.model_copy(update={"sentinel_password_file": files.password_file})
    url = asked.complete("rediss-sentinel://trials@127.0.0.1:1/0?sentinelMasterId=m")

    with pytest.raises(ServiceUnreachable, match=r"do the sentinels answer") as caught:
        connect_to_work(url)
    with pytest.raises(RedisAway) as briefly:
        take_snapshot_of(url)

    assert PASSWORD not in f"{caught.value} {briefly.value} {mask_url(url)} {parse_redis_url(url)!r}"


def take_snapshot_of(url: str) -> None:
    from workers.queue.job_allowlist import TrialQueue

    take_snapshot(TrialQueue(connection=connect_briefly(url)))


def test_a_server_of_a_cluster_is_refused(servers: TlsServers) -> None:
    bus = str(free_port())  # the default, 10,000 above the server's port, may be above the highest one
    port = servers.start("--cluster-enabled", "yes", "--cluster-port", bus, acl=False, tls=False)
    with pytest.raises(SettingsError, match=r"is a server of a cluster; clusters are not supported: a transaction"):
        connect_to_work(f"redis://127.0.0.1:{port}/0")
    with Redis(port=port) as connection, pytest.raises(Exception, match=r"(?i)hash slot|cluster") as caught:
        connection.set("rq:queue:trials", 1)

    assert remedy(caught.value) == "clusters are not supported: use one server, or Sentinel"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis-cluster://h:1", "clusters are not supported: a transaction of the queue uses several keys"),
        ("redis://:s3cret@h1:1,h2:2/0", "names several servers; clusters are not supported"),
        ("redis-sentinel://:s3cret@h1:1/0", r"expected \?sentinelMasterId=NAME"),
        ("redis-sentinel://h1:x/0?sentinelMasterId=m", "expected HOST:PORT of each sentinel"),
        ("redis-sentinel://h1/x?sentinelMasterId=m", "expected the number of a database"),
        ("http://h1/", "expected redis://, rediss://, unix://, redis-sentinel:// or rediss-sentinel://"),
        ("redis://h/0#s3cret", "the path ends at # or"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        parse_redis_url(url)

    assert ":s3cret" not in str(caught.value)


def test_a_sentinel_url_is_parsed_whole() -> None:
    url = "redis-sentinel://me:a%2Fb@h1,[::1]:7/3?sentinelMasterId=m&sentinelUsername=s&sentinelPassword=p%26q"
    address = parse_redis_url(url)

    assert (address.sentinels, address.master) == ((("h1", 26379), ("::1", 7)), "m")
    assert address.options == {"username": "me", "password": "a/b", "db": 3}
    assert address.sentinel_options == {"username": "s", "password": "p&q"}


@pytest.mark.parametrize(
    ("url", "transport"),
    [
        ("unix:///tmp/x", "local socket"),
        ("redis://localhost:1/0", "loopback without TLS"),
        ("redis://queue.example:1/0", "without TLS: the network can read passwords and jobs"),
        ("rediss://queue.example:1/0?ssl_cert_reqs=none", "TLS without a check of the server's certificate"),
    ],
)
def test_how_a_connection_is_protected_is_said(url: str, transport: str) -> None:
    assert parse_redis_url(url).transport.startswith(transport)


def test_what_the_url_says_has_precedence_and_children_complete_it_again(files: RedisSettings) -> None:
    once = files.complete("rediss://trials@h:1/0?ssl_ca_certs=mine.pem")

    assert once.startswith(f"rediss://trials:{PASSWORD}@h:1/0?ssl_ca_certs=mine.pem&ssl_certfile=")
    assert files.complete(once) == once
    assert (
        RedisSettings(password_file=files.password_file).complete("unix:///a/b") == f"unix:///a/b?password={PASSWORD}"
    )


@pytest.mark.parametrize(
    ("url", "change", "reason"),
    [
        ("redis://h/0", {}, r"redis\.ca_file needs TLS, but redis_url is redis://h/0"),
        ("rediss://h/0", {"key_file": None}, "belong together"),
        ("rediss://h/0", {"ca_file": Path("absent.pem")}, r"redis\.ca_file: cannot read absent\.pem"),
        ("rediss://h/0", {"sentinel_password_file": Path("here")}, "needs redis-sentinel://"),
    ],
)
def test_settings_that_do_not_fit_the_url_are_refused(files: RedisSettings, url: str, change, reason: str) -> None:
    Path("here").write_text("word")

    with pytest.raises(SettingsError, match=reason):
        files.model_copy(update=change).complete(url)


def test_redis_settings_need_a_server(files: RedisSettings) -> None:
    with pytest.raises(SettingsError, match=r"redis\.password_file needs a server of your own; set redis_url"):
        _ = Settings(redis=files).redis_server
