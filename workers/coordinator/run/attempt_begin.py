"""The start of an attempt at a level, and of each window of a walk-forward: what is fixed before the first trial."""

from optimizer.curriculum.earlier_choices import Inheritance, choices_of, depends_until, inherit
from optimizer.level.spec import Level
from optimizer.level.walk_forward import last_search
from optimizer.runs import fingerprint
from optimizer.runs.run_record import AttemptRow, RunRecord, WindowRow
from workers.coordinator.recorded_run import RecordedRun


def begin_attempt(run: RecordedRun, level: str, number: int) -> AttemptRow:
    """Start an attempt: fix fingerprints, inherited parameters and reused trials."""
    context, record = run.context, run.record
    written = record.level(level)
    inherited = inheritance(record, written, last_search(written))
    earlier = record.attempt(level, number - 1)
    attempt = AttemptRow(
        level=level,
        number=number,
        fingerprints={
            "code": record.fingerprints["code"],
            "candles": fingerprint.of_data(context.digests(written)),
        },
        inherited=inherited.parameters,
        inherited_reason=inherited.reason,
        until=depends_until(written, last_search(written), inherited, ()),
        reused=len(run.trials(earlier)) if earlier else 0,
        retries=record.planned_retries(level, number),
    )
    if attempt.retry:
        run.log_event("retry_planned", level=level, attempt=number, reason=attempt.retry.reason)
    trials = record.searched_level(attempt).trials
    run.log_event("level_started", level=level, attempt=number, trials=trials)
    return attempt


def begin_window(run: RecordedRun, attempt: AttemptRow, number: int) -> WindowRow:
    """Start a window of an attempt: fix what its search inherits, and its reused trials."""
    level = run.record.level(attempt.level)
    inherited = inheritance(run.record, level, number)
    earlier = run.record.attempt(attempt.level, attempt.number - 1)
    same = earlier.window(number) if earlier else None
    return WindowRow(
        number=number,
        inherited=inherited.parameters,
        inherited_reason=inherited.reason,
        until=depends_until(level, number, inherited, attempt.windows),
        reused=len(run.trials(earlier, same)) if earlier and same else 0,
    )


def inheritance(record: RunRecord, level: Level, number: int) -> Inheritance:
    """What search `number` of a level inherits from the nearest earlier level that passed its gate."""
    before = record.passed_before(level.name)
    row = record.last(before.name) if before else None
    winner = row.verdict.parameters if row and row.verdict else None
    return inherit(level, number, choices_of(row.level, row.windows, winner, row.until) if row else [])
