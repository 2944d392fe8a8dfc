"""Announcements of active studies in Redis: level, candles and progress, published by each coordinator.

Workers check them before their first job; monitoring shows them. A search works without them.
"""

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError
from redis import Redis
from redis.client import Pipeline

from optimizer.level.spec import Level
from optimizer.runs.fingerprint import release
from workers.connection.bounded_reads import log_once, parse_key, read_key
from workers.connection.bounded_reads import text as text_of
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.messages import VERSION

KEY = "tradeschool:studies"
SILENT_SECONDS = 60.0
"""Age at which an announcement counts no more."""
MAX_ANNOUNCEMENTS = 500
"""Announcements that one read returns at most."""
MAX_ANNOUNCEMENT_BYTES = 65_536


class Announcement(BaseModel):
    """The latest announcement of one study."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int
    """Version of the wire format."""
    release: str = ""
    """Release of the coordinator; empty if it is unknown."""
    database: str = ""
    """Identity of the study's database; empty if it is unknown."""
    seen: FiniteFloat
    """Unix time in seconds, by the server's clock."""
    trials: Annotated[int, Field(ge=0)]
    """Planned trials."""
    finished: Annotated[int, Field(ge=0)] = 0
    complete: Annotated[int, Field(ge=0)] = 0
    pruned: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    lag: Annotated[int, Field(ge=1)] = 1
    """Trials that can be open at once."""
    trials_per_job: Annotated[int, Field(ge=1)] = 1
    level: Level | None = None
    """None for a version that this program does not know."""
    digests: Mapping[str, str] = {}

    @property
    def is_ours(self) -> bool:
        """Whether workers of this release evaluate its jobs."""
        return self.v == VERSION and self.release in ("", release())

    @property
    def most_jobs(self) -> int:
        """Jobs that can be open at once; more workers than that do not help this study."""
        return max(1, self.lag // self.trials_per_job)


class _AnyVersion(BaseModel):
    """The fields that every version has."""

    v: int
    release: str = ""
    seen: FiniteFloat


def publish_announcement(connection: Redis, study: str, announcement: Announcement, signer: Signer = UNSIGNED) -> None:
    """Publish the announcement of a study, with the server's time; replaces the last one."""
    seen = server_time(connection.time())
    text = announcement.model_copy(update={"seen": seen}).model_dump_json()
    connection.hset(KEY, study, signer.sign("announcement", study, text, at=seen))


def remove_announcement(connection: Redis, study: str) -> None:
    """Remove the announcement of a study that has ended."""
    connection.hdel(KEY, study)


def read_announcements(connection: Redis, signer: Signer = UNSIGNED) -> dict[str, Announcement]:
    """The announcements of active studies by name; unreadable and wrongly signed ones are left out."""
    with connection.pipeline(transaction=False) as pipeline:
        request_announcements(pipeline)
        clock, reply = pipeline.execute(raise_on_error=False)
    if isinstance(clock, Exception):
        raise clock
    return parse_announcements(clock, reply, signer)


def request_announcements(pipeline: Pipeline) -> None:
    """Add the reads of server time and announcements to a pipeline."""
    pipeline.time()
    read_key(pipeline, KEY, "hash", most=MAX_ANNOUNCEMENTS, most_bytes=MAX_ANNOUNCEMENT_BYTES)


def parse_announcements(clock: object, reply: object, signer: Signer = UNSIGNED) -> dict[str, Announcement]:
    """Parse the two replies of `request_announcements`."""
    found: dict[str, Announcement] = {}
    now, listed = server_time(clock), parse_key(KEY, "hash", reply)
    if listed.error:
        log_once(KEY, listed.error)
    for name, text in listed.pairs:
        study = text_of(name)
        try:
            announcement = _parse(signer.check("announcement", study, text))
        except ValueError as error:
            log_once(f"announcement of {study}", str(error))
            continue
        # A time ahead of the server's is rejected, too: it would never expire.
        if abs(now - announcement.seen) < SILENT_SECONDS:
            found[study] = announcement
    return found


def server_time(clock: object) -> float:
    """Unix time in seconds of a reply to TIME."""
    match clock:
        case [int(seconds), int(microseconds)]:
            return seconds + microseconds / 1e6
    return 0.0


def _parse(content: JsonValue) -> Announcement:
    try:
        return Announcement.model_validate_json(json.dumps(content))
    except ValidationError:
        # Another version: only the common fields are read.
        foreign = _AnyVersion.model_validate(content)
        return Announcement(v=foreign.v, release=foreign.release, seen=foreign.seen, trials=0)
