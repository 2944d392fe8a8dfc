"""What conductors let others know in Redis: which studies are under way, over which candles, and how far they are.

A worker looks here before it takes its first job, a monitor for how long it will take. Nothing depends on it: a
study goes on without.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import Redis
from redis.exceptions import RedisError
from rq.utils import as_text

from optimizer.level import Level
from workers.server_time import server_now

KEY = "tradeschool:studies"
RUNS_KEY = "tradeschool:runs"
SILENT_SECONDS = 60.0
"""A study that was not heard of for so long is not under way."""


class Notice(BaseModel):
    """One study, as its conductor last told of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    v: int
    """Version of the wire format."""
    seen: float
    """Unix time in seconds, by the server's clock."""
    trials: Annotated[int, Field(ge=0)]
    """Wanted in all."""
    finished: Annotated[int, Field(ge=0)] = 0
    complete: Annotated[int, Field(ge=0)] = 0
    pruned: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    lag: Annotated[int, Field(ge=1)] = 1
    """Trials that can be under way at once."""
    trials_per_job: Annotated[int, Field(ge=1)] = 1
    level: Level | None = None
    """None of a version that this program does not know."""
    digests: Mapping[str, str] = {}

    @property
    def most_jobs(self) -> int:
        """Jobs that can be under way at once: more workers than that are of no use to this study."""
        return max(1, self.lag // self.trials_per_job)


class _Foreign(BaseModel):
    """What every version of a notice says."""

    v: int
    seen: float


def put_up(connection: Redis, study: str, notice: Notice) -> None:
    """Tell of a study, in place of what was told before."""
    connection.hset(KEY, study, notice.model_dump_json())


def take_down(connection: Redis, study: str) -> None:
    """Tell no more of a study that has ended."""
    connection.hdel(KEY, study)


def notices(connection: Redis, now: float | None = None) -> dict[str, Notice]:
    """Every study that is under way, by name; what cannot be read is left out."""
    return parse_notices(connection.hgetall(KEY), server_now(connection) if now is None else now)


def parse_notices(hung: Mapping[bytes | str, bytes | str], now: float) -> dict[str, Notice]:
    """The same, of what hangs on the board."""
    found: dict[str, Notice] = {}
    for name, text in hung.items():
        with suppress(ValueError, RecursionError):
            notice = _parse(text)
            if abs(now - notice.seen) < SILENT_SECONDS:  # the server's clock may have been set back since
                found[as_text(name)] = notice
    return found


@contextmanager
def conducted(connection: Redis, run: str) -> Iterator[None]:
    """Tell that a run is somebody's work for as long as the block lasts, however it ends.

    Only a process that is killed leaves the mark behind: then a deputy may go on with the run.
    """
    with suppress(RedisError):
        connection.sadd(RUNS_KEY, run)
    try:
        yield
    finally:
        with suppress(RedisError):
            connection.srem(RUNS_KEY, run)


def forget_run(connection: Redis, run: str) -> None:
    """Tell no more that a run is somebody's work."""
    connection.srem(RUNS_KEY, run)


def conducted_runs(connection: Redis) -> list[str]:
    """The runs that are somebody's work, or were when that somebody was killed."""
    return sorted(as_text(name) for name in connection.smembers(RUNS_KEY))


def _parse(text: bytes | str) -> Notice:
    try:
        return Notice.model_validate_json(text)
    except ValidationError:
        # Of another version: who is that far apart need not agree on more than this.
        foreign = _Foreign.model_validate(json.loads(text))
        return Notice(v=foreign.v, seen=foreign.seen, trials=0)
