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
from workers.connection.bounded_reads import parse_key, read_key
from workers.connection.damaged_keys import with_damaged_keys_removed
from workers.connection.server_time import take_turn
from workers.monitoring.snapshot import Snapshot

MAX_DIGITS = 24
"""Of a figure, and of its name."""

FILE_NAME = "history.json"
KEEP_SECONDS = 2.0
"""In which the server answers who leaves it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySeries:
    """One stream: how far apart its moments are, and how many it keeps."""

    key: str
    step_seconds: int
    most: int


FINE = HistorySeries(key="tradeschool:history:fine", step_seconds=5, most=720)
COARSE = HistorySeries(key="tradeschool:history:coarse", step_seconds=60, most=2_880)
HISTORY_SERIES = (FINE, COARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySample:
    """The queue at one time, in jobs."""

    time: int
    """Unix time in seconds."""
    queued: int
    started: int
    failed: int
    throughput_per_minute: int
    workers: int


def sample_of(snapshot: Snapshot, now: float) -> HistorySample:
    """What is kept of a look at the queue."""
    return HistorySample(
        time=int(now),
        queued=snapshot.queued,
        started=snapshot.started,
        failed=snapshot.failed,
        throughput_per_minute=snapshot.throughput_per_minute,
        workers=snapshot.worker_count,
    )


def record_sample(connection: Redis, snapshot: Snapshot, now: float) -> None:
    """Keep a look at the queue where it is time for one, whoever else looks."""
    moment = {name: str(value) for name, value in asdict(sample_of(snapshot, now)).items()}
    for track in HISTORY_SERIES:
        # Half a second less: a poller's next look must not come just before the turn is over.
        if take_turn(connection, f"{track.key}:turn", track.step_seconds * 1000 - 500):
            with_damaged_keys_removed(
                connection, {track.key: "stream"}, partial(_append_sample, connection, track, moment)
            )


def read_history(connection: Redis) -> list[HistorySample]:
    """The past in order of time: minutes up to the last hour, then steps of five seconds."""
    with connection.pipeline(transaction=False) as pipeline:
        for track in HISTORY_SERIES:
            read_key(pipeline, track.key, "stream", most=track.most, most_bytes=MAX_DIGITS)
        read = [
            parse_key(track.key, "stream", reply)
            for track, reply in zip(HISTORY_SERIES, pipeline.execute(), strict=True)
        ]
    fine, coarse = (sorted(_samples(each.entries), key=lambda moment: moment.time) for each in read)
    begin = fine[0].time if fine else float("inf")
    return [each for each in coarse if each.time < begin] + fine


def save_history(url: str, folder: Path) -> None:
    """Write the past to a file of a folder; where that cannot be done, the log says so."""
    try:
        with Redis.from_url(url, socket_timeout=KEEP_SECONDS, retry=Retry(NoBackoff(), 0)) as connection:
            moments = read_history(connection)
        if moments:
            publish_text(folder, folder / FILE_NAME, json.dumps([asdict(moment) for moment in moments]))
    except (RedisError, StoreUnwritable) as error:
        log.warning("queue history not kept", extra={"action": "history_lost", "reason": str(error)})


def load_history(folder: Path) -> list[HistorySample]:
    """The past that was written to a folder; empty where there is none, or it cannot be read."""
    try:
        return [HistorySample(**each) for each in json.loads((folder / FILE_NAME).read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def _append_sample(connection: Redis, track: HistorySeries, moment: Mapping[str, str]) -> None:
    connection.xadd(track.key, moment, maxlen=track.most, approximate=False)  # type: ignore[arg-type]  # a dict's values are invariant


def _samples(entries: Iterable[Mapping[bytes, bytes]]) -> Iterator[HistorySample]:
    names = [each.name for each in fields(HistorySample)]
    for entry in entries:
        found = {name: entry.get(name.encode(), b"") for name in names}
        if all(value.isdigit() for value in found.values()):  # else written by somebody else
            yield HistorySample(**{name: int(value) for name, value in found.items()})
