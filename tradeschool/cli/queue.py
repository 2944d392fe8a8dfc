"""`tradeschool queue`: what waits and what runs."""

import click
from rich.table import Table

from tradeschool.cli.context import console, json_option, load_settings, now, print_json, redis_url_of
from workers.guard import TrialQueue
from workers.monitor import take_snapshot
from workers.queue import connect


@click.group()
def queue() -> None:
    """What waits and what runs: status."""


@queue.command()
@json_option
def status(*, as_json: bool) -> None:
    """How many jobs wait, run, ended and failed, and who works on them; looking changes nothing."""
    with redis_url_of(load_settings()) as url:
        found = take_snapshot(TrialQueue(connection=connect(url)), now().timestamp())
    if as_json:
        print_json(found.to_json())
        return
    table = Table("queued", "started", "finished", "failed", "oldest waits", "finished in the last minute", "workers")
    table.add_row(
        f"{found.queued:,}",
        f"{found.started:,}",
        f"{found.finished:,}",
        f"{found.failed:,}",
        f"{found.oldest_seconds:.0f} s",
        f"{found.throughput_per_minute:,}",
        f"{len(found.workers):,}",
    )
    console().print(table)
