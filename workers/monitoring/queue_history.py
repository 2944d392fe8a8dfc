"""The queue's past, kept in Redis for as long as a page may want to show it, in bounds.

Two streams: the last hour in steps of five seconds, the last two days in steps of a minute. Whoever looks at the
queue may note it; a turn that lasts as long as a step lets one of them do so.

An embedded server ends with the run. Who leaves it writes the past to a file first, so that it can still be shown.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tradeschool.errors import StoreUnwritable
from tradeschool.store.atomic_files import publish_text
from workers.connection.bounded_reads import ask, told
from workers.connection.damaged_keys import mended
from workers.connection.server_time import take_turn
from workers.monitoring.snapshot import Snapshot

MOST_DIGITS = 24
"""Of a figure, and of its name."""

FILE_NAME = "history.json"
KEEP_SECONDS = 2.0
"""In which the server answers who leaves it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One stream: how far apart its moments are, and how many it keeps."""

    key: str
    step_seconds: int
    most: int


FINE = Track(key="tradeschool:history:fine", step_seconds=5, most=720)
COARSE = Track(key="tradeschool:history:coarse", step_seconds=60, most=2_880)
TRACKS = (FINE, COARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The queue at one time, in jobs."""

    time: int
    """Unix time in seconds."""
    queued: int
    started: int
    failed: int
    throughput_per_minute: int
    workers: int


def moment_of(snapshot: Snapshot, now: float) -> Moment:
    """What is kept of a look at the queue."""
    return Moment(
        time=int(now),
        queued=snapshot.queued,
        started=snapshot.started,
        failed=snapshot.failed,
        throughput_per_minute=snapshot.throughput_per_minute,
        workers=snapshot.worker_count,
    )


def note(connection: Redis, snapshot: Snapshot, now: float) -> None:
    """Keep a look at the queue where it is time for one, whoever else looks."""
    moment = {name: str(value) for name, value in asdict(moment_of(snapshot, now)).items()}
    for track in TRACKS:
        # Half a second less: a poller's next look must not come just before the turn is over.
        if take_turn(connection, f"{track.key}:turn", track.step_seconds * 1000 - 500):
            mended(connection, {track.key: "stream"}, partial(_keep, connection, track, moment))


def recall(connection: Redis) -> list[Moment]:
    """The past in order of time: minutes up to the last hour, then steps of five seconds."""
    with connection.pipeline(transaction=False) as pipeline:
        for track in TRACKS:
            ask(pipeline, track.key, "stream", most=track.most, most_bytes=MOST_DIGITS)
        read = [told(track.key, "stream", reply) for track, reply in zip(TRACKS, pipeline.execute(), strict=True)]
    fine, coarse = (sorted(_moments(each.entries), key=lambda moment: moment.time) for each in read)
    begin = fine[0].time if fine else float("inf")
    return [each for each in coarse if each.time < begin] + fine


def keep(url: str, folder: Path) -> None:
    """Write the past to a file of a folder; where that cannot be done, the log says so."""
    try:
        with Redis.from_url(url, socket_timeout=KEEP_SECONDS, retry=Retry(NoBackoff(), 0)) as connection:
            moments = recall(connection)
        if moments:
            publish_text(folder, folder / FILE_NAME, json.dumps([asdict(moment) for moment in moments]))
    except (RedisError, StoreUnwritable) as error:
        log.warning("queue history not kept", extra={"action": "history_lost", "reason": str(error)})


def kept(folder: Path) -> list[Moment]:
    """The past that was written to a folder; empty where there is none, or it cannot be read."""
    try:
        return [Moment(**each) for each in json.loads((folder / FILE_NAME).read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def _keep(connection: Redis, track: Track, moment: Mapping[str, str]) -> None:
    connection.xadd(track.key, moment, maxlen=track.most, approximate=False)  # type: ignore[arg-type]  # a dict's values are invariant


def _moments(entries: Iterable[Mapping[bytes, bytes]]) -> Iterator[Moment]:
    names = [each.name for each in fields(Moment)]
    for entry in entries:
        found = {name: entry.get(name.encode(), b"") for name in names}
        if all(value.isdigit() for value in found.values()):  # else written by somebody else
            yield Moment(**{name: int(value) for name, value in found.items()})
