"""What each worker uses, kept in Redis beside its heartbeat, so that it is known of every host."""

import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from redis import Redis

KEY = "tradeschool:usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one process and those of its children that have ended."""

    cpu_seconds: float
    """Of processor time, since its start."""
    memory_bytes: int
    """At its largest."""


NOTHING = Usage(cpu_seconds=0.0, memory_bytes=0)


def own() -> Usage:
    """This process' usage."""
    mine, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(each.ru_utime + each.ru_stime for each in (mine, children))
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(cpu_seconds=round(cpu, 2), memory_bytes=max(mine.ru_maxrss, children.ru_maxrss) * unit)


def note(connection: Redis, worker: str) -> None:
    """Keep what this worker uses, for a day at most after the last of them."""
    with connection.pipeline(transaction=False) as pipeline:
        pipeline.hset(KEY, worker, json.dumps(asdict(own())))
        pipeline.expire(KEY, 86_400)
        pipeline.execute()


def forget(connection: Redis, worker: str) -> None:
    """The worker ends."""
    connection.hdel(KEY, worker)


def parse(text: object) -> Usage:
    """What was kept of a worker; nothing where nothing was, or it cannot be read."""
    try:
        found = json.loads(text) if isinstance(text, bytes | str) else None
    except ValueError:
        return NOTHING
    if not isinstance(found, Mapping):
        return NOTHING
    cpu, memory = found.get("cpu_seconds"), found.get("memory_bytes")
    if not isinstance(cpu, int | float) or not isinstance(memory, int):
        return NOTHING
    return Usage(cpu_seconds=float(cpu), memory_bytes=memory)
