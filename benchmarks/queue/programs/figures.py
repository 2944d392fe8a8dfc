"""What single steps of ours cost: `figures.py FOLDER [POSTGRESQL_URL]`; prints a JSON object of seconds."""

import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from ours import DISTRIBUTIONS, Candles, level_of, make_run, prepare, trial

from optimizer.search.sampler import SearchSpace, TrialHistory, ask
from optimizer.search.study import StudyFacts, open_study
from optimizer.search.trials import TrialOrigin, finished_trial
from workers.coordinator.study.coordinator import StudyRun
from workers.work_horse.evaluator import Evaluator
from workers.worker.in_process_dispatch import InProcessDispatcher

ORIGIN = TrialOrigin(worker="w", started=1.0, seconds=0.1)


def finished(count: int) -> list[object]:
    """Trials 0..count-1 of a study with a lag of 8, and what it took to ask each."""
    space = SearchSpace(seed=7, lag=8, distributions=DISTRIBUTIONS, repair=lambda parameters: parameters)
    history, done, level = TrialHistory(DISTRIBUTIONS), [], level_of("none", count, 8)
    costs = []
    for number in range(count):
        while len(history) < space.visible(number):
            history.append(done[len(history)])
        began = time.perf_counter()
        trial_request = ask(space, history, number)
        costs.append(time.perf_counter() - began)
        done.append(
            finished_trial(trial_request, DISTRIBUTIONS, trial(level, (), trial_request.parameters, ()), ORIGIN)
        )
    return [done, costs]


def write(url: str, trials: list[object], size: int) -> float:
    """Seconds a trial, the median of commits of so many."""
    study = open_study(url, f"write{time.time_ns()}", StudyFacts(level=level_of("none", 1, 1), seed=1, fingerprints={}))
    costs = []
    for first in range(0, len(trials) - size + 1, size):
        began = time.perf_counter()
        study.commit(*trials[first : first + size])
        costs.append((time.perf_counter() - began) / size)
    study.close()
    return statistics.median(costs)


def whole(folder: Path, count: int) -> dict[str, float]:
    """A study from its first trial to its last, in this process: what a trial costs early and late; once resumed."""
    evaluator = Evaluator(store=Candles(), plan=lambda level: partial(prepare, level), evaluate=trial, worker="here")
    level = level_of("none", count, 8)

    def until(run: StudyRun, wanted: int) -> None:
        while run.reconcile().finished < wanted:
            pass

    def timed(run: StudyRun, wanted: int, trials: int) -> float:
        until(run, wanted - trials)
        began = time.perf_counter()
        until(run, wanted)
        return (time.perf_counter() - began) / trials

    run = make_run(f"sqlite:///{folder}/study.db", "whole", level, 1, InProcessDispatcher(evaluator))
    early = timed(run, 250, 200)
    until(run, 2000)
    began = time.perf_counter()
    run = make_run(f"sqlite:///{folder}/study.db", "whole", level, 1, InProcessDispatcher(evaluator))
    resume = time.perf_counter() - began
    return {"early": early, "late": timed(run, count, 200), "resume": resume}


def main(folder: str, database: str | None = None) -> None:
    """Everything, once."""
    trials, costs = finished(520)
    found = {"ask": statistics.median(costs[490:]), "ask_early": statistics.median(costs[90:120])}
    found["write"] = write(f"sqlite:///{folder}/write.db", trials[:160], 1)
    found["write_16"] = write(f"sqlite:///{folder}/write.db", trials[:160], 16)
    if database:
        found["write_server"] = write(database, trials[:160], 1)
        found["write_server_16"] = write(database, trials[:160], 16)
    print(json.dumps(found | whole(Path(folder), 10_000)))


if __name__ == "__main__":
    main(*sys.argv[1:])
