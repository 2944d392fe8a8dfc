"""Redis outages of all kinds: no result is lost, no worker ends, and each outage is logged once."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisAway,
)

from optimizer.search.trial_table import export
from workers.connection.redis_outage import LONGEST_PAUSE_SECONDS, RedisOutage, may_pass, remedy


@dataclass(frozen=True)
class Fault:
    """A fault of a server: how to cause it, its error, and how to undo it."""

    code: str
    do: tuple[str, ...]
    undo: tuple[str, ...]


FAULTS = (
    Fault("OOM", ("CONFIG SET maxmemory 1",), ("CONFIG SET maxmemory 0",)),
    Fault("READONLY", ("REPLICAOF 127.0.0.1 1",), ("REPLICAOF NO ONE",)),
    Fault("NOREPLICAS", ("CONFIG SET min-replicas-to-write 1",), ("CONFIG SET min-replicas-to-write 0",)),
    Fault(
        "NOAUTH", ("CONFIG SET requirepass other", "CLIENT KILL TYPE normal SKIPME yes"), ("CONFIG SET requirepass ''",)
    ),
)


def test_a_result_survives_every_refusal(plan, killable_server, start_program, eventually, tmp_path: Path) -> None:
    """Each fault starts during an evaluation and lasts until the worker has met it."""
    counts = tmp_path / "counts"
    slow = replace(plan, url=killable_server.url, title="sleep 0.3", trials=9, lag=1)
    worker = start_program("worker_process.py", "--url", killable_server.url, "--lease", "30", BENCH_COUNTS=str(counts))
    study = slow.open()
    coordinator = start_program("coordinator_process.py", slow.as_json())
    operator = Redis.from_url(killable_server.url)
    for number, fault in enumerate(FAULTS):
        eventually(lambda begun=2 * number + 1: lines(counts) >= begun)
        ordered(operator, fault.do)
        before = refusals(operator, fault.code)
        eventually(lambda fault=fault, before=before: refusals(operator, fault.code) >= before + 3)
        ordered(operator, fault.undo)
        eventually(lambda done=2 * number + 1: len(study.trials()) >= done)

    assert coordinator.wait(timeout=120) == 0
    assert worker.poll() is None
    assert export(study.trials(), "csv") == slow.table_in_process()
    assert lines(counts) == slow.trials
    study.close()
    operator.close()


@pytest.mark.parametrize(
    ("error", "passes", "what"),
    [
        (RedisAway("refused"), True, "is it running"),
        (AuthenticationError("Authentication required."), True, "password"),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True, "raise maxmemory"),
        (ReadOnlyError("You can't write against a read only replica."), True, "the primary"),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), True, "its log"),
        (ResponseError("Command # 2 (RPUSH a b) of pipeline caused error: NOREPLICAS Not enough"), True, "replicas"),
        (ResponseError("UNBLOCKED force unblock from blocking operation"), True, "is it running"),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False, "is it running"),
        (ResponseError("ERR unknown command"), False, "is it running"),
    ],
)
def test_redis_errors_are_classified_as_temporary_or_permanent(error: RedisError, passes: bool, what: str) -> None:
    assert may_pass(error) is passes
    assert what in remedy(error)


def test_an_outage_logs_two_lines_and_pauses_grow(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    outage = RedisOutage(clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            outage.end()
            for _ in range(20):
                outage.begin(RedisAway("gone"))
                now[0] += outage.pause()
            last = outage.pause()
            outage.end()

    assert [record.action for record in caplog.records] == ["redis_away", "redis_back"] * 2
    assert (last, outage.pause()) == (LONGEST_PAUSE_SECONDS, 0.1)


def lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def ordered(operator: Redis, commands: tuple[str, ...]) -> None:
    for command in commands:
        operator.execute_command(*(word.strip("'") for word in command.split(" ")))


def refusals(operator: Redis, code: str) -> int:
    return int(operator.info("errorstats").get(f"errorstat_{code}", {}).get("count", 0))
