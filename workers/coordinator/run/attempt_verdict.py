"""The verdict on an attempt: its winner verified and judged, its files written."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from optimizer.bars.preparation import Prepared
from optimizer.curriculum.attempts import relaxed_by
from optimizer.level.spec import Part
from optimizer.report.files import write_findings
from optimizer.runs import fingerprint
from optimizer.runs.run_record import AttemptRow, RunRecord, Verdict, WindowRow
from optimizer.search.reproduce import ColumnDifference, differences, evaluated_number
from optimizer.search.space import search_space
from optimizer.validation.attempt_findings import AttemptCase, AttemptFindings, PreviousLevel
from optimizer.validation.holdout_log import log_access, out_of_sample_days, part_days
from optimizer.validation.verdict import judge_attempt, shortfall
from optimizer.validation.walk_forward import SearchedWindow
from optimizer.validation.winner_setup import ChosenTrial, WinnerSetup, setup_of
from tradeschool.errors import TrialDiffers
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run.level_search import study_facts

log = logging.getLogger(__name__)


def judge(run: RecordedRun, attempt: AttemptRow) -> AttemptRow:
    """Judge an attempt: write its files, and log each access to validation and test; the attempt with its verdict.

    Raises:
        TrialDiffers: The winner, evaluated again, differs from its record; no verdict is stored.
        DataError: Candles are missing, or changed.
    """
    record = run.record
    level = record.searched_level(attempt)
    store = run.context.searched(level)

    def on_access(part: Part, numbers: Sequence[int], window: int | None) -> None:
        days = part_days(level, part) if window is None else out_of_sample_days(level, window)
        now = datetime.now(UTC)
        log_access(
            run.folder,
            part,
            level=level.name,
            attempt=attempt.number,
            window=window,
            trials=numbers,
            now=now,
            days=days,
        )

    def repeat(number: int, train: Sequence[Prepared], window: int | None) -> None:
        found = verify(run, attempt, number, train, attempt.window(window) if window else None)
        _require_repeatable(record, attempt, found, number)

    findings = judge_attempt(_case(run, attempt), store.arrays, on_access, repeat)
    judged = attempt.model_copy(update={"verdict": _verdict(findings), "windows": _judged_windows(attempt, findings)})
    write_findings(run.context.results_dir, run.folder, findings, _setup(run, attempt, findings), judged)
    return judged


def _case(run: RecordedRun, attempt: AttemptRow) -> AttemptCase:
    record = run.record
    return AttemptCase(
        level=record.searched_level(attempt),
        attempt=attempt.number,
        relaxed=relaxed_by(record.level(attempt.level), attempt.number),
        trials=run.trials(attempt),
        reused=attempt.reused,
        predecessor=_predecessor(run, attempt.level),
        seed=record.seed,
        windows=[searched_window(run, attempt, each) for each in attempt.windows],
    )


def searched_window(run: RecordedRun, attempt: AttemptRow, window: WindowRow) -> SearchedWindow:
    """A window of an attempt with its trials."""
    return SearchedWindow(
        number=window.number,
        level=run.record.study_level(attempt, window),
        trials=run.trials(attempt, window),
        reused=window.reused,
        until=window.until,
    )


def _judged_windows(attempt: AttemptRow, findings: AttemptFindings) -> tuple[WindowRow, ...]:
    """The windows with their metrics out of sample; unchanged if the attempt has no winner."""
    if not findings.window_metrics:
        return attempt.windows
    pairs = zip(attempt.windows, findings.window_metrics, strict=True)
    return tuple(window.model_copy(update={"validation": dict(found)}) for window, found in pairs)


def verify(
    run: RecordedRun, attempt: AttemptRow, number: int, train: Sequence[Prepared], window: WindowRow | None = None
) -> list[ColumnDifference]:
    """Sample and evaluate a trial of an attempt or a window again; the differences from its record, normally none.

    A reused trial is verified in the attempt that evaluated it, a repeated one at its original. `train` are the bars
    of the search, the same for all attempts.
    """
    record, trials = run.record, run.trials(attempt, window)
    number = evaluated_number(trials, number)
    if number < (window or attempt).reused:
        earlier = record.attempt(attempt.level, attempt.number - 1)
        assert earlier is not None, "reused trials have an earlier attempt"
        return verify(run, earlier, number, train, earlier.window(window.number) if window else None)
    facts = study_facts(record, attempt, window)
    space = search_space(facts.level, facts.seed, facts.first_points)
    return differences(facts.level, space, trials, number, train)


def _setup(run: RecordedRun, attempt: AttemptRow, findings: AttemptFindings) -> WinnerSetup | None:
    """The setup of the winner; None if there is none."""
    winner = findings.winner
    if winner is None:
        return None
    return setup_of(
        findings.level,
        ChosenTrial(
            run=run.record.name,
            attempt=attempt.number,
            number=winner.number,
            parameters=winner.parameters,
            size=winner.size,
            leverage=winner.leverage,
        ),
        code=fingerprint.of_code(),
        digests=run.context.digests(findings.level),
        windows=findings.case.windows,
    )


def _require_repeatable(record: RunRecord, attempt: AttemptRow, found: Sequence[ColumnDifference], number: int) -> None:
    """Require that the winner repeats; after a resume with --force, a difference is only logged."""
    if not found:
        return
    message = f"level {attempt.level}: trial {number} is not reproducible: {'; '.join(map(str, found[:3]))}"
    if not record.forced:
        raise TrialDiffers(f"run {record.name}: {message}; no verdict is given")
    log.warning("winner differs", extra={"action": "winner_differs", "run": record.name, "reason": message})


def _predecessor(run: RecordedRun, level: str) -> PreviousLevel | None:
    before = run.record.passed_before(level)
    last = run.record.last(before.name) if before else None
    if last is None or last.verdict is None or last.verdict.parameters is None:
        return None
    return PreviousLevel(level=run.record.searched_level(last), winner=last.verdict.parameters, trials=run.trials(last))


def _verdict(findings: AttemptFindings) -> Verdict:
    winner = findings.winner
    figures = {} if winner is None else {Part.TRAIN: winner.train.metrics, Part.VALIDATION: winner.validation.metrics}
    if findings.test:
        figures[Part.TEST] = findings.test.metrics
    return Verdict(
        passed=findings.passed,
        reason=findings.reason,
        finished=len(findings.trials),
        trial=winner.number if winner else None,
        parameters=winner.parameters if winner else None,
        readings=findings.readings,
        figures=figures,
        shortfall={} if findings.passed else shortfall(findings),
        relaxed=findings.case.relaxed,
        facts=None if findings.passed else findings.facts,
        skill=findings.skill,
    )
