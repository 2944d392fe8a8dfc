"""Removes keys of a wrong type, so that work continues.

Redis refuses every command on a key of a wrong type. Removing it loses nothing: jobs can be sent again from the study,
and workers register again.
"""

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

log = logging.getLogger(__name__)

Found = TypeVar("Found")

_DAMAGE = ("WRONGTYPE", "hash value is not", "value is not", "increment would produce", "increment or decrement")


def is_damage(error: Exception) -> bool:
    """Whether Redis refused a command because of a key's content."""
    return isinstance(error, ResponseError) and _refusal(error).startswith(_DAMAGE)


def is_wrong_type(error: Exception) -> bool:
    """Whether the type of a key is wrong, not a value."""
    return _refusal(error).startswith("WRONGTYPE")


def _refusal(error: Exception) -> str:
    """The message of Redis, without the command that a pipeline prepends."""
    return str(error).rpartition("caused error: ")[2].removeprefix("ERR ")


def key_types_of(queue: Queue) -> dict[str, str]:
    """The expected type of every shared key, by its name."""
    registries = (
        queue.started_job_registry,
        queue.finished_job_registry,
        queue.failed_job_registry,
        queue.deferred_job_registry,
        queue.scheduled_job_registry,
    )
    return {
        queue.key: "list",
        queue.intermediate_queue_key: "list",
        **{registry.key: "zset" for registry in registries},
        queue.redis_queues_keys: "set",
        REDIS_WORKER_KEYS: "set",
        WORKERS_BY_QUEUE_KEY % queue.name: "set",
        "tradeschool:studies": "hash",
        "tradeschool:turns": "zset",
    }


def remove_damaged_keys(connection: Redis, kinds: Mapping[str, str]) -> list[str]:
    """Remove keys of another type, and return their names."""
    with connection.pipeline() as pipeline:
        for key in kinds:
            pipeline.type(key)
        found = pipeline.execute()
    wrong = [
        key for (key, kind), is_now in zip(kinds.items(), found, strict=True) if is_now not in (b"none", kind.encode())
    ]
    for key in wrong:
        connection.delete(key)
        log.warning("key of another type removed", extra={"action": "key_removed", "key": key, "kind": kinds[key]})
    return wrong


def with_damaged_keys_removed(connection: Redis, kinds: Mapping[str, str], step: Callable[[], Found]) -> Found:
    """Run a step; after an error due to a key's type, remove the key and run the step again."""
    try:
        return step()
    except ResponseError as error:
        if not is_damage(error) or not remove_damaged_keys(connection, kinds):
            raise
    return step()
