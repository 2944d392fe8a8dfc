"""Ours: `ours.py worker URL` is one worker, `ours.py conduct FOLDER URL COST TRIALS WORKERS LAG SIZE` a whole search.

Prints a JSON object: trials a second, from the first question to the last commit, workers warm.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from objective import REAL, WHOLE, evaluate, spend
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Level, Parameters, Part
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome, rounded
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


def make_run(folder: Path, name: str, level: Level, size: int, dispatcher: Dispatcher) -> StudyRun:
    """A study of that name, made where there is none."""
    facts = StudyFacts(level=level, seed=7, fingerprints={})
    return StudyRun(
        study=open_study(f"sqlite:///{folder}/study.db", name, facts),
        facts=facts,
        distributions=DISTRIBUTIONS,
        repair=lambda parameters: parameters,
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
    evaluator = Evaluator(store=Candles(), prepare=prepare, evaluate=trial, worker=worker_name())
    run_worker(connect(url), evaluator, WorkerSettings(), warm=lambda: None, parent=parent)


def search(folder: str, url: str, cost: str, trials: int, workers: int, lag: int, size: int) -> None:
    """Start workers, warm them with a study of its own, and time another."""
    command = [sys.executable, __file__, "worker", url, str(os.getpid())]
    pool = [subprocess.Popen(command, start_new_session=True) for _ in range(workers)]
    try:
        with connect(url) as connection:
            while connection.scard("rq:workers:trials") < workers:
                time.sleep(0.05)
        warm, name = f"warm{time.time_ns()}", f"run{time.time_ns()}"
        coordinate(make_run(Path(folder), warm, level_of("sleep 0.05", 2 * workers, 2 * workers), 1, queued(url, warm)))
        seconds = coordinate(make_run(Path(folder), name, level_of(cost, trials, lag), size, queued(url, name)))
    finally:
        for process in pool:
            process.send_signal(signal.SIGTERM)
        for process in pool:
            process.wait(30)
    print(json.dumps({"rate": trials / seconds}))


def main(words: list[str]) -> None:
    """One of the two."""
    if words[0] == "worker":
        work(words[1], int(words[2]))
    else:
        search(words[1], words[2], words[3], *map(int, words[4:8]))


if __name__ == "__main__":
    main(sys.argv[1:])
