"""Queue history: samples of the queue in two bounded Redis streams.

One stream covers the last hour in steps of five seconds, the other the last two days in steps of one minute. Each
process that reads the queue can record a sample; a key that expires after one step limits them to one sample a step.

An embedded server ends with the run. Before that the history is saved to a file, so that it can still be shown.
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

from tradeschool.atomic_files import publish_text
from tradeschool.errors import StoreUnwritable
from workers.connection.bounded_reads import parse_key, read_key
from workers.connection.damaged_keys import with_damaged_keys_removed
from workers.connection.server_time import take_turn
from workers.monitoring.snapshot import Snapshot

MAX_DIGITS = 24
"""Maximum length of a field value, and of a field name."""

FILE_NAME = "history.json"
KEEP_SECONDS = 2.0
"""Socket timeout for reading the history before it is saved."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySeries:
    """One stream of samples with a fixed step."""

    key: str
    step_seconds: int
    most: int
    """Maximum number of samples."""


FINE = HistorySeries(key="tradeschool:history:fine", step_seconds=5, most=720)
COARSE = HistorySeries(key="tradeschool:history:coarse", step_seconds=60, most=2_880)
HISTORY_SERIES = (FINE, COARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySample:
    """Size of the queue at one time, in jobs, and the number of workers."""

    time: int
    """Unix time in seconds."""
    queued: int
    started: int
    failed: int
    throughput_per_minute: int
    workers: int


def sample_of(snapshot: Snapshot, now: float) -> HistorySample:
    """Return the sample of a snapshot; `now` is Unix time in seconds."""
    return HistorySample(
        time=int(now),
        queued=snapshot.queued,
        started=snapshot.started,
        failed=snapshot.failed,
        throughput_per_minute=snapshot.throughput_per_minute,
        workers=snapshot.worker_count,
    )


def record_sample(connection: Redis, snapshot: Snapshot, now: float) -> None:
    """Append a sample to each stream whose step has passed since its last sample, from any process."""
    moment = {name: str(value) for name, value in asdict(sample_of(snapshot, now)).items()}
    for track in HISTORY_SERIES:
        # Half a second less, so that a poller with the same interval does not arrive just before the key expires.
        if take_turn(connection, f"{track.key}:turn", track.step_seconds * 1000 - 500):
            with_damaged_keys_removed(
                connection, {track.key: "stream"}, partial(_append_sample, connection, track, moment)
            )


def read_history(connection: Redis) -> list[HistorySample]:
    """Return all samples in order of time: in steps of a minute, then of five seconds for the last hour."""
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
    """Save the history to a file in `folder`; log a warning if that fails."""
    try:
        with Redis.from_url(url, socket_timeout=KEEP_SECONDS, retry=Retry(NoBackoff(), 0)) as connection:
            moments = read_history(connection)
        if moments:
            publish_text(folder, folder / FILE_NAME, json.dumps([asdict(moment) for moment in moments]))
    except (RedisError, StoreUnwritable) as error:
        log.warning("queue history not saved", extra={"action": "history_lost", "reason": str(error)})


def load_history(folder: Path) -> list[HistorySample]:
    """Return the history that was saved in `folder`; empty if the file is missing or invalid."""
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
        if all(value.isdigit() for value in found.values()):  # otherwise the entry has a foreign format
            yield HistorySample(**{name: int(value) for name, value in found.items()})
