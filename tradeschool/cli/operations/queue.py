"""`tradeschool queue`: inspect and manage the trial queue."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import click
from rich.table import Table

from tradeschool.app.context import absence_of, load_settings, redis_url_of
from tradeschool.cli.options.output import json_option
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.errors import SettingsError
from tradeschool.settings.signing_key import signing_key
from tradeschool.settings.urls import mask_url
from tradeschool.views.durations import duration
from tradeschool.views.terminal import console, print_json, say
from workers.connection.signing import Signer
from workers.monitoring.snapshot import take_snapshot
from workers.monitoring.study_snapshot import StudySnapshot
from workers.queue.failed_jobs import failed_jobs
from workers.queue.failed_jobs import requeue as put_back_failed
from workers.queue.job_allowlist import TrialQueue
from workers.queue.job_names import trials_of
from workers.queue.trial_queue import connect

EVERY, QUIET_EVERY = 1.0, 10.0
"""Seconds between two updates, on a terminal and elsewhere."""


@click.group()
def queue() -> None:
    """Inspect and manage the trial queue."""


@queue.command()
def url() -> None:
    """Print the URL of the queue's server for RQ's own tools; a password is masked.

    For example: rq info --url "$(tradeschool queue url)". The embedded server runs only during a run.
    """
    settings = load_settings()
    if settings.redis_url:
        click.echo(mask_url(settings.redis_url.get_secret_value()))
    else:
        click.echo(EmbeddedValkey.of(settings.state_dir).url)


@queue.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show the number of jobs by state and of workers, and one line per study.

    The command is read-only.
    """
    settings = load_settings()
    absent = absence_of(settings)
    with redis_url_of(settings) as redis_url:
        found = take_snapshot(TrialQueue(connection=connect(redis_url)), signer=Signer(signing_key(settings)))
    if absent:
        say(f"{absent}; showing its stored state")
    if as_json:
        print_json(found.to_json())
        return
    table = Table("queued", "running", "finished", "failed", "oldest queued", "jobs/min", "ETA", "workers")
    table.add_row(
        f"{found.queued:,}",
        f"{found.started:,}",
        f"{found.finished:,}",
        f"{found.failed:,}",
        f"{found.oldest_seconds:.0f} s",
        f"{found.throughput_per_minute:,}",
        duration(found.eta_seconds),
        f"{found.worker_count:,}",
    )
    console().print(table)
    if found.studies:
        console().print(_studies_table(found.studies))
    if found.stall:
        console().print(f"stalled: {found.stall.sentence()}")
    if found.advice:
        console().print(found.advice)


def _studies_table(studies: Sequence[StudySnapshot]) -> Table:
    table = Table("study", "finished", "trials", "failed", "queued jobs", "running jobs")
    for each in studies:
        counts = (each.finished, each.trials, each.failed, each.queued, each.started)
        table.add_row(each.study, *(f"{count:,}" for count in counts))
    return table


@queue.command()
@click.option(
    "--every", type=click.FloatRange(0.2), help="Update interval in seconds. [default: 1, without terminal 10]"
)
@json_option
def watch(every: float | None, *, as_json: bool) -> None:
    """Show queue, workers, levels and download live.

    Without a terminal, the command prints periodic lines. It is read-only. Unreachable services are reported and shown
    again once they are back.
    """
    # Imported here: the screen shows runs, whose modules take a second to import.
    from rich.live import Live

    from tradeschool.app.monitoring import queue_screen_reader
    from tradeschool.views.live_screen import line, screen

    out = console()
    with suppress(KeyboardInterrupt), queue_screen_reader(load_settings()) as look:
        if as_json or not out.is_terminal:
            while True:
                seen = look()
                queued = seen.queue.value.to_json() if seen.queue.value else None
                click.echo(json.dumps(queued) if as_json else line(seen))
                time.sleep(every or QUIET_EVERY)
        with Live(screen(look()), console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(screen(look()), refresh=True)
                time.sleep(every or EVERY)


@queue.command()
@json_option
def failed(*, as_json: bool) -> None:
    """Show the failed jobs of the last day, with reasons.

    A trial is tried three times, then stored as failed with its reason.
    """
    with redis_url_of(load_settings()) as url:
        found = failed_jobs(TrialQueue(connection=connect(url)))
    if as_json:
        print_json([each.to_json() for each in found])
        return
    table = Table("job", "trials", "failed at", "reason")
    for each in found:
        ended = f"{datetime.fromtimestamp(each.ended, UTC):%Y-%m-%d %H:%M:%S} UTC"
        table.add_row(each.job, trials_of(each.job), ended, each.reason)
    console().print(table)


@queue.command()
@click.argument("jobs", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Requeue all failed jobs.")
@json_option
def requeue(jobs: tuple[str, ...], *, every: bool, as_json: bool) -> None:
    """Put failed JOBS back into the queue.

    Trials that already have a stored result are not changed. Exit code 2 if a job is not among the failed jobs; the
    others are requeued.
    """
    if bool(jobs) == every:
        raise SettingsError("expected either job names or --all; list failed jobs: tradeschool queue failed")
    with redis_url_of(load_settings()) as url:
        queued = put_back_failed(TrialQueue(connection=connect(url)), None if every else jobs)
    if as_json:
        print_json(list(queued))
    else:
        say(f"{len(queued)} jobs requeued")
    if unknown := [job for job in jobs if job not in queued]:
        raise SettingsError(f"not among the failed jobs: {', '.join(unknown)}; see: tradeschool queue failed")
