"""What coordinators let others know in Redis: which studies are under way, over which candles, and how far they are.

A worker looks here before it takes its first job, a monitor for how long it will take. Nothing depends on it: a
study goes on without.
"""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError
from redis import Redis
from redis.client import Pipeline

from optimizer.level.spec import Level
from workers.connection.bounded_reads import log_once, parse_key, read_key
from workers.connection.bounded_reads import text as text_of
from workers.connection.signing import UNSIGNED, Signer

KEY = "tradeschool:studies"
SILENT_SECONDS = 60.0
"""A study that was not heard of for so long is not under way."""
MAX_ANNOUNCEMENTS = 500
"""Studies that a look takes in."""
MAX_ANNOUNCEMENT_BYTES = 65_536


class Announcement(BaseModel):
    """One study, as its coordinator last told of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    v: int
    """Version of the wire format."""
    seen: FiniteFloat
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


class _AnyVersion(BaseModel):
    """What every version of a notice says."""

    v: int
    seen: FiniteFloat


def publish_announcement(connection: Redis, study: str, announcement: Announcement, signer: Signer = UNSIGNED) -> None:
    """Tell of a study, in place of what was told before; its time is the server's, on whose clock all agree."""
    seen = server_time(connection.time())
    text = announcement.model_copy(update={"seen": seen}).model_dump_json()
    connection.hset(KEY, study, signer.sign("announcement", study, text, at=seen))


def remove_announcement(connection: Redis, study: str) -> None:
    """Tell no more of a study that has ended."""
    connection.hdel(KEY, study)


def read_announcements(connection: Redis, signer: Signer = UNSIGNED) -> dict[str, Announcement]:
    """Every study that is under way, by name; what cannot be read, or is not signed as it should be, is left out."""
    with connection.pipeline(transaction=False) as pipeline:
        request_announcements(pipeline)
        clock, reply = pipeline.execute(raise_on_error=False)
    if isinstance(clock, Exception):
        raise clock
    return parse_announcements(clock, reply, signer)


def request_announcements(pipeline: Pipeline) -> None:
    """Queue a look at the board: the server's time, and what hangs there."""
    pipeline.time()
    read_key(pipeline, KEY, "hash", most=MAX_ANNOUNCEMENTS, most_bytes=MAX_ANNOUNCEMENT_BYTES)


def parse_announcements(clock: object, reply: object, signer: Signer = UNSIGNED) -> dict[str, Announcement]:
    """What the two answers say."""
    found: dict[str, Announcement] = {}
    now, hung = server_time(clock), parse_key(KEY, "hash", reply)
    if hung.trouble:
        log_once(KEY, hung.trouble)
    for name, text in hung.pairs:
        study = text_of(name)
        try:
            announcement = _parse(signer.check("announcement", study, text))
        except ValueError as error:
            log_once(f"announcement of {study}", str(error))
            continue
        # A time ahead of the server's is no time at all: nothing could ever make it old.
        if abs(now - announcement.seen) < SILENT_SECONDS:
            found[study] = announcement
    return found


def server_time(clock: object) -> float:
    """Unix time in seconds of what TIME has answered."""
    match clock:
        case [int(seconds), int(microseconds)]:
            return seconds + microseconds / 1e6
    return 0.0


def _parse(content: JsonValue) -> Announcement:
    try:
        return Announcement.model_validate_json(json.dumps(content))
    except ValidationError:
        # Of another version: who is that far apart need not agree on more than this.
        foreign = _AnyVersion.model_validate(content)
        return Announcement(v=foreign.v, seen=foreign.seen, trials=0)
