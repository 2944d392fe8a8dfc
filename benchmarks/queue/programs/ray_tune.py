"""Ray Tune with OptunaSearch, as many trials at once as there are workers."""

import json
import logging
import sys
import tempfile
import time

import optuna
import ray
from objective import REAL, WHOLE, evaluate, spend
from optuna.distributions import FloatDistribution, IntDistribution
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch


def main(cost: str, trials: int, workers: int) -> None:
    """Search, and print the rate."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ray.init(num_cpus=workers, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)

    def one(parameters: dict[str, float]) -> dict[str, float]:
        _, value, _ = evaluate(parameters)
        spend(cost)
        return {"value": value}

    def space() -> dict[str, object]:
        found = {name: IntDistribution(*bounds) for name, bounds in WHOLE.items()}
        return found | {name: FloatDistribution(*bounds) for name, bounds in REAL.items()}

    def run(count: int) -> float:
        sampler = optuna.samplers.TPESampler(seed=7, multivariate=True)
        search = OptunaSearch(space=space(), metric="value", mode="max", sampler=sampler)
        tuner = tune.Tuner(
            tune.with_resources(one, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                num_samples=count,
                search_alg=ConcurrencyLimiter(search, max_concurrent=workers),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
        )
        began = time.monotonic()
        tuner.fit()
        return time.monotonic() - began

    run(workers)
    print(json.dumps({"rate": trials / run(trials)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
