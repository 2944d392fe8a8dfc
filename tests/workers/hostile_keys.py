"""What an attacker who can write to Redis may leave in any key that the product reads."""

from collections.abc import Callable, Mapping, Sequence

from redis import Redis

from workers.connection.damaged_keys import key_types_of
from workers.monitoring.queue_history import HISTORY_SERIES
from workers.queue.job_allowlist import TrialQueue
from workers.queue.trial_queue import MAINTENANCE_KEY, results_key
from workers.queue.worker_losses import losses_key

NOISE = b"\xff\xfe\x00\x1b[31m\r\n" + bytes(range(256))
HUGE = b"9" * 2_000_000
MANY = 1_200


def keys_of(queue: TrialQueue, study: str, jobs: Sequence[str], workers: Sequence[str]) -> dict[str, str]:
    """Every key that a worker, a coordinator, a command or the page reads, and its type.

    Without `rq:suspended`, which whoever may write may set: workers then take no job, and say so.
    """
    return {
        **key_types_of(queue),
        results_key(study): "list",
        losses_key(study): "hash",
        MAINTENANCE_KEY: "string",
        "tradeschool:runs": "set",
        "tradeschool:limit:coinbase": "string",
        **{track.key: "stream" for track in HISTORY_SERIES},
        **{f"{track.key}:turn": "string" for track in HISTORY_SERIES},
        **{f"rq:job:{job}": "hash" for job in jobs},
        **{f"rq:results:{job}": "stream" for job in jobs},
        **{f"rq:worker:{name}": "hash" for name in workers},
    }


def of_another_type(connection: Redis, key: str, kind: str) -> None:
    """Replace each list by a string and every other key by a list."""
    with connection.pipeline() as pipeline:  # in one step: a worker may write to the key at any time
        pipeline.delete(key)
        if kind == "list":
            pipeline.set(key, NOISE)
        else:
            pipeline.rpush(key, NOISE)
        pipeline.execute()


def of_noise(connection: Redis, key: str, kind: str) -> None:
    """Binary entries of the right type, in addition to or in place of the existing ones."""
    _add(connection, key, kind, [NOISE + bytes([number]) for number in range(3)], score=1.0)


def of_great_size(connection: Redis, key: str, kind: str) -> None:
    """Values of two megabytes, and thousands of entries."""
    entries = [HUGE, *(f"made-up-{number}-L1-a1-0-0-a1".encode() for number in range(MANY if kind != "hash" else 500))]
    _add(connection, key, kind, entries, score=4e9)


def of_extreme_numbers(connection: Redis, key: str, kind: str) -> None:
    """Invalid, infinite, negative and too large numbers."""
    numbers = [b"nan", b"inf", b"-inf", b"-1", b"1e400", b"9e15", b"9" * 400]
    _add(connection, key, kind, numbers, score=float("inf"))
    if kind == "zset":
        connection.zadd(key, {"long-ago-L1-a1-0-0-a1": float("-inf"), "before-1970": -1e300})


def of_nesting(connection: Redis, key: str, kind: str) -> None:
    """JSON nested slightly below, at and above the limit of Python's parser."""
    depths = (100, 900, 940, 960, 980, 990, 1_000, 100_000)
    _add(connection, key, kind, [b"[" * depth + b"]" * depth for depth in depths], score=1.0)


Damage = Callable[[Redis, str, str], None]
KINDS: Mapping[str, Damage] = {
    "another type": of_another_type,
    "noise": of_noise,
    "great size": of_great_size,
    "extreme numbers": of_extreme_numbers,
    "nesting": of_nesting,
}
FIELDS = (
    "data",
    "status",
    "timeout",
    "created_at",
    "hostname",
    "state",
    "last_heartbeat",
    "successful_job_count",
    "failed_job_count",
    "total_working_time",
    "cpu_seconds",
)


def _add(connection: Redis, key: str, kind: str, entries: Sequence[bytes], score: float) -> None:
    match kind:
        case "string":
            connection.set(key, entries[0])
        case "list":
            connection.lpush(key, *entries)
        case "set":
            connection.sadd(key, *entries)
        case "zset":
            connection.zadd(key, dict.fromkeys(entries, score))
        case "hash":
            known = {field: entries[place % len(entries)] for place, field in enumerate(FIELDS)}
            connection.hset(key, mapping={**{entry[:80]: entry for entry in entries}, **known})
        case "stream":
            for entry in entries[:200]:
                connection.xadd(key, {"type": "2", "exc_string": entry, "return_value": entry, "time": entry[:80]})
