"""A run's record: begun, read, resumed, written down at each step.

What a run is, and how far it is, stands in the study's database; so any process that reaches it can go on with it.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import ValidationError

from optimizer.curriculum.state_machine import Action, End, Outcome, next_action
from optimizer.level.spec import Level
from optimizer.report.files import write_lineage
from optimizer.runs import fingerprint
from optimizer.runs.active_runs import MarkedRuns
from optimizer.runs.run_store import SURROGATES, Forced, RunRecord, Runs
from optimizer.search.space import distributions
from tradeschool.errors import SettingsError
from tradeschool.store.atomic_files import publish_text
from workers.coordinator import event_log
from workers.coordinator.context import Place

RECORD_NAME = "run.json"
"""What the database knows of a run, copied into its folder at each step, so that its files are whole without it."""

log = logging.getLogger(__name__)


def new_run_name(now: datetime, seed: int) -> str:
    """Such as `20261122-181500-s7`."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-s{seed}"


def begin(
    place: Place, name: str, levels: tuple[Level, ...], seed: int, now: datetime, *, surrogates: int = SURROGATES
) -> RunRecord:
    """A new run, written down; `surrogates` as in `RunRecord`.

    Raises:
        SettingsError: where a level cannot be searched, or there is a run of that name.
        PeriodClosed: where a level names days of the sealed period.
    """
    if (place.folder(name) / RECORD_NAME).exists():
        raise SettingsError(f"there is a run {name} in {place.results_dir}; go on with it: tradeschool optimize resume")
    for level in levels:
        distributions(level)
        place.is_ready(level)
    fingerprints = {
        "code": fingerprint.of_code(),
        "settings": fingerprint.of_settings(levels, place.min_coverage),
    }
    try:
        record = RunRecord(
            name=name, seed=seed, levels=levels, created=now, fingerprints=fingerprints, surrogates=surrogates
        )
    except ValidationError:
        raise SettingsError(f"run name {name!r}: expected up to 64 letters, digits, dashes and underscores") from None
    with opened(place) as runs:
        runs.add(record)
    _copy(place, record)
    event_log.record(place.folder(name), "run_started", run=name, seed=seed)
    return record


def resume(place: Place, name: str, *, force: bool = False) -> RunRecord:
    """A run that was begun before; what has changed since is refused, or with `force` accepted and written down.

    Raises:
        SettingsError: where there is none, or code, settings or candles are not what it was begun with.
        ServiceUnreachable: where the study's database does not answer.
    """
    record = read_run(place, name)
    found = changes(place, record)
    if found and not force:
        raise _changed(name, found)
    if found:
        record = _accept(place, record, found)
    event_log.record(place.folder(name), "run_resumed", run=name, forced=[*found])
    return record


def require_unchanged(place: Place, record: RunRecord) -> None:
    """Refuse a run whose code, settings or candles are not what it was begun with.

    Raises:
        SettingsError: with all that differs.
    """
    if found := changes(place, record):
        raise _changed(record.name, found)


def _changed(name: str, found: Mapping[str, tuple[str, str]]) -> SettingsError:
    said = "; ".join(f"{what} (was {was}, now {now})" for what, (was, now) in found.items())
    return SettingsError(
        f"run {name}: changed since it was begun: {said}: its trials could not be compared; begin a new run, "
        "or mix them all the same: tradeschool optimize resume --force"
    )


def changes(place: Place, record: RunRecord) -> dict[str, tuple[str, str]]:
    """What a run depends on and is not as it was: before and now, by name. Candles that are gone are not named."""
    now = {
        "code": fingerprint.of_code(),
        "settings": fingerprint.of_settings(record.levels, place.min_coverage),
        **{name: digest for level in record.levels if place.is_ready(level) for name, digest in _digests(place, level)},
    }
    return fingerprint.changes({**record.fingerprints, **record.candles}, now)


def read_run(place: Place, name: str) -> RunRecord:
    """A run as the study's database knows it.

    Raises:
        SettingsError: where there is none; says so where its files are there all the same.
        ServiceUnreachable: where the database does not answer.
    """
    try:
        with opened(place) as runs:
            return runs.read(name)
    except SettingsError as error:
        if "no run" in str(error) and (place.folder(name) / RECORD_NAME).exists():
            raise SettingsError(
                f"{error}; its files are in {place.folder(name)}: was the study's database moved? Move it back, or "
                "set storage_url"
            ) from None
        raise


def next_of(place: Place, record: RunRecord) -> Action:
    """What a run does next; of all candles, only those that it needs for that are looked for."""
    names = frozenset(level.name for level in record.levels)
    action = next_action(record.facts(ready=names))
    if isinstance(action, End) or place.is_ready(record.level(action.level)):
        return action
    return next_action(record.facts(ready=names - {action.level}))


def end_reason(record: RunRecord, outcome: Outcome, level: str) -> str:
    """How a run ended, in a sentence that says where targets were lowered."""
    if outcome is Outcome.ESCALATED:
        attempts = sum(each.level == level for each in record.attempts)
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        return f"the gate of level {level} is not met{tried}"
    lowered = [each for each in record.attempts if each.verdict and each.verdict.passed and each.verdict.relaxed]
    said = ", ".join(f"level {each.level} by {each.verdict.relaxed:g}" for each in lowered if each.verdict)
    return f"every gate is met, with targets relaxed: {said}" if said else "every gate is met"


def under_way(place: Place) -> list[RunRecord]:
    """The runs that some process is at work on, or was when it was killed."""
    marked = MarkedRuns(place.storage_url)
    try:
        return [read_run(place, name) for name in marked.owners()]
    finally:
        marked.close()


@contextmanager
def opened(place: Place) -> Iterator[Runs]:
    """The table of runs, for as long as the block lasts."""
    runs = Runs(place.storage_url)
    try:
        yield runs
    finally:
        runs.close()


def save(place: Place, record: RunRecord) -> RunRecord:
    """Write down how far a run is, in the database and as a file; the run itself, for what comes next."""
    with opened(place) as runs:
        runs.write(record)
    _copy(place, record)
    return record


def with_candles(place: Place, record: RunRecord, level: str) -> RunRecord:
    """With the digests of what the level looks at; those that are known stay, so that a change is noticed."""
    return record.model_copy(update={"candles": {**dict(_digests(place, record.level(level))), **record.candles}})


def _copy(place: Place, record: RunRecord) -> None:
    publish_text(place.results_dir, place.folder(record.name) / RECORD_NAME, record.model_dump_json(indent=1) + "\n")
    write_lineage(place.results_dir, place.folder(record.name), record)


def _digests(place: Place, level: Level) -> list[tuple[str, str]]:
    return list(place.digests(level).items())


def _accept(place: Place, record: RunRecord, found: Mapping[str, tuple[str, str]]) -> RunRecord:
    now = datetime.now(UTC)
    forced = tuple(Forced(time=now, what=what, was=was, now=is_now) for what, (was, is_now) in found.items())
    latest = {what: is_now for what, (_, is_now) in found.items()}
    log.warning("changes accepted", extra={"action": "changes_accepted", "run": record.name, "what": sorted(found)})
    return save(
        place,
        record.model_copy(
            update={
                "forced": (*record.forced, *forced),
                "fingerprints": {name: latest.get(name, digest) for name, digest in record.fingerprints.items()},
                "candles": {name: latest.get(name, digest) for name, digest in record.candles.items()},
            }
        ),
    )
