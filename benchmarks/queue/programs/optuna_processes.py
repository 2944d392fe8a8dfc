"""Optuna alone: so many processes share a study by its storage, each with its own sampler.

`optuna_processes.py COST TRIALS WORKERS STORAGE`; STORAGE is a URL of SQLAlchemy, `journal:PATH` or `journal+unix://...`.
"""

import json
import logging
import os
import signal
import sys
import time

import optuna
from objective import REAL, WHOLE, evaluate, spend
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

NAME = "scaling"
LIMIT_SECONDS = 120.0
"""Time after which the processes are ended; the rate is that of the finished trials."""


def storage_of(storage: str) -> optuna.storages.BaseStorage:
    """The storage; SQLite waits for its lock as long as it takes."""
    if storage.startswith("journal+"):
        return JournalStorage(JournalRedisBackend(storage.removeprefix("journal+")))
    if storage.startswith("journal:"):
        return JournalStorage(JournalFileBackend(storage.removeprefix("journal:")))
    connect = {"connect_args": {"timeout": 100}} if storage.startswith("sqlite") else {}
    return RDBStorage(storage, engine_kwargs=connect)


def one(trial: optuna.Trial, cost: str) -> float:
    """One trial, with a report a step, pruned by the median."""
    parameters = {name: trial.suggest_int(name, *bounds) for name, bounds in WHOLE.items()}
    parameters |= {name: trial.suggest_float(name, *bounds) for name, bounds in REAL.items()}
    steps, value, constraints = evaluate(parameters)
    spend(cost)
    for place, step in enumerate(steps):
        trial.report(step, place)
        if trial.should_prune():
            raise optuna.TrialPruned
    for place, violation in enumerate(constraints):
        trial.set_user_attr(f"constraint_{place}", violation)
    return value


def work(storage: str, cost: str, trials: int, number: int, start: int) -> None:
    """Be one process: wait for the signal to start, then optimize."""
    sampler = optuna.samplers.TPESampler(seed=number, multivariate=True)
    study = optuna.load_study(study_name=NAME, storage=storage_of(storage), sampler=sampler)
    os.read(start, 1)
    study.optimize(lambda trial: one(trial, cost), n_trials=trials)


def main(cost: str, trials: int, workers: int, storage: str) -> None:
    """Search, and print the rate."""
    logging.disable(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = storage_of(storage)
    optuna.create_study(study_name=NAME, storage=made, direction="maximize")
    if isinstance(made, RDBStorage):
        made.remove_session()
        made.engine.dispose()
    del made
    hold, release = os.pipe()
    pool = []
    for number in range(workers):
        if (pid := os.fork()) == 0:
            try:
                work(storage, cost, trials // workers, number, hold)
            finally:
                os._exit(0)
        pool.append(pid)
    time.sleep(3.0)
    began = time.monotonic()
    os.write(release, b"1" * workers)
    while pool and time.monotonic() - began < LIMIT_SECONDS:
        pool = [pid for pid in pool if os.waitpid(pid, os.WNOHANG)[0] == 0]
        time.sleep(0.02)
    seconds = time.monotonic() - began
    for pid in pool:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    study = optuna.load_study(study_name=NAME, storage=storage_of(storage))
    done = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
    print(json.dumps({"rate": done / seconds, "done": done}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
