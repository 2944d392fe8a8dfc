"""Ours: `ours.py worker URL` is one worker, `ours.py conduct URL COST TRIALS WORKERS LAG SIZE STORAGE` a whole search.

Prints a JSON object: trials a second, from the first question to the last commit, workers warm, and what each cost.
The workers of a search are forks of one process, so that many of them fit into a machine.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray
from objective import REAL, WHOLE, evaluate, spend
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from queue_cost import read

from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Level, Parameters, Part
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome, rounded
from optimizer.search.sampler import SearchSpace
from optimizer.search.study import StudyFacts, open_study
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from workers.coordinator.study.coordinator import StudyRun
from workers.coordinator.study.job_recovery import CoordinatorSettings
from workers.queue.dispatch import Dispatcher, QueueDispatcher
from workers.queue.job_allowlist import TrialQueue
from workers.queue.messages import level_digests
from workers.queue.trial_queue import connect
from workers.work_horse.evaluator import Evaluator
from workers.worker.worker import WorkerSettings, run_worker, worker_name

Arrays = NDArray[np.float64]
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    **{name: IntDistribution(*bounds) for name, bounds in WHOLE.items()},
    **{name: FloatDistribution(*bounds) for name, bounds in REAL.items()},
}


class Candles:
    """None that matter."""

    def arrays(self, dataset: Dataset, window: Window) -> Arrays:
        """One number."""
        return np.zeros(1)

    def digest(self, dataset: Dataset, window: Window) -> str:
        """The same everywhere."""
        return "d1"


def trial(
    level: Level, prepared: tuple[Arrays, ...], parameters: Parameters, thresholds: Sequence[float | None]
) -> Evaluation:
    """One trial, pruned by the thresholds that came with it."""
    steps, value, constraints = evaluate(parameters)
    spend(level.title)
    reported: list[float] = []
    state = TrialOutcome.COMPLETE
    for step, limit in zip(steps, [*thresholds, *[None] * len(steps)], strict=False):
        reported.append(rounded(step))
        if limit is not None and max(reported) < limit:
            state, value = TrialOutcome.PRUNED, reported[-1]
            break
    return Evaluation(
        state=state,
        value=rounded(value),
        intermediate=tuple(reported),
        constraints=dict(zip(CONSTRAINTS, map(rounded, [*constraints, -1.0]), strict=True)),
        metrics=dict.fromkeys(METRICS, 1.0),
        pruned_reason="below the median" if state is TrialOutcome.PRUNED else None,
    )


def prepare(level: Level, part: Part, read: Callable[[Dataset, Window], Arrays]) -> tuple[Arrays, ...]:
    """Nothing to prepare."""
    return (np.zeros(1),)


def level_of(cost: str, trials: int, lag: int) -> Level:
    """A level whose title says what a trial costs."""
    return Level.model_validate(
        {
            "name": "1",
            "title": cost,
            "direction": "long",
            "trials": trials,
            "lag": lag,
            "datasets": [{"dataset": "coinbase/BTC-USD/M5", "start": "2020-01-01", "end": "2022-01-01"}],
            "gate": {"win_rate": 0.5, "sharpe": 0.8, "max_drawdown_intrabar": 0.15, "profit_factor": 1.3},
            "ranges": {**WHOLE, **REAL},
        }
    )


def queued(url: str, name: str) -> QueueDispatcher:
    """The way to the workers of a server."""
    return QueueDispatcher(TrialQueue(connection=connect(url)), study=name, url=url, job_timeout_seconds=60)


def make_run(storage: str, name: str, level: Level, size: int, dispatcher: Dispatcher) -> StudyRun:
    """A study of that name, made where there is none."""
    facts = StudyFacts(level=level, seed=7, fingerprints={})
    return StudyRun(
        study=open_study(storage, name, facts),
        facts=facts,
        space=SearchSpace(
            seed=facts.seed, lag=level.lag, distributions=DISTRIBUTIONS, repair=lambda parameters: parameters
        ),
        digests=level_digests(level, Candles()),
        dispatcher=dispatcher,
        settings=CoordinatorSettings(trials_per_job=size),
    )


def coordinate(run: StudyRun) -> float:
    """Seconds until every trial is committed."""
    began = time.monotonic()
    while not run.reconcile(wait_seconds=0.5).is_done:
        pass
    return time.monotonic() - began


def work(url: str, parent: int) -> None:
    """Be one worker."""
    evaluator = Evaluator(
        store=Candles(), plan=lambda level: partial(prepare, level), evaluate=trial, worker=worker_name()
    )
    run_worker(connect(url), evaluator, WorkerSettings(), warm=lambda: None, parent=parent)


@contextmanager
def forked_workers(url: str, count: int) -> Iterator[None]:
    """Workers that have registered; at the end each finishes its job and ends."""
    with connect(url) as connection:
        before = connection.scard("rq:workers:trials")
    pool = [_fork(url) for _ in range(count)]
    try:
        with connect(url) as connection:
            while connection.scard("rq:workers:trials") < before + count:
                time.sleep(0.05)
        yield
    finally:
        for pid in pool:
            os.kill(pid, signal.SIGTERM)
        for pid in pool:
            os.waitpid(pid, 0)


def _fork(url: str) -> int:
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        os.setsid()
        try:
            work(url, parent)
        finally:
            os._exit(0)
    return pid


def search(url: str, cost: str, trials: int, workers: int, lag: int, size: int, storage: str) -> None:
    """Start workers, warm them with a study of its own, and measure another."""
    warm, name = f"warm{time.time_ns()}-L1-a1", f"run{time.time_ns()}-L1-a1"
    with forked_workers(url, workers), connect(url) as connection:
        warming = level_of("sleep 0.05", 2 * workers, 2 * workers)
        coordinate(make_run(storage, warm, warming, 1, queued(url, warm)))
        run = make_run(storage, name, level_of(cost, trials, lag), size, queued(url, name))
        before = read(connection, storage)
        coordinate(run)
        found = before.a_trial(read(connection, storage), trials)
    print(json.dumps(found))


def main(words: list[str]) -> None:
    """One of the two."""
    if words[0] == "worker":
        work(words[1], int(words[2]))
    else:
        search(words[1], words[2], *map(int, words[3:7]), words[7])


if __name__ == "__main__":
    main(sys.argv[1:])
