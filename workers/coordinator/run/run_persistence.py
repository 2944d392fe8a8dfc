"""The record of a run: create, read, resume and save it.

The record is in the study's database, so any process with access to it can continue the run.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import ValidationError

from optimizer.curriculum.state_machine import End, NextAction, RunOutcome, next_action
from optimizer.level.spec import Level
from optimizer.report.files import write_lineage
from optimizer.runs import fingerprint
from optimizer.runs.active_runs import MarkedRuns
from optimizer.runs.local_database import require_local
from optimizer.runs.run_record import SURROGATES, ForcedResume, RunRecord
from optimizer.runs.run_store import RunStore
from optimizer.search.methods.requirements import check_sampler
from tradeschool.atomic_files import publish_text
from tradeschool.errors import SettingsError
from workers.coordinator import event_log
from workers.coordinator.context import RunContext

RECORD_NAME = "run.json"
"""A copy of the database's record in the run's folder, updated at each step."""

log = logging.getLogger(__name__)


def new_run_name(now: datetime, seed: int) -> str:
    """Such as `20261122-181500-s7`."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-s{seed}"


def begin(
    context: RunContext, name: str, levels: tuple[Level, ...], seed: int, now: datetime, *, surrogates: int = SURROGATES
) -> RunRecord:
    """Create and save a new run; `surrogates` as in `RunRecord`.

    Raises:
        SettingsError: A level cannot be searched, a run of that name exists, or the database is on a network
            file system.
        HoldoutClosed: A level includes days of the holdout period.
    """
    if (context.folder(name) / RECORD_NAME).exists():
        raise SettingsError(
            f"there is a run {name} in {context.results_dir}; to continue it: tradeschool optimize resume {name}"
        )
    require_local(context.storage_url)
    for level in levels:
        check_sampler(level)
        context.is_ready(level)
    fingerprints = {
        "code": fingerprint.of_code(),
        "settings": fingerprint.of_settings(levels, context.min_coverage),
    }
    try:
        record = RunRecord(
            name=name, seed=seed, levels=levels, created=now, fingerprints=fingerprints, surrogates=surrogates
        )
    except ValidationError:
        raise SettingsError(f"run name {name!r}: expected up to 64 letters, digits, dashes and underscores") from None
    with opened(context) as runs:
        runs.add(record)
    _copy(context, record)
    event_log.record(context.folder(name), "run_started", run=name, seed=seed)
    return record


def resume(context: RunContext, name: str, *, force: bool = False) -> RunRecord:
    """Resume a run; changes since its start are refused, or accepted and recorded with `force`.

    Raises:
        SettingsError: There is no such run, its sampler is not installed, or code, settings or candles have changed.
        ServiceUnreachable: The study's database does not answer.
    """
    record = read_run(context, name)
    _note_age(context, record)
    for level in record.levels:
        check_sampler(level)
    found = changes(context, record)
    if found and not force:
        raise _changed(name, found)
    if found:
        record = _accept(context, record, found)
    event_log.record(context.folder(name), "run_resumed", run=name, forced=[*found])
    return record


def _note_age(context: RunContext, record: RunRecord) -> None:
    """Log that the files of a run are ahead of its database, which was restored from a backup or replaced."""
    try:
        copy = RunRecord.model_validate_json((context.folder(record.name) / RECORD_NAME).read_bytes())
    except (OSError, ValidationError):
        return
    files, stored = _steps(copy), _steps(record)
    if files > stored:
        reason = (
            f"{context.folder(record.name) / RECORD_NAME} knows {files[0]} attempts and {files[1]} verdicts, the "
            f"database {stored[0]} and {stored[1]}: it was restored from a backup or replaced; the run continues from "
            "the database, and later files are written again"
        )
        log.warning("database older than files", extra={"action": "database_older", "reason": reason})


def _steps(record: RunRecord) -> tuple[int, int, bool]:
    """How far a run is: attempts, verdicts, and whether it has a recommendation."""
    judged = sum(attempt.verdict is not None for attempt in record.attempts)
    return len(record.attempts), judged, record.recommendation is not None


def require_unchanged(context: RunContext, record: RunRecord) -> None:
    """Check that code, settings and candles of a run are unchanged.

    Raises:
        SettingsError: They differ; names all differences.
    """
    if found := changes(context, record):
        raise _changed(record.name, found)


def _changed(name: str, found: Mapping[str, tuple[str, str]]) -> SettingsError:
    differences = "; ".join(f"{what} (was {was}, now {now})" for what, (was, now) in found.items())
    return SettingsError(
        f"run {name}: changed since its start: {differences}: its trials would not be comparable; start a new run, "
        "or continue anyway: tradeschool optimize resume --force"
    )


def changes(context: RunContext, record: RunRecord) -> dict[str, tuple[str, str]]:
    """Changed inputs of a run by name, each as (before, now); missing candles are not included."""
    now = {
        "code": fingerprint.of_code(),
        "settings": fingerprint.of_settings(record.levels, context.min_coverage),
        **{
            name: digest
            for level in record.levels
            if context.is_ready(level)
            for name, digest in _digests(context, level)
        },
    }
    return fingerprint.changes({**record.fingerprints, **record.candles}, now)


def read_run(context: RunContext, name: str) -> RunRecord:
    """The record of a run in the study's database.

    Raises:
        SettingsError: There is none; the message says if its files exist.
        ServiceUnreachable: The database does not answer.
    """
    try:
        with opened(context) as runs:
            return runs.read(name)
    except SettingsError as error:
        if "no run" in str(error) and (context.folder(name) / RECORD_NAME).exists():
            raise SettingsError(
                f"{error}; its files are in {context.folder(name)}: was the study's database moved? Move it back, or "
                "set storage_url"
            ) from None
        raise


def next_of(context: RunContext, record: RunRecord) -> NextAction:
    """The next action of a run; checks only the candles that it needs."""
    names = frozenset(level.name for level in record.levels)
    action = next_action(record.facts(ready=names))
    if isinstance(action, End) or context.is_ready(record.level(action.level)):
        return action
    return next_action(record.facts(ready=names - {action.level}))


def end_reason(record: RunRecord, outcome: RunOutcome, level: str) -> str:
    """The outcome of a run in a sentence, with relaxed targets."""
    if outcome is RunOutcome.ESCALATED:
        attempts = sum(each.level == level for each in record.attempts)
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        return f"the gate of level {level} is not met{tried}"
    lowered = [each for each in record.attempts if each.verdict and each.verdict.passed and each.verdict.relaxed]
    said = ", ".join(f"level {each.level} by {each.verdict.relaxed:g}" for each in lowered if each.verdict)
    return f"every gate is met, with targets relaxed: {said}" if said else "every gate is met"


def under_way(context: RunContext) -> list[RunRecord]:
    """The active runs, and those whose process was killed."""
    marked = MarkedRuns(context.storage_url)
    try:
        return [read_run(context, name) for name in marked.owners()]
    finally:
        marked.close()


@contextmanager
def opened(context: RunContext) -> Iterator[RunStore]:
    """The table of runs until the block ends."""
    runs = RunStore(context.storage_url)
    try:
        yield runs
    finally:
        runs.close()


def save(context: RunContext, record: RunRecord) -> RunRecord:
    """Save a record in the database and in the run's folder, and return it."""
    with opened(context) as runs:
        runs.write(record)
    _copy(context, record)
    return record


def with_candles(context: RunContext, record: RunRecord, level: str) -> RunRecord:
    """The record with the digests of a level's candles; known ones stay, so that a change is noticed."""
    return record.model_copy(update={"candles": {**dict(_digests(context, record.level(level))), **record.candles}})


def _copy(context: RunContext, record: RunRecord) -> None:
    publish_text(
        context.results_dir, context.folder(record.name) / RECORD_NAME, record.model_dump_json(indent=1) + "\n"
    )
    write_lineage(context.results_dir, context.folder(record.name), record)


def _digests(context: RunContext, level: Level) -> list[tuple[str, str]]:
    return list(context.digests(level).items())


def _accept(context: RunContext, record: RunRecord, found: Mapping[str, tuple[str, str]]) -> RunRecord:
    now = datetime.now(UTC)
    forced = tuple(ForcedResume(time=now, what=what, was=was, now=is_now) for what, (was, is_now) in found.items())
    latest = {what: is_now for what, (_, is_now) in found.items()}
    log.warning("changes accepted", extra={"action": "changes_accepted", "run": record.name, "what": sorted(found)})
    return save(
        context,
        record.model_copy(
            update={
                "forced": (*record.forced, *forced),
                "fingerprints": {name: latest.get(name, digest) for name, digest in record.fingerprints.items()},
                "candles": {name: latest.get(name, digest) for name, digest in record.candles.items()},
            }
        ),
    )
