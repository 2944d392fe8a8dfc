"""optuna-distributed with its local pool of processes."""

import json
import logging
import sys
import time

import optuna
import optuna_distributed
from objective import REAL, WHOLE, evaluate, spend

COST = sys.argv[1] if len(sys.argv) > 1 else "none"


def one(trial: optuna.Trial) -> float:
    """One trial, in a process of the pool's."""
    parameters = {name: trial.suggest_int(name, *bounds) for name, bounds in WHOLE.items()}
    parameters |= {name: trial.suggest_float(name, *bounds) for name, bounds in REAL.items()}
    _, value, _ = evaluate(parameters)
    spend(COST)
    return value


def main(trials: int, workers: int) -> None:
    """Search, and print the rate."""
    logging.disable(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=7, multivariate=True)
    study = optuna_distributed.from_study(optuna.create_study(direction="maximize", sampler=sampler))
    study.optimize(one, n_trials=workers, n_jobs=workers, show_progress_bar=False)
    began = time.monotonic()
    study.optimize(one, n_trials=trials, n_jobs=workers, show_progress_bar=False)
    print(json.dumps({"rate": trials / (time.monotonic() - began)}))


if __name__ == "__main__":
    main(int(sys.argv[2]), int(sys.argv[3]))
