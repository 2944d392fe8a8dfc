"""State of each active study on the queue: its progress, and how many of its jobs wait and run."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from tradeschool.plain_text import plain
from workers.queue.announcements import Announcement
from workers.queue.job_names import study_of

MAX_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySnapshot:
    """One study that a coordinator searches now, or that has jobs on the queue."""

    study: str
    trials: int
    """Planned trials, or surrogate markets of a null test; 0 if its coordinator does not announce it."""
    finished: int
    failed: int
    queued: int
    """Jobs; only those that were read are counted, see `workers.monitoring.snapshot.MAX_COUNTED`."""
    started: int
    """Jobs."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields."""
        return asdict(self)


def study_snapshots(
    announced: Mapping[str, Announcement], queued: Iterable[str], started: Iterable[str]
) -> tuple[StudySnapshot, ...]:
    """Return the studies of announcements and of jobs, by name; jobs whose id has another form are ignored."""
    waiting, running = Counter(map(study_of, queued)), Counter(map(study_of, started))
    names = sorted(filter(None, {*announced, *waiting, *running}))
    return tuple(
        StudySnapshot(
            study=plain(name)[:MAX_NAME],
            trials=known.trials if (known := announced.get(name)) else 0,
            finished=known.finished if known else 0,
            failed=known.failed if known else 0,
            queued=waiting[name],
            started=running[name],
        )
        for name in names
    )
