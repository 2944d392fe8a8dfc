"""The last step of a run: null test, recommendation and result files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.curriculum.state_machine import End, Recommend, RunOutcome
from optimizer.report.files import write_escalation, write_lineage, write_null_test, write_report
from optimizer.runs.run_record import RunRecord
from optimizer.validation.analyses.null_test import null_test_of
from optimizer.validation.evidence import NullRun
from optimizer.validation.recommendation import needs_null_test
from tradeschool.atomic_files import append_line
from tradeschool.errors import StoreUnwritable
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run import isolated_steps
from workers.coordinator.run.level_search import SearchContext
from workers.coordinator.run.run_persistence import end_reason, save
from workers.coordinator.study.coordinator import coordinate
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.coordinator.study.surrogate_run import MissingMarkets, SurrogateRun
from workers.processes.process_group import ProcessGroup, cores, process_group
from workers.queue.job_names import null_study
from workers.queue.messages import curriculum_digests

NULL_TEST_NAME = "null.jsonl"
"""File in a run's folder with the outcome of each surrogate market, so that none is searched twice."""

NullTestCallback = Callable[[int, int], None]
"""Called again and again with the finished surrogate markets and their planned number."""


def _nothing(*_: object) -> None:
    """Do nothing: the default of optional callbacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeOptions:
    """Options of a run's last step."""

    processes: int = field(default_factory=cores)
    on_null_test: NullTestCallback = _nothing
    wait_for_holdout: Callable[[Callable[[], bool]], None] = _nothing
    """Blocks until the given function returns True, or the download of the holdout period has ended."""


class RunFinalizer:
    """Executes the last step of a run under its lock; made by `run_finalizer`."""

    def __init__(
        self, context: RunContext, search_context: SearchContext, options: FinalizeOptions, processes: ProcessGroup
    ) -> None:
        self._context, self._search_context, self._options = context, search_context, options
        self._processes = processes

    def finalize(self, record: RunRecord, action: Recommend) -> RunRecord:
        """Run the null test and store the recommendation; the updated record.

        Raises:
            KeyboardInterrupt: `stop` has returned True.
            LeadershipLost: Another process may execute the run.
            DataError: Candles of the run are missing, or changed.
            ServiceUnreachable: Redis stays away during the null test.
        """
        last = record.levels[-1]
        if record.verdicts.keys() & {last.name}:
            self._options.wait_for_holdout(lambda: self._context.holdout_missing(last) is None)
        if action.outcome is not RunOutcome.PASSED:
            attempt, reason = record.last(action.level), end_reason(record, action.outcome, action.level)
            assert attempt is not None, "what is given up was tried"
            folder = self._context.folder(record.name)
            _record_once(folder, "level_escalated", level=action.level, attempt=attempt.number, reason=reason)
        if record.surrogates and needs_null_test(record.levels, record.verdicts):
            record = self.with_null_test(record, record.surrogates)
        return self.recommend(record, action)

    def recommend(self, record: RunRecord, action: Recommend) -> RunRecord:
        """Store the recommendation, with the null test so far; the updated record.

        Raises:
            KeyboardInterrupt, LeadershipLost, DataError: As `finalize`.
        """
        recommendation = isolated_steps.evaluate(
            RecordedRun(context=self._context, record=record), action, self._processes, self._search_context.stop
        )
        self._search_context.require_leadership()
        before = record.recommendation
        if before is None or (before.action, before.reason) != (recommendation.action, recommendation.reason):
            said = f"{recommendation.rule}: {recommendation.reason}"
            self._record(record, "recommendation", action=recommendation.action_words, reason=said)
        return save(self._context, record.model_copy(update={"recommendation": recommendation}))

    def with_null_test(self, record: RunRecord, count: int) -> RunRecord:
        """Run the null test of a run over at least `count` surrogate markets; the updated record.

        The markets are jobs on the queue. Finished ones are kept in a file; a kill loses only those in progress.

        Raises:
            DataIncomplete: Every worker that was asked lacks candles, or holds others.
            KeyboardInterrupt, LeadershipLost, DataError, ServiceUnreachable: As `finalize`.
        """
        for level in record.levels:
            self._context.require_candles(level)
        folder = self._context.folder(record.name)
        null = null_test_of(record.levels, [*self._null_runs(record, folder / NULL_TEST_NAME, count).values()])
        self._search_context.require_leadership()
        if null is None or record.null_test == null:
            return record
        write_null_test(self._context.results_dir, folder, null)
        self._record(record, "null_test_measured", said=null.sentence)
        return save(self._context, record.model_copy(update={"null_test": null}))

    def _null_runs(self, record: RunRecord, path: Path, count: int) -> dict[int, NullRun]:
        """The outcomes in the file plus the missing ones."""
        null_runs, given_up = read_null_runs(path), set[int]()
        study = null_study(record.name)
        if all(number in null_runs for number in range(count)):
            return null_runs
        digests = curriculum_digests(record.levels, self._context.searched(record.levels[0]))
        digests |= self._context.module_digests(record.levels)

        def report(progress: object) -> None:
            del progress
            self._options.on_null_test(len(null_runs), max(count, len(null_runs)))

        def on_run(null_run: NullRun) -> None:
            append_line(path, null_run.model_dump_json())
            null_runs[null_run.surrogate] = null_run
            report(null_run)

        def give_up(number: int, reason: str) -> None:
            given_up.add(number)
            self._record(record, "surrogate_given_up", surrogate=number, reason=reason)

        def make() -> SurrogateRun:
            self._search_context.require_leadership()
            ended = null_runs.keys() | given_up
            numbers = [number for number in range(count) if number not in ended]
            return SurrogateRun(
                MissingMarkets(study=study, levels=record.levels, seed=record.seed, digests=digests, numbers=numbers),
                dispatcher=self._search_context.dispatchers(study),
                settings=CoordinatorSettings(),
                on_run=on_run,
                given_up=give_up,
            )

        stop, outage = self._search_context.stop, self._search_context.outage
        if coordinate(make, outage=outage, stop=stop, report=report) is None:
            raise KeyboardInterrupt
        return null_runs

    def _record(self, record: RunRecord, event: str, **facts: JsonValue) -> None:
        event_log.record(self._context.folder(record.name), event, **facts)


@contextmanager
def run_finalizer(
    context: RunContext, search_context: SearchContext, options: FinalizeOptions
) -> Iterator[RunFinalizer]:
    """A finalizer with `options.processes` processes until the block ends."""
    with process_group(options.processes) as processes:
        yield RunFinalizer(context, search_context, options, processes)


def write_results(context: RunContext, record: RunRecord, end: End) -> None:
    """Write the files of an ended run. Idempotent: writes the same files, and one event."""
    folder = context.folder(record.name)
    write_lineage(context.results_dir, folder, record)
    write_report(context.results_dir, folder, record, context.candle_shares(record.levels))
    if end.outcome is RunOutcome.ESCALATED:
        missed = [each.verdict.shortfall for each in record.attempts if each.level == end.level and each.verdict]
        write_escalation(context.results_dir, folder, record.level(end.level), missed)
    reason = end_reason(record, end.outcome, end.level)
    _record_once(folder, "run_finished", run=record.name, outcome=end.outcome, reason=reason)


def _record_once(folder: Path, event: str, **facts: JsonValue) -> None:
    if event not in {known.name for known in event_log.read(folder)}:
        event_log.record(folder, event, **facts)


def read_null_runs(path: Path) -> dict[int, NullRun]:
    """The complete outcomes of a file by number.

    Raises:
        StoreUnwritable: The file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreUnwritable(f"cannot read {path}: {error.strerror or error}; fix permissions") from error
    found = {}
    for line in lines:
        with suppress(ValidationError):  # cut by a kill
            null_run = NullRun.model_validate_json(line)
            found[null_run.surrogate] = null_run
    return found
