"""A run's record: begun, read, resumed, written down at each step.

What a run is, and how far it is, stands in the study's database; so any process that reaches it can go on with it.
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
from optimizer.runs.run_store import SURROGATES, ForcedResume, RunRecord, RunStore
from optimizer.search.space import distributions
from tradeschool.errors import SettingsError
from tradeschool.store.atomic_files import publish_text
from workers.coordinator import event_log
from workers.coordinator.context import RunContext

RECORD_NAME = "run.json"
"""What the database knows of a run, copied into its folder at each step, so that its files are whole without it."""

log = logging.getLogger(__name__)


def new_run_name(now: datetime, seed: int) -> str:
    """Such as `20261122-181500-s7`."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-s{seed}"


def begin(
    context: RunContext, name: str, levels: tuple[Level, ...], seed: int, now: datetime, *, surrogates: int = SURROGATES
) -> RunRecord:
    """A new run, written down; `surrogates` as in `RunRecord`.

    Raises:
        SettingsError: where a level cannot be searched, or there is a run of that name.
        PeriodClosed: where a level names days of the holdout period.
    """
    if (context.folder(name) / RECORD_NAME).exists():
        raise SettingsError(
            f"there is a run {name} in {context.results_dir}; go on with it: tradeschool optimize resume"
        )
    for level in levels:
        distributions(level)
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
    """A run that was begun before; what has changed since is refused, or with `force` accepted and written down.

    Raises:
        SettingsError: where there is none, or code, settings or candles are not what it was begun with.
        ServiceUnreachable: where the study's database does not answer.
    """
    record = read_run(context, name)
    found = changes(context, record)
    if found and not force:
        raise _changed(name, found)
    if found:
        record = _accept(context, record, found)
    event_log.record(context.folder(name), "run_resumed", run=name, forced=[*found])
    return record


def require_unchanged(context: RunContext, record: RunRecord) -> None:
    """Refuse a run whose code, settings or candles are not what it was begun with.

    Raises:
        SettingsError: with all that differs.
    """
    if found := changes(context, record):
        raise _changed(record.name, found)


def _changed(name: str, found: Mapping[str, tuple[str, str]]) -> SettingsError:
    said = "; ".join(f"{what} (was {was}, now {now})" for what, (was, now) in found.items())
    return SettingsError(
        f"run {name}: changed since it was begun: {said}: its trials could not be compared; begin a new run, "
        "or mix them all the same: tradeschool optimize resume --force"
    )


def changes(context: RunContext, record: RunRecord) -> dict[str, tuple[str, str]]:
    """What a run depends on and is not as it was: before and now, by name. Candles that are gone are not named."""
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
    """A run as the study's database knows it.

    Raises:
        SettingsError: where there is none; says so where its files are there all the same.
        ServiceUnreachable: where the database does not answer.
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
    """What a run does next; of all candles, only those that it needs for that are looked for."""
    names = frozenset(level.name for level in record.levels)
    action = next_action(record.facts(ready=names))
    if isinstance(action, End) or context.is_ready(record.level(action.level)):
        return action
    return next_action(record.facts(ready=names - {action.level}))


def end_reason(record: RunRecord, outcome: RunOutcome, level: str) -> str:
    """How a run ended, in a sentence that says where targets were lowered."""
    if outcome is RunOutcome.ESCALATED:
        attempts = sum(each.level == level for each in record.attempts)
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        return f"the gate of level {level} is not met{tried}"
    lowered = [each for each in record.attempts if each.verdict and each.verdict.passed and each.verdict.relaxed]
    said = ", ".join(f"level {each.level} by {each.verdict.relaxed:g}" for each in lowered if each.verdict)
    return f"every gate is met, with targets relaxed: {said}" if said else "every gate is met"


def under_way(context: RunContext) -> list[RunRecord]:
    """The runs that some process is at work on, or was when it was killed."""
    marked = MarkedRuns(context.storage_url)
    try:
        return [read_run(context, name) for name in marked.owners()]
    finally:
        marked.close()


@contextmanager
def opened(context: RunContext) -> Iterator[RunStore]:
    """The table of runs, for as long as the block lasts."""
    runs = RunStore(context.storage_url)
    try:
        yield runs
    finally:
        runs.close()


def save(context: RunContext, record: RunRecord) -> RunRecord:
    """Write down how far a run is, in the database and as a file; the run itself, for what comes next."""
    with opened(context) as runs:
        runs.write(record)
    _copy(context, record)
    return record


def with_candles(context: RunContext, record: RunRecord, level: str) -> RunRecord:
    """With the digests of what the level looks at; those that are known stay, so that a change is noticed."""
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
