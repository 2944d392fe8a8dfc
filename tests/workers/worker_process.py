"""A worker program with a small deterministic objective; tests also use its evaluator in their process.

The level's title says how evaluations behave: `sleep 0.2`, `until FILE` (wait until the file exists), `tickets FOLDER`
(each takes a file of the folder, or waits for one or for its file `all`), or what the one unlucky point does.
"""

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from optimizer.level.metric_names import METRICS
from optimizer.level.spec import Level, Parameters, Part
from optimizer.objective.trial_result import CONSTRAINTS, Evaluation, TrialOutcome
from optimizer.search.sampler import SearchSpace
from optimizer.search.study import StudyFacts
from optimizer.validation.evidence import NullRun
from tradeschool.errors import DataIncomplete
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from workers.connection.signing import Signer
from workers.isolation.strategy_allowlist import AllowedStrategies
from workers.queue import announcements, messages
from workers.queue.trial_queue import connect
from workers.work_horse.evaluator import Evaluator, StrategyImports
from workers.worker import preflight_check, worker
from workers.worker.worker import WorkerSettings, run_worker, worker_name

Arrays = NDArray[np.float64]
UNLUCKY = {"fast": 13, "slow": 90}
UNLUCKY_MARKET = 2


class Candles:
    def __init__(self, digest: str) -> None:
        self._digest = digest

    def arrays(self, dataset: Dataset, window: Window) -> Arrays:
        if self._digest == "missing":
            raise DataIncomplete(f"{dataset}: not here")
        return np.linspace(1.0, 2.0, num=64)

    def digest(self, dataset: Dataset, window: Window) -> str:
        return self._digest


def prepare(level: Level, part: Part, read: Callable[[Dataset, Window], Arrays]) -> tuple[Arrays, ...]:
    return tuple(read(dataset.source, level.window(dataset, part)) for dataset in level.datasets)


def evaluate(
    level: Level, prepared: tuple[Arrays, ...], parameters: Parameters, thresholds: Sequence[float | None]
) -> Evaluation:
    if counted := os.environ.get("BENCH_COUNTS"):
        with open(counted, "a") as file:  # noqa: PTH123  # one write of one line, which no other process's can cut
            file.write("evaluated\n")
    behave(level.title, is_unlucky=parameters.items() >= UNLUCKY.items())
    fast, slow, stop = (float(parameters[name]) for name in ("fast", "slow", "stop"))
    value = float(prepared[0].sum()) - (fast - 20) ** 2 / 100 - (slow - 90) ** 2 / 1000 - math.sin(stop)
    steps: list[float] = []
    for step, part in enumerate((value - 1 / fast, value - 1 / slow, value)):
        steps.append(part)
        limit = thresholds[step] if step < len(thresholds) else None
        if limit is not None and max(steps) < limit and step < 2:
            return found(TrialOutcome.PRUNED, part, steps, stop)
    return found(TrialOutcome.COMPLETE, value, steps, stop)


def found(state: TrialOutcome, value: float, steps: Sequence[float], stop: float) -> Evaluation:
    return Evaluation(
        state=state,
        value=value,
        intermediate=tuple(steps),
        constraints={**dict.fromkeys(CONSTRAINTS, -1.0), "drawdown": stop - 4},
        metrics=dict.fromkeys(METRICS, value),
        pruned_reason="below" if state is TrialOutcome.PRUNED else None,
    )


def distributions(level: Level) -> dict[str, BaseDistribution]:
    whole = {name: IntDistribution(int(low), int(high)) for name, (low, high) in level.ranges.items() if name != "stop"}
    return whole | {"stop": FloatDistribution(*level.ranges["stop"])}


def repair(level: Level, parameters: Parameters) -> Parameters:
    return {name: parameters[name] for name in sorted(level.ranges)}


def search_space(facts: StudyFacts) -> SearchSpace:
    level = facts.level
    return SearchSpace(
        seed=facts.seed,
        lag=level.lag,
        distributions=distributions(level),
        repair=lambda parameters: repair(level, parameters),
        mode=level.mode,
        first_points=facts.first_points,
    )


def takes_ticket(folder: Path) -> bool:
    if (folder / "all").exists():
        return True
    for ticket in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):  # another evaluation was first
            ticket.unlink()
            return True
    return False


def hold(what: str, value: str) -> None:
    if what == "sleep":
        time.sleep(float(value))
    while what == "until" and not Path(value).exists():
        time.sleep(0.05)
    while what == "tickets" and not takes_ticket(Path(value)):
        time.sleep(0.05)


def behave(title: str, *, is_unlucky: bool) -> None:
    what, _, value = title.partition(" ")
    hold(what, value)
    if not is_unlucky:
        return
    if what == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)
    if what == "swallow":
        leased = np.ones(1 << 27)
        assert leased.sum() > 0
    if what == "raise":
        raise ZeroDivisionError("the unlucky number")


def make_evaluator(
    name: str, digest: str = "d1", allowed: AllowedStrategies | None = None
) -> Evaluator[Arrays, Arrays]:
    return Evaluator(
        store=Candles(digest),
        plan=lambda level: partial(prepare, level),
        evaluate=evaluate,
        worker=name,
        strategies=StrategyImports(allowed=allowed),
        run_surrogate=run_surrogate,
    )


def run_surrogate(levels: Sequence[Level], seed: int, read: object, number: int) -> str:
    """A made-up result that depends on the curriculum, the seed and the number alone."""
    behave(levels[0].title, is_unlucky=number == UNLUCKY_MARKET)
    t = math.sin(1_000 * seed + 10 * number + len(levels))
    return NullRun(surrogate=number, t=t, sharpe=t, attempts=len(levels), passed=(), mandate=False).model_dump_json()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--digest", default="d1")
    parser.add_argument("--key", type=str.encode)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--lease", type=int, default=3)
    parser.add_argument("--release", help="the release that this worker says it is")
    options = parser.parse_args(arguments)
    settings = WorkerSettings(
        lease_seconds=options.lease,
        monitoring_seconds=max(1, options.lease // 5),
        idle_seconds=max(1, options.lease // 3),
        hang_seconds=1,
        refusal_seconds=0.05,
        memory_bytes=options.memory,
    )
    if options.release:
        for module in (announcements, messages, preflight_check, worker):
            module.release = lambda: options.release  # type: ignore[assignment]  # what another release would say
    evaluator = make_evaluator(worker_name(), options.digest, AllowedStrategies())
    run_worker(
        connect(options.url), evaluator, settings, warm=lambda: None, signer=Signer(options.key), parent=options.parent
    )


if __name__ == "__main__":
    main(sys.argv[1:])
