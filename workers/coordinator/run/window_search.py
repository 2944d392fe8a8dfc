"""The searches of a walk-forward's windows: each an ordinary study on the same queue, then the choice of its trial.

The record holds each window before its first trial and with its choice, so a run that is killed in any window goes on
with that window.
"""

from optimizer.level.walk_forward import window_numbers
from optimizer.runs.run_record import AttemptRow, WindowRow
from optimizer.validation.selection import size_of
from optimizer.validation.walk_forward import chosen_trial
from workers.coordinator.recorded_run import RecordedRun
from workers.coordinator.run.attempt_begin import begin_window
from workers.coordinator.run.level_search import SearchContext, search
from workers.coordinator.run.run_persistence import save


def search_windows(search_context: SearchContext, run: RecordedRun, attempt: AttemptRow) -> RecordedRun:
    """Search every window of an attempt that has no choice yet; the run with the windows in its record.

    Nothing to do for a level without windows. Raises as `level_search.search`.
    """
    for number in window_numbers(run.record.level(attempt.level)):
        window = attempt.window(number)
        if window and window.searched:
            continue
        if window is None:
            window = begin_window(run, attempt, number)
            run, attempt = _saved(run, attempt.with_window(window))
        search(search_context, run, attempt, window)
        search_context.require_leadership()  # another process may have written to the run
        window = with_choice(run, attempt, window)
        run, attempt = _saved(run, attempt.with_window(window))
        chosen = f"trial {window.trial} is chosen" if window.trial is not None else "no trial met every constraint"
        run.log_event("window_searched", level=attempt.level, attempt=attempt.number, window=number, said=chosen)
    return run


def with_choice(run: RecordedRun, attempt: AttemptRow, window: WindowRow) -> WindowRow:
    """Return a searched window with its choice, the best feasible trial on its train."""
    trials = run.trials(attempt, window)
    found = chosen_trial(trials)
    made: dict[str, object] = {"searched": True, "finished": len(trials) - window.reused}
    if found is not None:
        made |= {
            "trial": found.number,
            "parameters": dict(found.params),
            "size": size_of(found),
            "train": dict(found.user_attrs["metrics"]),
        }
    return window.model_copy(update=made)


def _saved(run: RecordedRun, attempt: AttemptRow) -> tuple[RecordedRun, AttemptRow]:
    return run.with_record(save(run.context, run.record.with_attempt(attempt))), attempt
