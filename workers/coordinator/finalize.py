"""The last step of a run: how far luck comes is measured, the recommendation made and told, the files written."""

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
from workers.coordinator import event_log, isolated_steps
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import LeadershipLock, require_leadership
from workers.coordinator.run_record import end_reason, save
from workers.processes.process_group import ProcessGroup, cores, process_group

NULL_TEST_NAME = "null.jsonl"
"""In a level's folder: what each surrogate market came to, so that none is drawn twice."""

NullTestCallback = Callable[[str, int, int], None]
"""Told of a level, how many surrogate markets are done, and of how many."""


def _nothing(*_: object) -> None:
    """For whoever does not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeOptions:
    """How whoever carries a run has its last step made."""

    processes: int = field(default_factory=cores)
    on_null_test: NullTestCallback = _nothing
    wait_for_holdout: Callable[[Callable[[], bool]], None] = _nothing
    """Waits until it is so that the holdout period is there, as long as there is hope."""


class RunFinalizer:
    """The last step of a run, made by whoever holds its role; see `concluding`."""

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
        """The run with its luck measured and its recommendation, both written down.

        Raises:
            KeyboardInterrupt: where it was told to stop.
            RoleLost: where another process may be at work on the run.
            DataError: where candles of the run are missing, or changed.
        """
        if action.outcome is RunOutcome.PASSED:
            self._options.wait_for_holdout(lambda: self._context.holdout_missing(record.level(action.level)) is None)
        else:
            attempt, reason = record.last(action.level), end_reason(record, action.outcome, action.level)
            assert attempt is not None, "what is given up was tried"
            folder = self._context.folder(record.name)
            _record_once(folder, "level_escalated", level=action.level, attempt=attempt.number, reason=reason)
        # Of a gate that was missed, nobody asks whether luck could have met it.
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
        """The run with the luck of a level that was judged, over at least `count` surrogate markets, written down.

        What was drawn before stays, and a kill loses the draws under way alone.

        Raises:
            SettingsError: where the level was not judged yet.
            KeyboardInterrupt, RoleLost, DataError: as `conclude` does.
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
        """Those that a file holds, and as many more as are missing, in order of number."""
        null_runs = read_null_runs(path, null_spec.attempts)
        missing = [number for number in range(count) if number not in null_runs]

        def take(draw: NullRun) -> None:
            append_line(path, draw.model_dump_json())
            null_runs[draw.surrogate] = draw
            self._options.on_null_test(null_spec.level.name, len(null_runs), max(count, len(null_runs)))
            if self._stop():
                raise KeyboardInterrupt

        isolated_steps.run_null_tests(self._context, null_spec, missing, self._processes, take, self._stop)
        return [null_runs[number] for number in sorted(null_runs)]

    def _record(self, record: RunRecord, event: str, **facts: JsonValue) -> None:
        event_log.record(self._context.folder(record.name), event, **facts)


@contextmanager
def run_finalizer(
    context: RunContext, leadership: LeadershipLock, stop: Callable[[], bool], options: FinalizeOptions
) -> Iterator[RunFinalizer]:
    """What makes a run's last step, with as many processes as `finale` says until the block ends."""
    with process_group(options.processes) as processes:
        yield RunFinalizer(context, leadership, stop, options, processes)


def write_results(context: RunContext, record: RunRecord, end: End) -> None:
    """Publish the files of a run that is over. Idempotent: the same files again, and no second event."""
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
    """The draws of a file by their number, as far as they are whole and of as many attempts.

    Raises:
        StoreUnwritable: where the file cannot be read.
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
            draw = NullRun.model_validate_json(line)
            if draw.attempts_allowed == attempts:
                found[draw.surrogate] = draw
    return found
