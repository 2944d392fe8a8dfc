"""`tradeschool worker`: trials are evaluated on this machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click
from rich.table import Table

from tradeschool.cli.context import console, json_option, load_settings, now, print_json, redis_url_of, say
from tradeschool.settings import environment_for_child
from workers.guard import TrialQueue
from workers.monitor import take_snapshot, trials_of
from workers.parent import die_with_parent
from workers.pool import Pool, PoolSettings
from workers.queue import connect

STOP_TIMEOUT = 30.0  # seconds until a pool that was told to stop is killed


@click.group()
def worker() -> None:
    """Evaluate trials: start, list."""


@worker.command()
@click.option("-n", "--count", type=click.IntRange(1, 1024), default=2, show_default=True, help="How many workers.")
@click.option("--parent", type=int, hidden=True, help="The process with which the pool ends.")
def start(count: int, parent: int | None) -> None:
    """Keep so many workers at work until interrupted; running trials are ended first."""
    settings = load_settings()
    with redis_url_of(settings) as url:
        connect(url).close()
        if parent is None:
            say(f"{count} workers start; stop them with Ctrl-C")
        if parent is not None:
            die_with_parent(parent, signal.SIGTERM)
        Pool(_command("evaluate"), count, PoolSettings(), environment=environment_for_child(url)).run()


@worker.command(name="list")
@json_option
def list_workers(*, as_json: bool) -> None:
    """The workers that are at work, on any machine."""
    with redis_url_of(load_settings()) as url:
        found = take_snapshot(TrialQueue(connection=connect(url)), now().timestamp()).workers
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
    command = [*_command("worker", "start"), "-n", str(count), "--parent", str(os.getpid())]
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


def _command(*words: str) -> list[str]:
    """One of this program's own commands, with the options that this process was given."""
    given = click.get_current_context().find_root().obj
    options = ["--config", str(given["settings_file"])] if given["settings_file"] else []
    options += ["--log-format", given["log_format"]] if given["log_format"] else []
    return [sys.executable, "-m", "tradeschool", *options, *words]
