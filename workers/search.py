"""A run from its first trial to its end: each level searched by the queue's workers, and judged here.

What a run is, and how far it is, stands in the study's database; so any process that reaches it can go on with it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from optimizer import fingerprint
from optimizer.curriculum import Action, End, Judge, Outcome, Search, Wait, next_action
from optimizer.distributions import distributions
from optimizer.level import Level
from optimizer.report.files import write_escalation, write_lineage
from optimizer.runs import AttemptRow, Forced, RunRecord, Runs
from tradeschool.errors import RoleLost, ServiceUnreachable, SettingsError
from tradeschool.log import about
from tradeschool.store.files import publish_text
from workers import events
from workers.attempt import Carriers, Means, Tell, begin_attempt, judge, queue_carriers, search_attempt
from workers.outage import Outage
from workers.place import Place
from workers.role import Role, wait_to_claim

RECORD_NAME = "run.json"
"""What the database knows of a run, copied into its folder at each step, so that its files are whole without it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended."""

    record: RunRecord
    outcome: Outcome
    level: str
    """The last one that was tried."""

    @property
    def reason(self) -> str:
        """In a sentence."""
        return end_reason(self.record, self.outcome, self.level)


def end_reason(record: RunRecord, outcome: Outcome, level: str) -> str:
    """How a run ended, in a sentence that says where targets were lowered."""
    if outcome is Outcome.ESCALATED:
        attempts = sum(each.level == level for each in record.attempts)
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        return f"the gate of level {level} is not met{tried}"
    lowered = [each for each in record.attempts if each.verdict and each.verdict.passed and each.verdict.relaxed]
    said = ", ".join(f"level {each.level} by {each.verdict.relaxed:g}" for each in lowered if each.verdict)
    return f"every gate is met, with targets relaxed: {said}" if said else "every gate is met"


def new_run_name(now: datetime, seed: int) -> str:
    """Such as `20261122-181500-s7`."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-s{seed}"


def begin(place: Place, name: str, levels: tuple[Level, ...], seed: int, now: datetime) -> RunRecord:
    """A new run, written down.

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
        record = RunRecord(name=name, seed=seed, levels=levels, created=now, fingerprints=fingerprints)
    except ValidationError:
        raise SettingsError(f"run name {name!r}: expected up to 64 letters, digits, dashes and underscores") from None
    with opened(place) as runs:
        runs.add(record)
    _copy(place, record)
    events.record(place.folder(name), "run_started", run=name, seed=seed)
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
        said = "; ".join(f"{what} (was {was}, now {now})" for what, (was, now) in found.items())
        raise SettingsError(
            f"run {name}: changed since it was begun: {said}: its trials could not be compared; begin a new run, "
            "or mix them all the same: --force"
        )
    if found:
        record = _accept(place, record, found)
    events.record(place.folder(name), "run_resumed", run=name, forced=[*found])
    return record


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


def unfinished(place: Place) -> list[str]:
    """The names of the runs that are not at their end, whoever is at work on them."""
    with opened(place) as runs:
        return [record.name for record in runs.all() if not isinstance(next_of(place, record), End)]


def carry_on(
    place: Place,
    name: str,
    redis_url: str,
    tell: Tell,
    stop: Callable[[], bool],
    wait: Callable[[Level], None] | None = None,
) -> Ended:
    """Go on with a run until it ends, its trials evaluated by the workers of a queue; one that has ended ends at once.

    Takes the place of a process that is gone, and waits for one that is at work. `tell` hears of each step of a
    search. `wait` returns once a level's candles are there; without it, they have to be.

    Raises:
        KeyboardInterrupt: where `stop` says so before the end.
        DataError: which candles are missing, too few, or changed.
        SettingsError: where the candles are not those that the level's search was begun with.
        ServiceUnreachable: where Redis or the study's database stays away.
        StoreUnwritable: where the disk takes no more; what is stored stays.
    """
    return carry_on_with(queue_carriers(place, redis_url), place, name, tell, stop, wait)


def carry_on_with(
    carriers: Carriers,
    place: Place,
    name: str,
    tell: Tell,
    stop: Callable[[], bool],
    wait: Callable[[Level], None] | None = None,
) -> Ended:
    """The same, whoever evaluates."""
    outage, action = Outage(), None
    with about(run=name), _told(place, name):
        while True:
            try:
                with _role(place, name, stop) as role:
                    means = Means(carriers=carriers, role=role, outage=outage, tell=tell, stop=stop)
                    while not isinstance(action := next_of(place, record := read_run(place, name)), End):
                        with about(level=action.level):
                            _take_step(means, place, record, action, wait or place.require_candles)
                        outage.end()
                    _write_end(place, record, action)
                    return Ended(record=record, outcome=action.outcome, level=action.level)
            except RoleLost as error:
                log.warning("role lost", extra={"action": "role_lost", "reason": str(error)})
            except ServiceUnreachable as error:
                if isinstance(action, Wait):  # it is the download that has ended, and waits no more
                    raise
                outage.bear(error)


@contextmanager
def _role(place: Place, name: str, stop: Callable[[], bool]) -> Iterator[Role]:
    """The run's role, as soon as nobody else holds it, until the block ends."""
    role = wait_to_claim(place.storage_url, name, stop=stop, sleep=time.sleep)
    if role is None:
        raise KeyboardInterrupt
    try:
        yield role
    finally:
        role.release()


def _take_step(means: Means, place: Place, record: RunRecord, action: Action, wait: Callable[[Level], None]) -> None:
    match action:
        case Wait(level):
            events.record(place.folder(record.name), "level_waiting", level=level, reason="for candles")
            wait(record.level(level))
        case Search(level, number):
            place.require_candles(record.level(level))
            attempt = record.attempt(level, number) or begin_attempt(place, record, level, number)
            record = _save(place, _with_candles(place, record.with_attempt(attempt), level))
            search_attempt(means, place, record, attempt)
            means.require_role()  # what another process has written since must stay
            _save(place, record.with_attempt(attempt.model_copy(update={"searched": True})))
        case Judge(level, number):
            place.require_candles(record.level(level))
            found = record.attempt(level, number)
            assert found is not None, "what is judged was begun"
            judged = judge(place, record, found)
            means.require_role()
            _tell_verdict(place, record, judged)


def _tell_verdict(place: Place, record: RunRecord, judged: AttemptRow) -> None:
    record = _save(place, record.with_attempt(judged))
    verdict = judged.verdict
    assert verdict is not None, "it was judged"
    events.record(
        place.folder(record.name),
        "level_passed" if verdict.passed else "level_missed",
        level=judged.level,
        attempt=judged.number,
        trial=verdict.trial,
        reason=verdict.reason,
    )


def _write_end(place: Place, record: RunRecord, end: End) -> None:
    """Idempotent: a run that has ended writes the same files again, and no second event."""
    folder, level = place.folder(record.name), record.level(end.level)
    write_lineage(place.results_dir, folder, record)
    reason = end_reason(record, end.outcome, end.level)
    known = {event.name for event in events.read(folder)}
    if end.outcome is Outcome.ESCALATED:
        missed = [each.verdict.shortfall for each in record.attempts if each.level == end.level and each.verdict]
        write_escalation(place.results_dir, folder, level, missed)
        if "level_escalated" not in known:
            events.record(folder, "level_escalated", level=end.level, attempt=len(missed), reason=reason)
    if "run_finished" not in known:
        events.record(folder, "run_finished", run=record.name, outcome=end.outcome, reason=reason)


@contextmanager
def _told(place: Place, name: str) -> Iterator[None]:
    """What ends the work before the run's end is an event."""
    try:
        yield
    except BaseException as error:
        events.record(place.folder(name), "run_interrupted", run=name, reason=str(error) or type(error).__name__)
        raise


@contextmanager
def opened(place: Place) -> Iterator[Runs]:
    """The table of runs, for as long as the block lasts."""
    runs = Runs(place.storage_url)
    try:
        yield runs
    finally:
        runs.close()


def _save(place: Place, record: RunRecord) -> RunRecord:
    with opened(place) as runs:
        runs.write(record)
    _copy(place, record)
    return record


def _copy(place: Place, record: RunRecord) -> None:
    publish_text(place.results_dir, place.folder(record.name) / RECORD_NAME, record.model_dump_json(indent=1) + "\n")
    write_lineage(place.results_dir, place.folder(record.name), record)


def _with_candles(place: Place, record: RunRecord, level: str) -> RunRecord:
    """With the digests of what the level looks at; those that are known stay, so that a change is noticed."""
    return record.model_copy(update={"candles": {**dict(_digests(place, record.level(level))), **record.candles}})


def _digests(place: Place, level: Level) -> list[tuple[str, str]]:
    return list(place.digests(level).items())


def _accept(place: Place, record: RunRecord, found: Mapping[str, tuple[str, str]]) -> RunRecord:
    now = datetime.now(UTC)
    forced = tuple(Forced(time=now, what=what, was=was, now=is_now) for what, (was, is_now) in found.items())
    latest = {what: is_now for what, (_, is_now) in found.items()}
    log.warning("changes accepted", extra={"action": "changes_accepted", "run": record.name, "what": sorted(found)})
    return _save(
        place,
        record.model_copy(
            update={
                "forced": (*record.forced, *forced),
                "fingerprints": {name: latest.get(name, digest) for name, digest in record.fingerprints.items()},
                "candles": {name: latest.get(name, digest) for name, digest in record.candles.items()},
            }
        ),
    )
