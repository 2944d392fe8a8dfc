"""`tradeschool standby`: standby coordinator, alone or in a pool; it resumes runs whose coordinator died."""

import signal

import click

from tradeschool.app.context import load_settings, own_command, redis_url_of
from tradeschool.settings.signing_key import signing_key
from workers.connection.signing import Signer
from workers.coordinator.standby import Standby
from workers.processes.parent_death import die_with_parent
from workers.queue.trial_queue import connect


@click.command()
@click.option("--parent", type=int, hidden=True, help="Process ID of the parent; the standby ends with it.")
def standby(parent: int | None) -> None:
    """Resume runs whose coordinator was killed, until interrupted.

    Each pool of workers includes such a standby, unless it was started with --no-standby. The command reads the runs
    from the study database.
    """
    settings = load_settings()
    if parent is not None:
        die_with_parent(parent, signal.SIGTERM)
    with redis_url_of(settings) as url:
        Standby(
            connect(url),
            settings.storage,
            lambda run: own_command("optimize", "resume", run, "-j", "0"),
            signer=Signer(signing_key(settings)),
        ).run()
