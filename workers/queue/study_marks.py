"""Marks of studies in Redis: how many trials were committed, and in which database.

A coordinator renews the mark of its study with each announcement, after the commit. So a mark never runs ahead of its
database, unless the database was replaced by an older backup.
"""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from redis import Redis

from tradeschool.plain_text import plain
from workers.connection.bounded_reads import parse_key, read_key
from workers.connection.server_time import unix_time
from workers.connection.signing import UNSIGNED, Signer
from workers.queue.announcements import SILENT_SECONDS, read_announcements
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_names import JOB, STUDY, study_of
from workers.queue.trial_queue import forget, results_key

KEEP_SECONDS = 30 * 86_400
MAX_JOBS = 10_000
"""Jobs of each list that are searched for those of a study."""
READ = """
local mark = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('STRLEN', KEYS[1]) <= tonumber(ARGV[1])
return {redis.call('TIME'), mark and redis.call('GET', KEYS[1]) or false}
"""
MAX_MARK_BYTES = 2_048


class StudyMark(BaseModel):
    """What the last coordinator of a study has committed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    database: str = Field(max_length=64)
    """Identity of the study's database, see `optimizer.runs.database_identity`."""
    host: str = Field(max_length=256)
    """Machine of the coordinator."""
    committed: int = Field(ge=0)
    """Committed trials, without those carried over."""
    seen: FiniteFloat
    """Unix time in seconds, by the server's clock."""
    is_active: bool = True
    """Whether its coordinator has neither finished nor stopped."""
    age_seconds: float = 0.0
    """Seconds since then, by the server's clock; set when it is read."""

    @property
    def is_live(self) -> bool:
        """Whether its coordinator is likely to work still."""
        return self.is_active and abs(self.age_seconds) < SILENT_SECONDS


def mark_key(study: str) -> str:
    """The key of a study's mark."""
    return f"tradeschool:committed:{study}"


def write_mark(connection: Redis, study: str, mark: StudyMark, signer: Signer = UNSIGNED) -> None:
    """Store a mark with the server's time; replaces the last one."""
    seen = unix_time(connection.time())
    content = mark.model_copy(update={"seen": seen}).model_dump_json(exclude={"age_seconds"})
    connection.set(mark_key(study), signer.sign("committed", study, content, at=seen), ex=KEEP_SECONDS)


def read_mark(connection: Redis, study: str, signer: Signer = UNSIGNED) -> StudyMark | None:
    """The mark of a study; None if there is none that can be read, or its signature is wrong."""
    clock, content = connection.eval(READ, 1, mark_key(study), str(MAX_MARK_BYTES))
    try:
        mark = StudyMark.model_validate(signer.check("committed", study, content or b"null"))
    except (ValidationError, ValueError):
        return None
    return mark.model_copy(update={"age_seconds": unix_time([int(part) for part in clock]) - mark.seen})


def host_of_run(connection: Redis, run: str, signer: Signer = UNSIGNED) -> str:
    """The machine whose coordinator works on a run now; empty if there is none."""
    for study in read_announcements(connection, signer):
        found = STUDY.fullmatch(study)
        if found and found["run"] == run and (mark := read_mark(connection, study, signer)) and mark.is_live:
            return plain(mark.host)
    return ""


def forget_from(queue: TrialQueue, study: str, first: int) -> int:
    """Delete the jobs of a study with a trial from number `first` on, and its results; the number of jobs."""
    jobs = [job_id for job_id in _jobs(queue) if study_of(job_id) == study and _last_of(job_id) >= first]
    for job_id in dict.fromkeys(jobs):
        forget(queue, job_id)
    queue.connection.delete(results_key(study))
    return len(set(jobs))


def _jobs(queue: TrialQueue) -> Iterator[str]:
    keys: Sequence[tuple[str, str]] = (
        (queue.key, "list"),
        (queue.intermediate_queue_key, "list"),
        (queue.started_job_registry.key, "zset"),
        (queue.finished_job_registry.key, "zset"),
        (queue.failed_job_registry.key, "zset"),
    )
    with queue.connection.pipeline(transaction=False) as pipeline:
        for key, kind in keys:
            read_key(pipeline, key, kind, most=MAX_JOBS)
        replies = pipeline.execute()
    for (key, kind), reply in zip(keys, replies, strict=True):
        found = parse_key(key, kind, reply)
        for name in found.texts if kind == "list" else [pair[0] for pair in found.pairs]:
            yield name.decode(errors="replace").partition(":")[0]


def _last_of(job_id: str) -> int:
    found = JOB.fullmatch(job_id)
    return int(found["last"]) if found else -1
