"""A worker over made candles for the strategies of `misbehaving`, as a program."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from optimizer.objective.objective import evaluate, plan_level
from optimizer.strategies.protocol import load
from tests.factories.levels import read_made
from tradeschool.log import configure
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.ohlcv.arrays import CandleArrays
from workers.isolation.strategy_allowlist import AllowedStrategies
from workers.queue.trial_queue import connect
from workers.work_horse.evaluator import Evaluator, StrategyImports
from workers.work_horse.shared_arrays import share
from workers.worker.worker import WorkerSettings, run_worker, worker_name

MEMORY = 1 << 28


class Candles:
    def arrays(self, dataset: Dataset, window: Window) -> CandleArrays:
        return read_made(dataset, window)

    def digest(self, dataset: Dataset, window: Window) -> str:
        return "d1"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--arrays", type=Path, required=True)
    parser.add_argument("--strategy", action="append", required=True)
    parser.add_argument("--import-seconds", type=int, default=60)
    options = parser.parse_args(arguments)
    configure("text", level=logging.INFO)
    evaluator = Evaluator(
        store=Candles(),
        plan=plan_level,
        evaluate=evaluate,
        worker=worker_name(),
        share=lambda prepared, key: share(prepared, options.arrays, key),
        strategies=StrategyImports(allowed=AllowedStrategies(options.strategy), load=load),
    )
    settings = WorkerSettings(
        lease_seconds=3,
        monitoring_seconds=1,
        idle_seconds=1,
        hang_seconds=1,
        refusal_seconds=0.05,
        memory_bytes=MEMORY,
        import_seconds=options.import_seconds,
    )
    run_worker(connect(options.url), evaluator, settings, warm=lambda: None)


if __name__ == "__main__":
    main(sys.argv[1:])
