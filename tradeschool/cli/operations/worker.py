"""`tradeschool worker`: start, list, check, scale and drain workers."""

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.table import Table

from tradeschool.app.context import load_settings, own_command, redis_url_of
from tradeschool.cli.options.output import json_option
from tradeschool.errors import SettingsError, TradeschoolError
from tradeschool.settings.loading import environment_for_child
from tradeschool.settings.model import Settings
from tradeschool.settings.signing_key import signing_key
from tradeschool.views.terminal import console, print_json, say
from workers.connection.brief_connection import connect_briefly
from workers.connection.signing import Signer
from workers.monitoring.snapshot import take_snapshot
from workers.monitoring.worker_health import STUCK_SECONDS, pools_health
from workers.processes import pool_registry
from workers.processes.autoscaling import KEEP_SECONDS, Autoscaler, Bounds, queued_jobs
from workers.processes.parent_death import die_with_parent
from workers.processes.pool import Pool, PoolSettings
from workers.processes.pool_registry import RESCALE, PoolControl, RegisteredPool, registered
from workers.processes.restart_policy import connected_here
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_names import trials_of
from workers.queue.server_check import connect_to_work
from workers.queue.trial_queue import connect

DEFAULT_COUNT = 2
pool_option = click.option("--pool", type=int, help="Process ID of the pool.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """The options of `worker start`."""

    count: int | None
    bounds: Bounds | None
    """Least and most workers of a pool that follows the queue."""
    keep_seconds: float
    strategies: Sequence[str]
    parent: int | None
    has_standby: bool

    @property
    def first(self) -> int:
        """Number of workers at the start."""
        return self.bounds.least if self.bounds else self.count or DEFAULT_COUNT

    @property
    def number(self) -> str:
        """The number of workers in words."""
        follows = f"{self.bounds.least} to {self.bounds.most} workers, by the queue" if self.bounds else ""
        return follows or ("1 worker" if self.first == 1 else f"{self.first} workers")

    def autoscaler(self, queued: Callable[[], int | None]) -> Autoscaler | None:
        """What makes the pool follow the queue; None for a fixed number."""
        return Autoscaler(self.bounds, queued, keep_seconds=self.keep_seconds) if self.bounds else None


@click.group()
def worker() -> None:
    """Start and manage workers, which evaluate trials."""


@worker.command()
@click.option("-n", "--count", type=click.IntRange(1, 1024), help=f"Number of workers. [default: {DEFAULT_COUNT}]")
@click.option("--min", "least", type=click.IntRange(1, 1024), help="Least workers of a pool that follows the queue.")
@click.option("--max", "most", type=click.IntRange(1, 1024), help="Most workers; the number follows the queue.")
@click.option(
    "--keep",
    "keep_seconds",
    type=click.FloatRange(0),
    default=KEEP_SECONDS,
    show_default=True,
    help="Seconds for which --max keeps surplus workers.",
)
@click.option("--strategy", "strategies", multiple=True, help="Allow an additional strategy (module:NAME); repeatable.")
@click.option(
    "--standby/--no-standby", "has_standby", default=True, show_default=True, help="Include a standby coordinator."
)
@click.option("--parent", type=int, hidden=True, help="Process ID of the parent; the pool ends with it.")
@click.option("--reason-to", type=int, hidden=True, help="File descriptor for the error that ended the pool.")
def start(
    *,
    count: int | None,
    least: int | None,
    most: int | None,
    keep_seconds: float,
    strategies: tuple[str, ...],
    has_standby: bool,
    parent: int | None,
    reason_to: int | None,
) -> None:
    """Run a pool of workers until interrupted.

    After an interrupt, the workers finish their running trials. A worker that dies is restarted. With --max, the number
    of workers follows the queue; a surplus worker finishes its trial first. Exit code 5: no worker can start although
    Redis is reachable. The standby coordinator of the pool resumes runs whose process was killed; it needs the study
    database, which workers do not.
    """
    asked = PoolOptions(
        count=count,
        bounds=_bounds(count, least, most),
        keep_seconds=keep_seconds,
        strategies=strategies,
        parent=parent,
        has_standby=has_standby,
    )
    try:
        _keep_workers(asked)
    except KeyboardInterrupt:  # before the pool listens: no worker has started
        return
    except TradeschoolError as error:
        if reason_to is None:
            raise
        os.write(reason_to, str(error).encode()[: select.PIPE_BUF])
        raise SystemExit(error.exit_code) from error


def _bounds(count: int | None, least: int | None, most: int | None) -> Bounds | None:
    """The bounds of a pool that follows the queue; None for a fixed number of workers."""
    if most is None and least is None:
        return None
    if count is not None:
        raise click.UsageError("-n is a fixed number of workers: leave it out, or leave out --min and --max")
    if most is None or (least or 1) > most:
        raise click.UsageError(f"--min {least} needs a --max of at least {least}")
    return Bounds(least=least or 1, most=most)


def _keep_workers(asked: PoolOptions) -> None:
    settings, parent = load_settings(), asked.parent
    if asked.strategies:
        settings = load_settings({"work": {"strategies": (*settings.work.strategies, *asked.strategies)}})
    signing_key(settings)
    signal.signal(RESCALE, signal.SIG_IGN)  # until the pool listens: it would end it
    with redis_url_of(settings) as url, registered(_pool_registry(settings), asked.first, asked.bounds) as entry:
        connect_to_work(url).close()
        if parent is None:
            say(f"starting {asked.number}; stop them with Ctrl-C or: tradeschool worker drain")
        if parent is not None:
            die_with_parent(parent, signal.SIGTERM)
        with closing(connect_briefly(url)) as connection:
            Pool(
                own_command("evaluate"),
                asked.first,
                PoolSettings(),
                standby=own_command("standby") if parent is None and asked.has_standby else None,
                environment=environment_for_child(url, settings.work.strategies),
                control=PoolControl(entry, asked.autoscaler(lambda: queued_jobs(connection))),
                connected=lambda: connected_here(connection),
            ).run()


@worker.command()
@click.argument("count", type=click.IntRange(1, 1024))
@pool_option
def scale(count: int, pool: int | None) -> None:
    """Change the number of workers of a pool.

    The pool must run on this machine and not follow the queue. Surplus workers finish their trials first.
    """
    found = _pools(pool)
    if len(found) > 1:
        known = ", ".join(f"{each.pid} ({each.count} workers)" for each in found)
        raise SettingsError(f"several pools run on this machine: {known}; choose one with --pool")
    if bounds := found[0].bounds:
        raise SettingsError(
            f"pool {found[0].pid} follows the queue with {bounds.least} to {bounds.most} workers: drain it, and start "
            "one with other bounds"
        )
    pool_registry.scale(found[0], count)
    say(f"pool {found[0].pid}: {found[0].count} -> {count} workers")


@worker.command()
@pool_option
@click.option("--timeout", type=click.FloatRange(0), default=600.0, show_default=True, help="Timeout in seconds.")
def drain(pool: int | None, timeout: float) -> None:
    """Stop the pools of this machine after their running trials.

    The command waits until the pools have ended.
    """
    for each in _pools(pool):
        pool_registry.drain(each)
        say(f"pool {each.pid}: {each.count} workers finish their trials")
        end = time.monotonic() + timeout
        while any(other.pid == each.pid for other in pool_registry.pools(each.path.parent)):
            if time.monotonic() > end:
                raise TradeschoolError(f"pool {each.pid} is still draining after {timeout:g} s; it ends by itself")
            time.sleep(0.1)


@worker.command()
@click.option("--ready", is_flag=True, help="Also require that each worker has started and is connected to Redis.")
@click.option(
    "--stuck-after",
    type=click.FloatRange(1),
    default=STUCK_SECONDS,
    show_default=True,
    help="Age in seconds of the last heartbeat of a stuck process.",
)
@json_option
def health(*, ready: bool, stuck_after: float, as_json: bool) -> None:
    """Check that the pools of this machine and their workers make progress.

    The command reads local heartbeats and sends nothing to Redis. A worker that waits for Redis is not stuck, because
    a restart would not help. Exit code 1: no pool runs, or a process is stuck; with --ready also if a worker is not
    connected.
    """
    found = pools_health(_pool_registry(load_settings()), stuck_after)
    if as_json:
        print_json([each.to_json() for each in found])
    else:
        for each in found:
            say(each.sentence)
    if not found:
        raise TradeschoolError("no pool runs on this machine; start one: tradeschool worker start -n 2")
    if wrong := [each.finding(ready=ready) for each in found if each.finding(ready=ready)]:
        raise TradeschoolError("; ".join(wrong))


@worker.command(name="list")
@json_option
def list_workers(*, as_json: bool) -> None:
    """List the connected workers of all machines."""
    # Watching imports the whole search; a pool that imported it would start two seconds later.
    from tradeschool.app.monitoring import absence_of

    settings = load_settings()
    if absent := absence_of(settings):
        say(absent)
    with redis_url_of(settings) as url:
        snapshot = take_snapshot(TrialQueue(connection=connect(url)), signer=Signer(signing_key(settings)))
    found = snapshot.workers
    if as_json:
        print_json([asdict(each) for each in found])
        return
    table = Table("worker", "host", "state", "last heartbeat", "trial", "done", "failed")
    for each in found:
        heard = f"{each.heartbeat_age_seconds:.0f} s ago"
        table.add_row(
            each.name, each.host, each.state, heard, trials_of(each.job), f"{each.done:,}", f"{each.failed:,}"
        )
    if snapshot.workers_not_listed:
        table.caption = f"and {snapshot.workers_not_listed:,} more"
    console().print(table)


def _pool_registry(settings: Settings) -> Path:
    return settings.state_dir / "pools"


def _pools(pid: int | None) -> list[RegisteredPool]:
    found = [each for each in pool_registry.pools(_pool_registry(load_settings())) if pid in (None, each.pid)]
    if not found:
        which = f"pool {pid}" if pid else "pool"
        raise SettingsError(f"no {which} runs on this machine; start one: tradeschool worker start -n 2")
    return found
