"""In-process search: runs all trials of a level in this process, without workers or a stored study.

The trial requests and the trials are the same as with any number of workers.
"""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level
from optimizer.objective.objective import evaluate
from optimizer.search.early_stopping import EarlyStopping
from optimizer.search.sampler import SearchSpace, TrialRequest, ask
from optimizer.search.space import distributions
from optimizer.search.trials import TrialOrigin, failed_trial, finished_trial, repeated_trial

NO_WORKER = TrialOrigin(worker="", started=0.0, seconds=0.0)
MAX_REASON = 512
"""Maximum length of a failure reason, in characters."""


def search_in_process(
    level: Level, space: SearchSpace, train: Sequence[Prepared], reused: Sequence[FrozenTrial] = ()
) -> list[FrozenTrial]:
    """Run all trials of a level's search and return them, trials carried over from earlier attempts first."""
    trials = list(reused)
    history, patience = space.history(), EarlyStopping(level.early_stop, len(reused))
    for trial in reused:
        patience.is_over(trial)
    for number in range(len(reused), len(reused) + level.trials):
        for trial in trials[len(history) : space.visible(number)]:
            history.append(trial)
        trial_request = ask(space, history, number)
        trials.append(
            repeated_trial(trial_request, trial_request.known, NO_WORKER.started)
            if trial_request.known
            else evaluate_request(level, trial_request, train)
        )
        if patience.is_over(trials[-1]):
            break
    return trials


def evaluate_request(level: Level, trial_request: TrialRequest, train: Sequence[Prepared]) -> FrozenTrial:
    """Evaluate a trial request and return its trial; the trial is failed if the strategy raises."""
    searched = distributions(level)
    try:
        evaluation = evaluate(level, train, trial_request.parameters, trial_request.thresholds)
    except Exception as error:  # noqa: BLE001  # strategy code may raise anything: the trial fails
        return failed_trial(trial_request, searched, f"{type(error).__name__}: {error}"[:MAX_REASON], NO_WORKER)
    return finished_trial(trial_request, searched, evaluation, NO_WORKER)
