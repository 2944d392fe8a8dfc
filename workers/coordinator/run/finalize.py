"""The last step of a run: null tests, recommendation and result files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from optimizer.curriculum.state_machine import End, Recommend, RunOutcome
from optimizer.report.files import write_escalation, write_lineage, write_null_test, write_report
from optimizer.runs.run_store import RunRecord
from optimizer.validation.analyses.null_test import NullTestSpec, null_test_of
from optimizer.validation.evidence import NullRun
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.store.atomic_files import append_line
from workers.coordinator import event_log
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import LeadershipLock, require_leadership
from workers.coordinator.run import isolated_steps
from workers.coordinator.run.run_record import end_reason, save
from workers.processes.process_group import ProcessGroup, cores, process_group

NULL_TEST_NAME = "null.jsonl"
"""File in a level's folder with the outcome of each surrogate market, so that none is searched twice."""

NullTestCallback = Callable[[str, int, int], None]
"""Called with a level, the finished surrogate markets and their planned number."""


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
        self,
        context: RunContext,
        leadership: LeadershipLock,
        stop: Callable[[], bool],
        options: FinalizeOptions,
        processes: ProcessGroup,
    ) -> None:
        self._context, self._leadership, self._stop, self._options, self._processes = (
            context,
            leadership,
            stop,
            options,
            processes,
        )

    def finalize(self, record: RunRecord, action: Recommend) -> RunRecord:
        """Run the null tests and store the recommendation; the updated record.

        Raises:
            KeyboardInterrupt: `stop` has returned True.
            LeadershipLost: Another process may execute the run.
            DataError: Candles of the run are missing, or changed.
        """
        if action.outcome is RunOutcome.PASSED:
            self._options.wait_for_holdout(lambda: self._context.holdout_missing(record.level(action.level)) is None)
        else:
            attempt, reason = record.last(action.level), end_reason(record, action.outcome, action.level)
            assert attempt is not None, "what is given up was tried"
            folder = self._context.folder(record.name)
            _record_once(folder, "level_escalated", level=action.level, attempt=attempt.number, reason=reason)
        # A null test of a failed gate has no meaning.
        passed = [row.level for row in record.attempts if row.verdict and row.verdict.passed]
        for level in passed if record.surrogates else ():
            record = self.with_null_test(record, level, record.surrogates)
        recommendation = isolated_steps.evaluate(self._context, record, action, self._processes, self._stop)
        require_leadership(self._leadership)
        before = record.recommendation
        if before is None or (before.action, before.reason) != (recommendation.action, recommendation.reason):
            said = f"{recommendation.rule}: {recommendation.reason}"
            self._record(record, "recommendation", action=recommendation.action_words, reason=said)
        return save(self._context, record.model_copy(update={"recommendation": recommendation}))

    def with_null_test(self, record: RunRecord, level: str, count: int) -> RunRecord:
        """Run the null test of a judged level over at least `count` surrogate markets; the updated record.

        Finished markets are kept in a file; a kill loses only those in progress.

        Raises:
            SettingsError: The level was not judged.
            KeyboardInterrupt, LeadershipLost, DataError: As `finalize`.
        """
        rows = [row for row in record.attempts if row.level == level and row.verdict]
        if not rows:
            raise SettingsError(f"run {record.name}: level {level} was not judged yet")
        self._context.require_candles(record.level(level))
        null_spec = NullTestSpec(
            level=record.level(level), attempts=len(rows), inherited=rows[0].inherited, seed=record.seed
        )
        null = null_test_of(
            null_spec, self._null_runs(self._context.folder(record.name) / level / NULL_TEST_NAME, null_spec, count)
        )
        require_leadership(self._leadership)
        write_null_test(self._context.results_dir, self._context.folder(record.name), level, null)
        if record.null_tests.get(level) == null:
            return record
        self._record(record, "null_test_measured", level=level, said=null.sentence)
        return save(self._context, record.model_copy(update={"null_tests": {**record.null_tests, level: null}}))

    def _null_runs(self, path: Path, null_spec: NullTestSpec, count: int) -> list[NullRun]:
        """The outcomes in the file plus the missing ones, in order of number."""
        null_runs = read_null_runs(path, null_spec.attempts)
        missing = [number for number in range(count) if number not in null_runs]

        def on_run(null_run: NullRun) -> None:
            append_line(path, null_run.model_dump_json())
            null_runs[null_run.surrogate] = null_run
            self._options.on_null_test(null_spec.level.name, len(null_runs), max(count, len(null_runs)))
            if self._stop():
                raise KeyboardInterrupt

        isolated_steps.run_null_tests(self._context, null_spec, missing, self._processes, on_run, self._stop)
        return [null_runs[number] for number in sorted(null_runs)]

    def _record(self, record: RunRecord, event: str, **facts: JsonValue) -> None:
        event_log.record(self._context.folder(record.name), event, **facts)


@contextmanager
def run_finalizer(
    context: RunContext, leadership: LeadershipLock, stop: Callable[[], bool], options: FinalizeOptions
) -> Iterator[RunFinalizer]:
    """A finalizer with `options.processes` processes until the block ends."""
    with process_group(options.processes) as processes:
        yield RunFinalizer(context, leadership, stop, options, processes)


def write_results(context: RunContext, record: RunRecord, end: End) -> None:
    """Write the files of an ended run. Idempotent: writes the same files, and one event."""
    folder = context.folder(record.name)
    write_lineage(context.results_dir, folder, record)
    write_report(context.results_dir, folder, record)
    if end.outcome is RunOutcome.ESCALATED:
        missed = [each.verdict.shortfall for each in record.attempts if each.level == end.level and each.verdict]
        write_escalation(context.results_dir, folder, record.level(end.level), missed)
    reason = end_reason(record, end.outcome, end.level)
    _record_once(folder, "run_finished", run=record.name, outcome=end.outcome, reason=reason)


def _record_once(folder: Path, event: str, **facts: JsonValue) -> None:
    if event not in {known.name for known in event_log.read(folder)}:
        event_log.record(folder, event, **facts)


def read_null_runs(path: Path, attempts: int) -> dict[int, NullRun]:
    """The complete outcomes of a file by number, without those of another number of attempts.

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
            if null_run.attempts_allowed == attempts:
                found[null_run.surrogate] = null_run
    return found
