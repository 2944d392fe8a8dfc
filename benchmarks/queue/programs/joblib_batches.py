"""As freqtrade's hyperopt: ask for a batch, evaluate it with joblib, tell all of it, repeat. Nothing is durable."""

import json
import sys
import time

import optuna
from joblib import Parallel, delayed
from objective import REAL, WHOLE, evaluate, spend
from optuna.distributions import FloatDistribution, IntDistribution


def one(cost: str, parameters: dict[str, float]) -> tuple[list[float], float, list[float]]:
    """One trial, in a process of joblib's."""
    found = evaluate(parameters)
    spend(cost)
    return found


def main(cost: str, trials: int, workers: int) -> None:
    """Search, and print the rate."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: IntDistribution(*bounds) for name, bounds in WHOLE.items()}
    space |= {name: FloatDistribution(*bounds) for name, bounds in REAL.items()}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=7, multivariate=True))
    with Parallel(n_jobs=workers) as parallel:
        parallel(delayed(one)("sleep 0.1", dict.fromkeys(space, 10.0)) for _ in range(workers))
        began = time.monotonic()
        for first in range(0, trials, workers):
            asked = [study.ask(space) for _ in range(min(workers, trials - first))]
            found = parallel(delayed(one)(cost, trial.params) for trial in asked)
            for trial, (_, value, _) in zip(asked, found, strict=True):
                study.tell(trial, value)
        print(json.dumps({"rate": trials / (time.monotonic() - began)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
