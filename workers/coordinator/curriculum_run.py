"""A run from its first trial to its end: each level searched by the queue's workers, and judged here."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from optimizer.curriculum.state_machine import Action, End, Judge, Outcome, Recommend, Search, Wait
from optimizer.level.spec import Level
from optimizer.runs.active_runs import Mark
from optimizer.runs.run_store import AttemptRow, RunRecord
from tradeschool.errors import RoleLost, ServiceUnreachable
from tradeschool.log import about
from workers.connection.reconnect import Outage
from workers.coordinator import event_log
from workers.coordinator.context import Place
from workers.coordinator.finalize import Finale, concluding, write_end
from workers.coordinator.isolated_steps import judge
from workers.coordinator.leadership import Role, wait_to_claim
from workers.coordinator.level_search import Carriers, Means, Tell, begin_attempt, queue_carriers, search_attempt
from workers.coordinator.run_record import end_reason, next_of, read_run, require_unchanged, save, with_candles

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


def carry_on(
    place: Place,
    name: str,
    redis_url: str,
    tell: Tell,
    stop: Callable[[], bool],
    wait: Callable[[Level], None] | None = None,
    finale: Finale | None = None,
) -> Ended:
    """Go on with a run until it ends, its trials evaluated by the workers of a queue; one that has ended ends at once.

    Takes the place of a process that is gone, and waits for one that is at work. `tell` hears of each step of a
    search. `wait` returns once a level's candles are there; without it, they have to be. `finale` is how its last
    step is made.

    Raises:
        KeyboardInterrupt: where `stop` says so before the end.
        DataError: which candles are missing, too few, or changed.
        SettingsError: where the candles are not those that the level's search was begun with.
        ServiceUnreachable: where Redis or the study's database stays away.
        StoreUnwritable: where the disk takes no more; what is stored stays.
    """
    return carry_on_with(queue_carriers(place, redis_url), place, name, tell, stop, wait, finale)


def carry_on_with(
    carriers: Carriers,
    place: Place,
    name: str,
    tell: Tell,
    stop: Callable[[], bool],
    wait: Callable[[Level], None] | None = None,
    finale: Finale | None = None,
) -> Ended:
    """The same, whoever evaluates."""
    outage, action = Outage(), None
    with about(run=name), _told(place, name), _marked(place, name) as mark:
        while True:
            try:
                with _role(place, name, stop) as role:
                    mark.set()
                    means = Means(carriers=carriers, role=role, outage=outage, tell=tell, stop=stop)
                    while not isinstance(action := next_of(place, record := read_run(place, name)), End):
                        with about(level=action.level):
                            _take_step(means, place, record, action, wait or place.require_candles, finale or Finale())
                        outage.end()
                    write_end(place, record, action)
                    return Ended(record=record, outcome=action.outcome, level=action.level)
            except RoleLost as error:
                log.warning("role lost", extra={"action": "role_lost", "reason": str(error)})
            except ServiceUnreachable as error:
                if isinstance(action, Wait):  # it is the download that has ended, and waits no more
                    raise
                outage.bear(error)


def conclude_again(
    place: Place,
    name: str,
    finale: Finale,
    stop: Callable[[], bool],
    *,
    levels: Sequence[str] = (),
    surrogates: int = 0,
) -> RunRecord:
    """The run with the luck of these levels measured over at least so many markets, and weighed anew if it is over.

    Raises:
        KeyboardInterrupt: where `stop` said so.
        SettingsError: where a level was not judged, or code, settings or candles of the run have changed.
        RoleLost: where another process may be at work on the run.
    """
    with about(run=name), _role(place, name, stop) as role:
        record = read_run(place, name)
        require_unchanged(place, record)
        with concluding(place, role, stop, finale) as conclusion:
            for level in levels:
                record = conclusion.with_luck(record, level, surrogates)
            action = next_of(place, record.model_copy(update={"recommendation": None}))
            if isinstance(action, Recommend):
                record = conclusion.conclude(record, action)
                write_end(place, record, End(action.outcome, action.level))
        return record


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


@contextmanager
def _marked(place: Place, name: str) -> Iterator[Mark]:
    """The mark that lets another process go on with the run where this one is killed; any other end clears it."""
    mark = Mark(place.storage_url, name)
    try:
        yield mark
    finally:
        try:
            mark.clear()
        except ServiceUnreachable as error:
            log.warning("run stays marked", extra={"action": "mark_not_cleared", "run": name, "reason": str(error)})


def _take_step(
    means: Means,
    place: Place,
    record: RunRecord,
    action: Action,
    wait: Callable[[Level], None],
    finale: Finale,
) -> None:
    match action:
        case Wait(level):
            event_log.record(place.folder(record.name), "level_waiting", level=level, reason="for candles")
            wait(record.level(level))
        case Search(level, number):
            place.require_candles(record.level(level))
            attempt = record.attempt(level, number) or begin_attempt(place, record, level, number)
            record = save(place, with_candles(place, record.with_attempt(attempt), level))
            search_attempt(means, place, record, attempt)
            means.require_role()  # what another process has written since must stay
            save(place, record.with_attempt(attempt.model_copy(update={"searched": True})))
        case Judge(level, number):
            place.require_candles(record.level(level))
            found = record.attempt(level, number)
            assert found is not None, "what is judged was begun"
            judged = judge(place, record, found, means.stop)
            means.require_role()
            _tell_verdict(place, record, judged)
        case Recommend():
            with concluding(place, means.role, means.stop, finale) as conclusion:
                conclusion.conclude(record, action)


def _tell_verdict(place: Place, record: RunRecord, judged: AttemptRow) -> None:
    record = save(place, record.with_attempt(judged))
    verdict = judged.verdict
    assert verdict is not None, "it was judged"
    event_log.record(
        place.folder(record.name),
        "level_passed" if verdict.passed else "level_missed",
        level=judged.level,
        attempt=judged.number,
        trial=verdict.trial,
        reason=verdict.reason,
    )


@contextmanager
def _told(place: Place, name: str) -> Iterator[None]:
    """What ends the work before the run's end is an event."""
    try:
        yield
    except BaseException as error:
        event_log.record(place.folder(name), "run_interrupted", run=name, reason=str(error) or type(error).__name__)
        raise
