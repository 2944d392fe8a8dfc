"""`tradeschool evaluate`: one worker process, started by `tradeschool worker start`.

The module imports everything that a trial needs, so that work horses inherit it.
"""

from functools import partial

import click

from optimizer.level.searched_store import closed_for
from optimizer.objective.objective import evaluate as evaluate_trial
from optimizer.objective.objective import plan_level
from optimizer.objective.warm_up import precompile
from optimizer.runs import fingerprint
from optimizer.strategies.protocol import load
from optimizer.strategies.time_limit import IMPORT_FACTOR
from tradeschool.app.context import load_settings, redis_url_of, searched_candles_of
from tradeschool.object_storage.helper import this_process_forks
from tradeschool.settings.model import Settings
from tradeschool.settings.signing_key import signing_key
from workers.connection.signing import Signer
from workers.isolation.published_modules import ModuleSupply
from workers.isolation.strategy_allowlist import AllowedStrategies
from workers.processes.worker_guard import continue_guarded
from workers.queue.server_check import connect_to_work
from workers.work_horse.evaluator import Evaluator, StrategyImports
from workers.work_horse.shared_arrays import share
from workers.work_horse.surrogate_markets import run_surrogate
from workers.worker.worker import WorkerSettings, run_worker, worker_name

MEGABYTE = 1_000_000


def _imports(settings: Settings) -> StrategyImports:
    """Return the strategies that this worker may import, and where it gets modules that it lacks."""
    bucket = settings.data_location().bucket
    supply = ModuleSupply(folder=settings.state_dir / "modules", bucket=bucket, signer=Signer(settings.work.key()))
    return StrategyImports(allowed=AllowedStrategies(settings.work.strategies), load=load, provide=supply.provide)


@click.command()
@click.option("--parent", type=int, help="Process ID of the parent; the worker ends with it.")
def evaluate(parent: int | None) -> None:
    """Run one worker until interrupted; it finishes a running trial first."""
    this_process_forks()
    settings = load_settings()
    if parent is None:
        continue_guarded()
    with redis_url_of(settings) as url:
        code, arrays = fingerprint.of_code(), settings.state_dir / "arrays"
        store = searched_candles_of(settings)
        evaluator = Evaluator(
            store=store,
            plan=plan_level,
            evaluate=evaluate_trial,
            worker=worker_name(),
            share=lambda prepared, key: share(prepared, arrays, f"{code} {key}"),
            strategies=_imports(settings),
            store_of=partial(closed_for, store),
            run_surrogate=run_surrogate,
        )
        work = settings.work
        watched = WorkerSettings(
            lease_seconds=work.lease_seconds,
            trials_per_horse=work.trials_per_process,
            import_seconds=IMPORT_FACTOR * work.import_timeout_seconds,
            memory_bytes=work.trial_memory_mb * MEGABYTE if work.trial_memory_mb else None,
        )
        signer = Signer(signing_key(settings, make=True))
        run_worker(connect_to_work(url), evaluator, watched, warm=precompile, signer=signer, parent=parent)
