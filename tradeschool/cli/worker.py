"""`tradeschool worker`: trials are evaluated on this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from tradeschool.cli.context import (
    console,
    json_option,
    load_settings,
    own_command,
    print_json,
    redis_url_of,
    say,
)
from tradeschool.errors import SettingsError, TradeschoolError
from tradeschool.settings import Settings, environment_for_child
from workers import roster
from workers.guard import TrialQueue
from workers.monitor import take_snapshot
from workers.names import trials_of
from workers.parent import die_with_parent
from workers.pool import Pool, PoolSettings
from workers.queue import connect
from workers.roster import PoolEntry, entered, wanted
from workers.server_check import connect_to_work

STOP_TIMEOUT = 30.0  # seconds until a pool that was told to stop is killed


pool_option = click.option("--pool", type=int, help="The pool of that process number alone.")


@click.group()
def worker() -> None:
    """Evaluate trials: start, list, scale, drain."""


@worker.command()
@click.option("-n", "--count", type=click.IntRange(1, 1024), default=2, show_default=True, help="How many workers.")
@click.option("--parent", type=int, hidden=True, help="The process with which the pool ends.")
def start(count: int, parent: int | None) -> None:
    """Keep so many workers at work until interrupted; running trials are ended first.

    Beside them a deputy goes on with runs of this machine whose own process was killed.
    """
    settings = load_settings()
    settings.work.key()
    with redis_url_of(settings) as url, entered(_roster(settings), count) as entry:
        connect_to_work(url).close()
        if parent is None:
            say(f"{count} workers start; stop them with Ctrl-C, or: tradeschool worker drain")
        if parent is not None:
            die_with_parent(parent, signal.SIGTERM)
        Pool(
            own_command("evaluate"),
            count,
            PoolSettings(),
            deputy=own_command("deputy") if parent is None else None,
            environment=environment_for_child(url),
            wanted=lambda: wanted(entry),
        ).run()


@worker.command()
@click.argument("count", type=click.IntRange(1, 1024))
@pool_option
def scale(count: int, pool: int | None) -> None:
    """Have the pool of this machine keep COUNT workers; those that are too many end their trial first."""
    found = _pools(pool)
    if len(found) > 1:
        known = ", ".join(f"{each.pid} ({each.count} workers)" for each in found)
        raise SettingsError(f"several pools run here: {known}: name one with --pool")
    roster.scale(found[0], count)
    say(f"pool {found[0].pid}: {found[0].count} -> {count} workers")


@worker.command()
@pool_option
@click.option("--timeout", type=click.FloatRange(0), default=600.0, show_default=True, help="Seconds to wait.")
def drain(pool: int | None, timeout: float) -> None:
    """Have the pools of this machine end their running trials, and wait until they are gone."""
    for each in _pools(pool):
        roster.drain(each)
        say(f"pool {each.pid}: its {each.count} workers end their trials")
        end = time.monotonic() + timeout
        while any(other.pid == each.pid for other in roster.pools(each.path.parent)):
            if time.monotonic() > end:
                raise TradeschoolError(f"pool {each.pid} is still at work after {timeout:g} s; it goes on draining")
            time.sleep(0.1)


@worker.command(name="list")
@json_option
def list_workers(*, as_json: bool) -> None:
    """The workers that are at work, on any machine."""
    with redis_url_of(load_settings()) as url:
        found = take_snapshot(TrialQueue(connection=connect(url))).workers
    if as_json:
        print_json([asdict(each) for each in found])
        return
    table = Table("worker", "host", "state", "heard of", "trial", "done", "failed")
    for each in found:
        heard = f"{each.heartbeat_age_seconds:.0f} s ago"
        table.add_row(
            each.name, each.host, each.state, heard, trials_of(each.job), f"{each.done:,}", f"{each.failed:,}"
        )
    console().print(table)


@contextmanager
def own_workers(count: int, url: str) -> Iterator[None]:
    """A pool of so many workers, gone again when the block ends, however it ends."""
    if not count:
        yield
        return
    command = [*own_command("worker", "start"), "-n", str(count), "--parent", str(os.getpid())]
    pool = subprocess.Popen(  # noqa: S603  # our own command
        command, stdin=subprocess.DEVNULL, env=environment_for_child(url), start_new_session=True
    )
    try:
        yield
    finally:
        pool.terminate()
        try:
            pool.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pool.kill()
            pool.wait()


def _roster(settings: Settings) -> Path:
    return settings.state_dir / "pools"


def _pools(pid: int | None) -> list[PoolEntry]:
    found = [each for each in roster.pools(_roster(load_settings())) if pid in (None, each.pid)]
    if not found:
        which = f"pool {pid}" if pid else "pool"
        raise SettingsError(f"no {which} runs here; start one: tradeschool worker start -n 2")
    return found
