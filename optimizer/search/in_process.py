"""In-process search: runs all trials of a level in this process, without workers or a stored study.

The trial requests and the trials are the same as with any number of workers.
"""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from optimizer.bars.preparation import Prepared
from optimizer.level.spec import Level
from optimizer.objective.objective import evaluate
from optimizer.search.early_stopping import Patience
from optimizer.search.sampler import History, Question, Space, ask
from optimizer.search.space import distributions
from optimizer.search.study import Origin, failed_trial, finished_trial, repeated_trial

NOBODY = Origin(worker="", started=0.0, seconds=0.0)
MOST_REASON = 512
"""Maximum length of a failure reason, in characters."""


def search_alone(
    level: Level, space: Space, train: Sequence[Prepared], carried: Sequence[FrozenTrial] = ()
) -> list[FrozenTrial]:
    """Run all trials of a level's search and return them, trials carried over from earlier attempts first."""
    trials = list(carried)
    history, patience = History(space.distributions), Patience(level.early_stop, len(carried))
    for trial in carried:
        patience.is_over(trial)
    for number in range(len(carried), len(carried) + level.trials):
        for trial in trials[len(history) : space.visible(number)]:
            history.append(trial)
        question = ask(space, history, number)
        trials.append(
            repeated_trial(question, question.known, NOBODY.started)
            if question.known
            else evaluated(level, question, train)
        )
        if patience.is_over(trials[-1]):
            break
    return trials


def evaluated(level: Level, question: Question, train: Sequence[Prepared]) -> FrozenTrial:
    """Evaluate a trial request and return its trial; the trial is failed if the strategy raises."""
    searched = distributions(level)
    try:
        evaluation = evaluate(level, train, question.parameters, question.thresholds)
    except Exception as error:  # noqa: BLE001  # strategy code may raise anything: the trial fails
        return failed_trial(question, searched, f"{type(error).__name__}: {error}"[:MOST_REASON], NOBODY)
    return finished_trial(question, searched, evaluation, NOBODY)
