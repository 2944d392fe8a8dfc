"""`tradeschool evaluate`: one worker; `tradeschool worker start` starts these. It imports all that a trial needs."""

import click

from optimizer.objective import evaluate as evaluate_trial
from optimizer.objective import prepare_level
from optimizer.warm import warm
from tradeschool.cli.context import candles_of, load_settings, redis_url_of
from workers.jobs import Bench
from workers.queue import connect
from workers.worker import WorkerSettings, run_worker, worker_name


@click.command()
@click.option("--parent", type=int, help="The process with which the worker ends.")
def evaluate(parent: int | None) -> None:
    """Be one worker until interrupted; a running trial is ended first."""
    settings = load_settings()
    with redis_url_of(settings) as url:
        bench = Bench(store=candles_of(settings), prepare=prepare_level, evaluate=evaluate_trial, worker=worker_name())
        watched = WorkerSettings(lease_seconds=settings.work.lease_seconds)
        run_worker(connect(url), bench, watched, warm=warm, parent=parent)
