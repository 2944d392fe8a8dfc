"""The queue's past, kept in Redis for as long as a page may want to show it, in bounds.

Two streams: the last hour in steps of five seconds, the last two days in steps of a minute. Whoever looks at the
queue may note it; a turn that lasts as long as a step lets one of them do so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields

from redis import Redis

from workers.monitor import Snapshot
from workers.server_time import take_turn


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
        workers=len(snapshot.workers),
    )


def note(connection: Redis, snapshot: Snapshot, now: float) -> None:
    """Keep a look at the queue where it is time for one, whoever else looks."""
    moment = {name: str(value) for name, value in asdict(moment_of(snapshot, now)).items()}
    for track in TRACKS:
        # Half a second less: a poller's next look must not come just before the turn is over.
        if take_turn(connection, f"{track.key}:turn", track.step_seconds * 1000 - 500):
            connection.xadd(track.key, moment, maxlen=track.most, approximate=False)  # type: ignore[arg-type]  # a dict's values are invariant


def recall(connection: Redis) -> list[Moment]:
    """The past in order of time: minutes up to the last hour, then steps of five seconds."""
    with connection.pipeline(transaction=False) as pipeline:
        for track in TRACKS:
            pipeline.xrevrange(track.key, count=track.most)
        fine, coarse = (sorted(_moments(entries), key=lambda each: each.time) for entries in pipeline.execute())
    begin = fine[0].time if fine else float("inf")
    return [each for each in coarse if each.time < begin] + fine


def _moments(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterator[Moment]:
    for _, values in entries:
        try:
            yield Moment(**{each.name: int(values[each.name.encode()]) for each in fields(Moment)})
        except (KeyError, ValueError):
            continue  # written by somebody else
