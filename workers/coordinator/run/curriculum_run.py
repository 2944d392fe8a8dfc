"""Executes a run: searches each level with the queue's workers, judges it, and finalizes the run."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from optimizer.curriculum.state_machine import End, Judge, NextAction, Recommend, RunOutcome, Search, Wait
from optimizer.level.spec import Level
from optimizer.runs.active_runs import RunMarker
from optimizer.runs.run_record import AttemptRow, RunRecord
from tradeschool.errors import LeadershipLost, ServiceUnreachable
from tradeschool.log import about
from workers.connection.reconnect import Outage
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import LeadershipLock, wait_for_leadership
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run.attempt_begin import begin_attempt
from workers.coordinator.run.finalize import FinalizeOptions, run_finalizer, write_results
from workers.coordinator.run.isolated_steps import judge
from workers.coordinator.run.level_search import (
    DispatcherFactory,
    ProgressCallback,
    SearchContext,
    queue_dispatchers,
    search,
)
from workers.coordinator.run.run_persistence import end_reason, next_of, read_run, require_unchanged, save, with_candles
from workers.coordinator.run.window_search import search_windows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """How a run ended."""

    record: RunRecord
    outcome: RunOutcome
    level: str
    """The last level that was tried."""

    @property
    def reason(self) -> str:
        """The outcome in a sentence."""
        return end_reason(self.record, self.outcome, self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunControl:
    """What the caller of a run decides: its stop, its progress reports, the wait for candles and the last step."""

    stop: Callable[[], bool]
    """Whether to stop before the end of the run."""
    on_progress: ProgressCallback
    """Called at each step of a search."""
    wait_for_candles: Callable[[Level], None] | None = None
    """Blocks until a level's candles are sealed; without it, they must be sealed already."""
    finalize: FinalizeOptions = field(default_factory=FinalizeOptions)


def run_levels(context: RunContext, name: str, redis_url: str, control: RunControl) -> EndedRun:
    """Execute a run to its end with the workers of a queue; returns at once if the run has ended.

    Waits while another process executes the run.

    Raises:
        KeyboardInterrupt: `control.stop` has returned True before the end.
        DataError: Candles are missing, too few, or changed.
        SettingsError: The candles are not those that the level's search began with.
        ServiceUnreachable: Redis or the study's database stays away.
        StoreUnwritable: The disk is full; what is stored stays.
    """
    return run_levels_with(queue_dispatchers(context, redis_url), context, name, control)


def run_levels_with(dispatchers: DispatcherFactory, context: RunContext, name: str, control: RunControl) -> EndedRun:
    """Execute a run with any dispatchers; see `run_levels`."""
    outage, action = Outage(), None
    with about(run=name), _logged(context, name), _marked(context, name) as mark:
        while True:
            try:
                with _acquire(context, name, control.stop) as leadership:
                    mark.set()
                    search_context = SearchContext(
                        dispatchers=dispatchers,
                        leadership=leadership,
                        outage=outage,
                        on_progress=control.on_progress,
                        stop=control.stop,
                    )
                    while not isinstance(action := next_of(context, record := read_run(context, name)), End):
                        run = RecordedRun(context=context, record=record)
                        with about(level=action.level):
                            _take_step(search_context, run, action, control)
                        outage.end()
                    write_results(context, record, action)
                    return EndedRun(record=record, outcome=action.outcome, level=action.level)
            except LeadershipLost as error:
                log.warning("leadership lost", extra={"action": "leadership_lost", "reason": str(error)})
            except ServiceUnreachable as error:
                if isinstance(action, Wait):  # raised by the download, which has ended
                    raise
                outage.wait(error)


def finalize_again(
    dispatchers: DispatcherFactory,
    context: RunContext,
    name: str,
    options: FinalizeOptions,
    stop: Callable[[], bool],
    *,
    surrogates: int = 0,
) -> RunRecord:
    """Extend the null test to `surrogates` markets, and renew the recommendation of an ended run.

    Raises:
        KeyboardInterrupt: `stop` has returned True.
        SettingsError: Code, settings or candles of the run have changed.
        LeadershipLost: Another process may execute the run.
        ServiceUnreachable: Redis stays away during the null test.
    """
    with about(run=name), _acquire(context, name, stop) as leadership:
        record = read_run(context, name)
        require_unchanged(context, record)
        search_context = SearchContext(
            dispatchers=dispatchers, leadership=leadership, outage=Outage(), on_progress=_no_progress, stop=stop
        )
        with run_finalizer(context, search_context, options) as finalizer:
            if surrogates:
                record = finalizer.with_null_test(record, surrogates)
            action = next_of(context, record.model_copy(update={"recommendation": None}))
            if isinstance(action, Recommend) and record.recommendation:
                record = finalizer.recommend(record, action)
                write_results(context, record, End(action.outcome, action.level))
        return record


@contextmanager
def _acquire(context: RunContext, name: str, stop: Callable[[], bool]) -> Iterator[LeadershipLock]:
    """Hold the run's lock until the block ends; waits for another holder first."""
    leadership = wait_for_leadership(context.storage_url, name, stop=stop, sleep=time.sleep)
    if leadership is None:
        raise KeyboardInterrupt
    try:
        yield leadership
    finally:
        leadership.release()


@contextmanager
def _marked(context: RunContext, name: str) -> Iterator[RunMarker]:
    """Mark the run as active: a standby continues it if this process is killed. Any other end clears the mark."""
    mark = RunMarker(context.storage_url, name)
    try:
        yield mark
    finally:
        try:
            mark.clear()
        except ServiceUnreachable as error:
            log.warning("run stays marked", extra={"action": "mark_not_cleared", "run": name, "reason": str(error)})


def _take_step(search_context: SearchContext, run: RecordedRun, action: NextAction, control: RunControl) -> None:
    context, record = run.context, run.record
    match action:
        case Wait(level):
            run.log_event("level_waiting", level=level, reason="for candles")
            (control.wait_for_candles or context.require_candles)(record.level(level))
        case Search(level, number):
            context.require_candles(record.level(level))
            attempt = record.attempt(level, number) or begin_attempt(run, level, number)
            record = save(context, with_candles(context, record.with_attempt(attempt), level))
            record = search_windows(search_context, run.with_record(record), attempt).record
            attempt = record.attempt(level, number) or attempt
            search(search_context, run.with_record(record), attempt, None)
            search_context.require_leadership()  # another process may have written to the run
            save(context, record.with_attempt(attempt.model_copy(update={"searched": True})))
        case Judge(level, number):
            context.require_candles(record.level(level))
            found = record.attempt(level, number)
            assert found is not None, "what is judged was begun"
            judged = judge(run, found, search_context.stop)
            search_context.require_leadership()
            _record_verdict(run, judged)
        case Recommend():
            with run_finalizer(context, search_context, control.finalize) as finalizer:
                finalizer.finalize(record, action)


def _no_progress(*_: object) -> None:
    """Report nothing: no trial is searched."""


def _record_verdict(run: RecordedRun, judged: AttemptRow) -> None:
    save(run.context, run.record.with_attempt(judged))
    verdict = judged.verdict
    assert verdict is not None, "it was judged"
    run.log_event(
        "level_passed" if verdict.passed else "level_failed",
        level=judged.level,
        attempt=judged.number,
        trial=verdict.trial,
        reason=verdict.reason,
    )


@contextmanager
def _logged(context: RunContext, name: str) -> Iterator[None]:
    """Record any exception as the event `run_interrupted`."""
    try:
        yield
    except BaseException as error:
        event_log.record(context.folder(name), "run_interrupted", run=name, reason=str(error) or type(error).__name__)
        raise
