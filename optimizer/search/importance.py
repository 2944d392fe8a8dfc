"""Parameter importance of a search, by PED-ANOVA.

Source: Watanabe, Bansal, Hutter: PED-ANOVA, IJCAI 2023; Optuna's implementation, which needs no further library.
"""

from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from optimizer.search.methods.optuna_setup import silence_optuna
from optimizer.search.trial_summary import TrialView

MIN_TRIALS = 10
"""Minimum number of complete trials for an estimate."""
MAX_TRIALS = 2_000
"""Maximum number of trials used, latest first."""


def importances(trials: Sequence[TrialView], ranges: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Return each parameter's share of importance, largest first, summing to one; empty with too few trials.

    `ranges`: lowest and highest value of each parameter in the search.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None][-MAX_TRIALS:]
    names = [
        name for name in ranges if ranges[name][0] < ranges[name][1] and all(name in t.parameters for t in complete)
    ]
    if len(complete) < MIN_TRIALS or not names:
        return {}
    silence_optuna()
    distributions = {name: _distribution(name, complete, ranges[name]) for name in names}
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        create_trial(
            value=trial.value, params={name: trial.parameters[name] for name in names}, distributions=distributions
        )
        for trial in complete
    )
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: round(float(share), 4) for name, share in found.items()}


def _distribution(name: str, trials: Sequence[TrialView], bounds: tuple[float, float]) -> BaseDistribution:
    """Return a range that covers all tried values; earlier attempts may have used other ranges."""
    values = [value for trial in trials if isinstance(value := trial.parameters[name], int | float)]
    low, high = min([bounds[0], *values]), max([bounds[1], *values])
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high))
